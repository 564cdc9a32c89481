"""DSRL for a config nobody here wrote: any MMSegmentation ``EncoderDecoder`` config becomes a DSRL config."""

import argparse
import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, prod
from pathlib import Path

import mmseg
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from ..core import check_scale_factor
from ..engine.config import input_channels, type_name
from .checks.size_errors import explain_size_error
from .sssr_head import check_wrappable

__all__ = ['find_config', 'main', 'to_dsrl', 'write_dsrl_config']

#: Side of the network input on which a config is tried, in pixels: a multiple of every stride and window in use.
_SIDE = 128
#: Hidden channels of the upsampling stacks and of the SISR head, their defaults.
_CHANNELS = 64
#: The grid of SSSR's prediction: 1/4 of the canvas on each side, from where it is enlarged bilinearly.
_SSSR_STRIDE = 4
#: The grid of FA: 1/8 of the canvas on each side (Sec. 3.3 of the paper).
_AFFINITY_STRIDE = 8
#: Normalisations that suit the (B, C, H, W) features of the upsampling stacks; others in a config are a backbone's.
_NORMS = ('BN', 'BN2d', 'SyncBN', 'GN', 'IN', 'IN2d')


def find_config(name: str | Path) -> Path:
    """Where a config lies: a path, or ``mmseg::FOLDER/NAME.py`` for one that MMSegmentation ships.

    MMEngine's own ``mmseg::`` does not work with every distribution of MMSegmentation; this one does.

    Raises:
        FileNotFoundError: if there is none.
    """
    scope, _, inside = str(name).rpartition('::')
    if scope not in ('', 'mmseg'):
        raise FileNotFoundError(f'{name}: only configs of mmseg can be converted, not of {scope}')
    shipped = Path(mmseg.__file__).parent / '.mim' / 'configs'
    path = shipped / inside if scope else Path(inside)
    if not path.is_file():
        where = f' in {shipped}' if scope else f'; for one that MMSegmentation ships, write mmseg::{name}'
        raise FileNotFoundError(f'There is no config {inside}{where}')
    return path


@dataclass
class _Grids:
    """What a network makes of its input: channels of the backbone's outputs, and strides on the network's input."""

    channels: list[int]
    strides: list[int]
    head_stride: int


def _check_segmentor(model: ConfigDict) -> None:
    name = type_name(model)
    if name == 'DSRLSegmentor':
        raise TypeError('The config is a DSRL config already: its model is a DSRLSegmentor')
    if name == 'CascadeEncoderDecoder':
        raise TypeError(
            'model.type is CascadeEncoderDecoder: each of its heads refines the logits of the one before, on that '
            "one's grid, so none of them can be enlarged by itself"
        )
    if name != 'EncoderDecoder':
        raise TypeError(f'model.type is {name}; only an EncoderDecoder can become a DSRLSegmentor')


def _reduced_img_size(backbone: ConfigDict, scale_factor: int) -> dict:
    """Transformers are told their input's size, which is now the network's, not the canvas's."""
    size = backbone.get('img_size')
    if size is None:
        return {}
    reduced = [-(-side // scale_factor) for side in ((size, size) if isinstance(size, int) else size)]
    return dict(img_size=reduced[0] if isinstance(size, int) else tuple(reduced))


def _build(model: ConfigDict) -> nn.Module:
    """The model, its weights random: nothing is downloaded. Its input needs no preprocessing."""
    try:
        return MODELS.build(dict(model, data_preprocessor=None)).eval()
    except KeyError as error:
        if 'is not in the' not in str(error):
            raise
        raise ImportError(
            f'The model cannot be built to look at its features: {error.args[0]}\nInstall the package that holds the '
            'missing module (mmpretrain for its backbones), and name it in custom_imports.'
        ) from error


@torch.no_grad()
def _probe(model: nn.Module, channels: int, size: Sequence[int]) -> _Grids:
    """Run a DSRL segmentor without ``sr_aux`` on an empty network input of ``size``."""
    shared = feats = model.backbone(torch.zeros(1, channels, *size))
    if model.with_neck:
        feats = model.neck(shared)
    wrapped, _, _ = model.decode_head.parts(feats)
    if isinstance(shared, torch.Tensor) or not all(isinstance(feat, torch.Tensor) for feat in shared):
        shared = ()
    return _Grids(
        channels=[feat.shape[1] for feat in shared],
        strides=[round(size[0] / feat.shape[2]) for feat in shared],
        head_stride=round(size[0] / wrapped.shape[2]),
    )


def _grids(cfg: Config, model: ConfigDict) -> _Grids:
    """What the network, as DSRL would use it, makes of a small input; of its true one where that is too small."""
    segmentor, channels = _build(model), input_channels(model.backbone)
    side = model.backbone.get('img_size') or _SIDE
    sizes = [(side, side) if isinstance(side, int) else tuple(side)]
    canvas = model.get('data_preprocessor', {}).get('size') or cfg.get('crop_size')
    if canvas:
        sizes.append(tuple(-(-length // model.scale_factor) for length in canvas))
    for size in sizes:
        try:
            return _probe(segmentor, channels, size)
        except (RuntimeError, ValueError) as error:
            explanation = explain_size_error(error, [side * model.scale_factor for side in size], model.scale_factor)
            if explanation is None:
                raise
    raise TypeError(explanation)


def _norm_cfg(head: ConfigDict) -> dict:
    norm_cfg = head.get('norm_cfg')
    if not norm_cfg or type_name(norm_cfg) not in _NORMS:
        return dict(type='SyncBN')
    norm_cfg = dict(norm_cfg)
    if 'num_groups' in norm_cfg:
        norm_cfg['num_groups'] = gcd(norm_cfg['num_groups'], _CHANNELS)
    return norm_cfg


def _factors(grids: _Grids, scale_factor: int) -> tuple[int, ...]:
    """Enlargements, each a prime number, from the stock head's grid to SSSR's, and by ``scale_factor`` at least."""
    left = max(scale_factor, grids.head_stride * scale_factor // _SSSR_STRIDE)
    factors, prime = [], 2
    while left > 1:
        while left % prime == 0:
            factors.append(prime)
            left //= prime
        prime += 1
    return tuple(factors)


def _sr_aux(grids: _Grids, backbone: ConfigDict, scale_factor: int, sssr_stride: int, norm_cfg: dict, fa: bool) -> dict:
    """The SISR head on the finest and the last of the backbone's outputs, and FA on 1/8 of the canvas."""
    if not grids.strides:
        raise TypeError(
            f'The backbone {type_name(backbone)} gives no plain sequence of feature maps for the SISR head '
            'to choose from. SSSR alone is possible: sisr=False, or --no-sisr'
        )
    last = len(grids.strides) - 1
    # Of several equally fine maps, the deepest.
    finest = max(i for i, stride in enumerate(grids.strides) if stride == min(grids.strides))
    index = sorted({finest, last})
    upscale_factor = grids.strides[finest] * scale_factor
    # Of the finer of the two maps that FA compares; strides on the canvas.
    subsample = max(1, _AFFINITY_STRIDE // min(upscale_factor, sssr_stride))
    head = dict(
        type='SISRAuxHead',
        in_channels=tuple(grids.channels[i] for i in index),
        in_index=tuple(index),
        upscale_factor=upscale_factor,
        norm_cfg=norm_cfg,
    )
    if (channels := input_channels(backbone)) != 3:
        head['out_channels'] = channels
    return dict(head=head, fa=dict(type='FALoss', subsample=subsample) if fa else None, norm_cfg=norm_cfg)


def _difference(cfg: Config, scale_factor: int, sisr: bool, fa: bool) -> dict:
    """What a DSRL config says beyond the stock one, but for the wrapped head, which is the stock one's."""
    stock = cfg.model
    _check_segmentor(stock)
    head = stock.decode_head
    if not isinstance(head, dict):
        raise TypeError('model.decode_head is a list of heads, a cascade; one head is needed')
    head_class = MODELS.get(head.type) if isinstance(head.type, str) else head.type
    if head_class is not None:
        check_wrappable(head_class)
    norm_cfg = _norm_cfg(head)
    upsampler = dict(type='DeconvUpsampler', factors=(scale_factor,), norm_cfg=norm_cfg)
    difference = dict(
        type='DSRLSegmentor', scale_factor=scale_factor, decode_head=dict(type='SSSRHead', upsampler=upsampler)
    )
    img_size = _reduced_img_size(stock.backbone, scale_factor)
    if img_size:
        difference['backbone'] = img_size
    grids = _grids(cfg, _merge(stock, difference))
    upsampler['factors'] = _factors(grids, scale_factor)
    if sisr:
        sssr_stride = grids.head_stride * scale_factor // prod(upsampler['factors'])
        difference['sr_aux'] = _sr_aux(grids, stock.backbone, scale_factor, sssr_stride, norm_cfg, fa)
    return difference


def _merge(stock: ConfigDict, difference: dict) -> ConfigDict:
    model = copy.deepcopy(stock)
    model.backbone.update(difference.get('backbone', {}))
    model.update({key: value for key, value in difference.items() if key not in ('backbone', 'decode_head')})
    model.decode_head = dict(difference['decode_head'], decode_head=stock.decode_head)
    return model


def _custom_imports(cfg: Config) -> dict:
    stock = cfg.get('custom_imports') or {}
    imports = stock.get('imports', [])
    imports = [imports] if isinstance(imports, str) else list(imports)
    return dict(imports=[*imports, 'dsrl_mm.seg'], allow_failed_imports=stock.get('allow_failed_imports', False))


def to_dsrl(cfg: Config | str | Path, scale_factor: int = 2, sisr: bool = True, fa: bool = True) -> Config:
    """A DSRL config of a stock one. Only the model differs: data, crop sizes, schedule and evaluation stay.

    The network then reads ``1 / scale_factor`` of what the stock config's network reads, and SSSR predicts on 1/4 of
    the canvas, as in the shipped configs, or finer where the stock head does. The model is built and run once, on an
    empty image, to learn the features' channels and strides and to find out whether its head can be wrapped; no weights
    are downloaded.

    Args:
        cfg (Config | str | Path): a config, its path, or ``mmseg::FOLDER/NAME.py``. Left as it is.
        scale_factor (int): canvas over network input. Defaults to 2.
        sisr (bool): whether a SISR head is added. Defaults to True.
        fa (bool): whether the affinity loss is added, which needs the SISR head. Defaults to True.

    Returns:
        Config: with a :class:`~dsrl_mm.seg.DSRLSegmentor` whose head is an :class:`~dsrl_mm.seg.SSSRHead` around the
        stock one.

    Raises:
        ValueError: for a ``scale_factor`` that is no integer of at least 2.
        TypeError: if the model cannot become one: a cascade, a head that does not end in ``cls_seg`` or has losses of
            its own, mask classification, another segmentor. The message says which.
        ImportError: if a package that the config needs is missing.
    """
    if not isinstance(cfg, Config):
        cfg = Config.fromfile(find_config(cfg))
    check_scale_factor(scale_factor)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    difference = _difference(cfg, scale_factor, sisr, fa and sisr)
    converted = copy.deepcopy(cfg)
    converted.model = _merge(cfg.model, difference)
    converted.custom_imports = _custom_imports(cfg)
    return converted


_WRAPPED = '{{_base_.model.decode_head}}'


def _inherits(cfg: Config, source: Path) -> bool:
    """Whether the written config may name ``source`` as its base.

    It may not where an update of a package would move it, nor where classes stand for names (``read_base()``), which
    MMEngine does not mix with the other kind of config.
    """
    packages = ('site-packages', 'dist-packages')
    return isinstance(cfg.model.type, str) and not any(part in packages for part in source.resolve().parts)


def _text_beyond(cfg: Config, converted: Config, source: Path, out: Path) -> str:
    """The DSRL config as a difference from ``source``."""
    model = {key: value for key, value in converted.model.items() if value != cfg.model.get(key)}
    if 'backbone' in model:
        model['backbone'] = dict(img_size=converted.model.backbone.img_size)
    model['decode_head'] = dict(model['decode_head'], _delete_=True, decode_head=_WRAPPED)
    text = Config(dict(custom_imports=converted.custom_imports, model=model)).pretty_text
    base = os.path.relpath(source.resolve(), out.resolve().parent)
    return f'_base_ = {Path(base).as_posix()!r}\n{text}'.replace(repr(_WRAPPED), _WRAPPED)


def write_dsrl_config(source: str | Path, out: str | Path, **kwargs) -> Path:
    """Write the DSRL config of a stock one, as a difference from it that names it as its base.

    A config that MMSegmentation ships is written out whole instead, since its place changes with the installation; so
    is one in pure Python (``read_base()``).

    Args:
        source (str | Path): a config's path, or ``mmseg::FOLDER/NAME.py``.
        out (str | Path): where to write. Must not exist.
        **kwargs: those of :func:`to_dsrl`.

    Returns:
        Path: ``out``.

    Raises:
        FileExistsError: if ``out`` exists.
    """
    path, out = find_config(source), Path(out)
    if out.exists():
        raise FileExistsError(f'{out} exists already; nothing was written')
    cfg = Config.fromfile(path)
    converted = to_dsrl(cfg, **kwargs)
    body = _text_beyond(cfg, converted, path, out) if _inherits(cfg, path) else converted.pretty_text
    origin = source if '::' in str(source) else path.name
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(f'# {origin} with DSRL: the network reads 1/{converted.model.scale_factor} of each side.\n{body}')
    return out


def main(argv: Sequence[str] | None = None) -> None:
    """Write a DSRL config of any MMSegmentation config of an encoder and a decoder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('config', help='a path, or mmseg::FOLDER/NAME.py for one that MMSegmentation ships')
    parser.add_argument('-o', '--out', type=Path, required=True, help='the file to write')
    parser.add_argument('--scale-factor', type=int, default=2, help='canvas over network input')
    parser.add_argument('--no-sisr', dest='sisr', action='store_false', help='only the upsampling head')
    parser.add_argument('--no-fa', dest='fa', action='store_false', help='no affinity loss')
    args = parser.parse_args(argv)
    try:
        write_dsrl_config(args.config, args.out, scale_factor=args.scale_factor, sisr=args.sisr, fa=args.fa)
    except (FileExistsError, FileNotFoundError, ImportError, TypeError, ValueError) as error:
        raise SystemExit(f'{parser.prog}: {args.config}: {error}') from error
    print(f'Written to {args.out}')
