"""Conversion of MMSegmentation ``EncoderDecoder`` configs to DSRL configs."""

import argparse
import copy
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import gcd, prod
from operator import mul
from pathlib import Path

import mmseg
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmseg.models.segmentors import CascadeEncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from ..core import check_scale_factor
from ..engine.config import builds, evaluate, input_channels, type_name
from .checks.size_errors import explain_size_error
from .head_wrapper import check_wrappable
from .segmentor import DSRLSegmentor

__all__ = ['find_config', 'main', 'to_dsrl', 'write_dsrl_config']

#: Forms of DSRL, see :func:`to_dsrl`.
FORMS = ('early', 'paper')
#: Side of the network input for the trial run, in pixels: a multiple of common strides and windows.
_SIDE = 128
#: Default hidden channels of the upsampling stacks and of the SISR head.
_CHANNELS = 64
#: The grid of SSSR's prediction: 1/4 of the canvas on each side, from where it is enlarged bilinearly.
_SSSR_STRIDE = 4
#: The finest grid that SISR reads: 1/4 of the network input on each side.
_SISR_STRIDE = 4
#: The grid of FA: 1/8 of the canvas on each side (Sec. 3.3 of the paper).
_AFFINITY_STRIDE = 8
#: Normalizations for the (B, C, H, W) features of the upsampling stacks.
_NORMS = ('BN', 'BN2d', 'SyncBN', 'GN', 'IN', 'IN2d')


def find_config(name: str | Path) -> Path:
    """Find a config by its path, or by ``mmseg::FOLDER/NAME.py`` if MMSegmentation ships it.

    MMEngine's own ``mmseg::`` does not work with every distribution of MMSegmentation.

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
class _Probe:
    """A DSRL segmentor without ``sr_aux``, and its features of an empty network input."""

    segmentor: nn.Module
    image: Tensor
    #: The backbone's outputs; empty if they are no plain sequence of feature maps.
    feats: tuple[Tensor, ...]
    #: Stride of the wrapped head's features on the network input.
    head_stride: int

    def stride(self, feat: Tensor) -> int:
        return round(self.image.shape[2] / feat.shape[2])

    @property
    def strides(self) -> list[int]:
        return [self.stride(feat) for feat in self.feats]


def _check_segmentor(model: ConfigDict) -> None:
    if builds(model, MODELS, DSRLSegmentor):
        raise TypeError('The config is a DSRL config already: its model is a DSRLSegmentor')
    if builds(model, MODELS, CascadeEncoderDecoder):
        raise TypeError(
            'model.type is CascadeEncoderDecoder: each of its heads refines the logits of the one before, on that '
            "one's grid, so none of them can be enlarged by itself"
        )
    if (name := type_name(model)) != 'EncoderDecoder':  # not a subclass, whose own steps would be lost
        raise TypeError(f'model.type is {name}; only an EncoderDecoder can become a DSRLSegmentor')


def _reduced_img_size(backbone: ConfigDict, scale_factor: int) -> dict:
    """Return the reduced ``img_size`` of a transformer, which is that of the network input."""
    size = backbone.get('img_size')
    if size is None:
        return {}
    reduced = [-(-side // scale_factor) for side in ((size, size) if isinstance(size, int) else size)]
    return dict(img_size=reduced[0] if isinstance(size, int) else tuple(reduced))


def _build(cfg: dict, device: str) -> nn.Module:
    """Build a module for evaluation, without gradients. Nothing is downloaded.

    On the meta device, weights have no values and take no time to initialize. What is no weight stays on the CPU,
    because constructors compute with it, e.g. the rates of stochastic depth.
    """

    def move(module: nn.Module, name: str, tensor: Tensor | None) -> Tensor | None:
        if tensor is None:
            return None
        moved = tensor.detach().to(device)
        return nn.Parameter(moved, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else moved

    with register_module_parameter_registration_hook(move), register_module_buffer_registration_hook(move):
        module = MODELS.build(cfg)
    module.eval()  # some give nothing back
    for norm in module.modules():
        if isinstance(norm, _BatchNorm):  # no change of shapes, and most of the time on the meta device
            norm.forward = nn.Identity().forward
    return module.requires_grad_(False)


def _build_segmentor(model: ConfigDict, device: str) -> nn.Module:
    """Build the model without preprocessing."""
    try:
        return _build(dict(copy.deepcopy(model), data_preprocessor=None), device)  # constructors change it
    except KeyError as error:
        if 'is not in the' not in str(error):
            raise
        raise ImportError(
            f'The model cannot be built to look at its features: {error.args[0]}\nInstall the package that holds the '
            'missing module (mmpretrain for its backbones), and name it in custom_imports.'
        ) from error


@torch.no_grad()
def _probe(model: nn.Module, channels: int, size: Sequence[int], device: str) -> _Probe:
    """Run a DSRL segmentor without ``sr_aux`` on an empty network input of ``size``."""
    with torch.device(device):  # also what the network creates
        image = torch.zeros(1, channels, *size)
        shared = feats = model.backbone(image)
        if model.with_neck:
            feats = model.neck(shared)
        wrapped, _, _ = model.decode_head.parts(feats)
    if isinstance(shared, Tensor) or not all(isinstance(feat, Tensor) for feat in shared):
        shared = ()
    return _Probe(model, image, tuple(shared), head_stride=round(size[0] / wrapped.shape[2]))


def _run(cfg: Config, model: ConfigDict) -> _Probe:
    """Run the network, as DSRL would use it, on the meta device, where only shapes are computed.

    A few networks depend on values. They, and those that fail, run on the CPU, which gives the better messages.
    """
    try:
        return _run_on('meta', cfg, model)
    except (RuntimeError, TypeError, ValueError):
        return _run_on('cpu', cfg, model)


def _run_on(device: str, cfg: Config, model: ConfigDict) -> _Probe:
    """Run the network on a small input; on its true one if that is too small."""
    segmentor, channels = _build_segmentor(model, device), input_channels(model.backbone)
    side = model.backbone.get('img_size') or _SIDE
    sizes = [(side, side) if isinstance(side, int) else tuple(side)]
    canvas = model.get('data_preprocessor', {}).get('size') or cfg.get('crop_size')
    if canvas:
        sizes.append(tuple(-(-length // model.scale_factor) for length in canvas))
    for size in sizes:
        try:
            return _probe(segmentor, channels, size, device)
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


def _factors(head_stride: int, scale_factor: int) -> tuple[int, ...]:
    """Enlargements, each a prime number, from the stock head's grid to SSSR's, and by ``scale_factor`` at least."""
    left = max(scale_factor, head_stride * scale_factor // _SSSR_STRIDE)
    factors, prime = [], 2
    while left > 1:
        while left % prime == 0:
            factors.append(prime)
            left //= prime
        prime += 1
    return tuple(factors)


@dataclass
class _Early:
    """The early feature map that SSSR's stack reads, among the backbone's outputs."""

    in_index: int
    in_channels: int
    stride: int
    #: The backbone's new ``out_indices``, if the map is not one of its outputs yet.
    out_indices: tuple[int, ...] | None = None
    #: The wrapped head's new ``in_index``, which counts the other outputs, if it changes.
    head_in_index: int | list[int] | None = None


@torch.no_grad()
def _first_stage(probe: _Probe, backbone: ConfigDict) -> _Early | None:
    """Return the backbone's first stage, if ``out_indices`` can add it before the outputs and it is finer."""
    cls = MODELS.get(backbone.type) if isinstance(backbone.type, str) else backbone.type
    parameter = inspect.signature(cls).parameters.get('out_indices')
    out_indices = backbone.get('out_indices', parameter and parameter.default)
    if not isinstance(out_indices, (list, tuple)) or min(out_indices) <= 0:
        return None
    out_indices = (0, *out_indices)
    extended = _build(dict(backbone, out_indices=out_indices), probe.image.device.type)
    with probe.image.device:
        first, *others = extended(probe.image)
    same = [feat.shape for feat in others] == [feat.shape for feat in probe.feats]
    stride = probe.stride(first)
    return _Early(0, first.shape[1], stride, out_indices) if same and stride < min(probe.strides) else None


def _moved(in_index: int | Sequence[int], move: Callable[[int], int]) -> int | list[int]:
    return move(in_index) if isinstance(in_index, int) else [move(i) for i in in_index]


@torch.enable_grad()
def _reads(head: nn.Module, feats: Sequence[Tensor]) -> list[int]:
    """Return the indices of the feature maps that a head's output depends on: those that gradients would reach."""

    def reads(index: int) -> bool:
        leaves = [feat.detach().requires_grad_(i == index) for i, feat in enumerate(feats)]
        return head([leaf.clone() for leaf in leaves]).requires_grad

    with feats[0].device:
        return [index for index in range(len(feats)) if reads(index)]


def _finest_output(probe: _Probe) -> _Early | None:
    """Return the finest of the backbone's outputs, if the wrapped head works without it."""
    stride = min(probe.strides)
    index, head = probe.strides.index(stride), probe.segmentor.decode_head.decode_head

    def move(i: int) -> int:
        return i - (i > index)

    read = _reads(head, probe.feats)
    head.in_index = _moved(head.in_index, move)
    try:
        same = index not in read and _reads(head, probe.feats[:index] + probe.feats[index + 1 :]) == _moved(read, move)
    except (IndexError, RuntimeError):
        same = False
    return _Early(index, probe.feats[index].shape[1], stride, head_in_index=head.in_index) if same else None


def _early(probe: _Probe, backbone: ConfigDict, factors: Sequence[int]) -> _Early | str:
    """Return the finest feature map that the backbone can give, or the reason why SSSR's stack reads none."""
    if probe.segmentor.with_neck:
        return 'the head reads the outputs of a neck'
    if not probe.feats:
        return 'the backbone gives no plain sequence of feature maps'
    first = _first_stage(probe, backbone)
    stride = first.stride if first else min(probe.strides)
    if stride >= probe.head_stride:
        return 'the backbone gives none that is finer than the features of the head'
    if probe.head_stride not in [stride * factor for factor in accumulate(factors, mul)]:
        return f"none of the stack's grids has the stride of the finest one, {stride}"
    return first or _finest_output(probe) or 'the head reads the finest one itself'


def _sr_aux(
    probe: _Probe, backbone: ConfigDict, scale_factor: int, sssr_stride: int, norm_cfg: dict, shift: int, fa: bool
) -> dict:
    """Configure the SISR head on the finest and the last of the backbone's outputs, and FA on 1/8 of the canvas.

    Outputs finer than 1/4 of the network input are left to SSSR, because they cost more and did not pay, unless the
    last one is that fine, as U-Net's is.
    """
    if not probe.feats:
        raise TypeError(
            f'The backbone {type_name(backbone)} gives no plain sequence of feature maps for the SISR head '
            'to choose from. SSSR alone is possible: sisr=False, or --no-sisr'
        )
    strides, last = probe.strides, len(probe.feats) - 1
    stride = min(s for s in strides if s >= min(_SISR_STRIDE, strides[last]))
    # Of several equally fine maps, the deepest.
    finest = max(i for i, s in enumerate(strides) if s == stride)
    index = sorted({finest, last})
    upscale_factor = stride * scale_factor
    # Of the finer of the two maps that FA compares; strides on the canvas.
    subsample = max(1, _AFFINITY_STRIDE // min(upscale_factor, sssr_stride))
    head = dict(
        type='SISRAuxHead',
        in_channels=tuple(probe.feats[i].shape[1] for i in index),
        in_index=tuple(i + shift for i in index),
        upscale_factor=upscale_factor,
        norm_cfg=norm_cfg,
    )
    if (channels := input_channels(backbone)) != 3:
        head['out_channels'] = channels
    return dict(head=head, norm_cfg=norm_cfg) | (dict(fa=dict(type='FALoss', subsample=subsample)) if fa else {})


def _difference(cfg: Config, scale_factor: int, sisr: bool, form: str) -> tuple[dict, str | None]:
    """Return the differences to the stock config, and the reason if SSSR reads no early feature map.

    For the backbone and the wrapped head, the differences are only the keys that change.
    """
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
        type='DSRLSegmentor',
        scale_factor=scale_factor,
        backbone=_reduced_img_size(stock.backbone, scale_factor),
        decode_head=dict(type='SSSRHead', decode_head={}, upsampler=upsampler),
    )
    probe = _run(cfg, _merge(stock, difference))
    upsampler['factors'] = factors = _factors(probe.head_stride, scale_factor)
    early = _early(probe, stock.backbone, factors) if form == 'early' else None
    shift = 0
    if isinstance(early, _Early):
        difference['decode_head']['skip'] = dict(in_index=early.in_index, in_channels=early.in_channels)
        if early.head_in_index is not None:
            difference['decode_head']['decode_head'] = dict(in_index=early.head_in_index)
        if early.out_indices is not None:
            difference['backbone']['out_indices'] = early.out_indices
            shift = 1
    if sisr:
        sssr_stride = probe.head_stride * scale_factor // prod(factors)
        difference['sr_aux'] = _sr_aux(
            probe, stock.backbone, scale_factor, sssr_stride, norm_cfg, shift, fa=form == 'paper'
        )
    return difference, early if isinstance(early, str) else None


def _merge(stock: ConfigDict, difference: dict) -> ConfigDict:
    model = copy.deepcopy(stock)
    backbone, head = difference['backbone'], difference['decode_head']
    model.update({key: value for key, value in difference.items() if key not in ('backbone', 'decode_head')})
    model.backbone.update(backbone)
    model.decode_head.update(head['decode_head'])
    model.decode_head = dict(head, decode_head=model.decode_head)
    if 'out_indices' in backbone:
        auxiliary = model.get('auxiliary_head') or []
        for each in auxiliary if isinstance(auxiliary, list) else [auxiliary]:
            each.in_index = _moved(each.get('in_index', -1), lambda i: i + (i >= 0))
    return model


def _custom_imports(cfg: Config) -> dict:
    stock = cfg.get('custom_imports') or {}
    imports = stock.get('imports', [])
    imports = [imports] if isinstance(imports, str) else list(imports)
    return dict(imports=[*imports, 'dsrl_mm.seg'], allow_failed_imports=stock.get('allow_failed_imports', False))


def _convert(cfg: Config, scale_factor: int, sisr: bool, form: str) -> tuple[Config, str | None]:
    check_scale_factor(scale_factor)
    if form not in FORMS:
        raise ValueError(f'form must be one of {FORMS}, got {form!r}')
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    difference, reason = _difference(evaluate(copy.deepcopy(cfg)), scale_factor, sisr, form)
    converted = copy.deepcopy(cfg)
    converted.model = _merge(cfg.model, difference)
    converted.custom_imports = _custom_imports(cfg)
    note = reason and f'SSSR reads no early feature map, because {reason}.'
    if note:
        print_log(f'to_dsrl: {note}', logger='current')
    return converted, note


def to_dsrl(cfg: Config | str | Path, scale_factor: int = 2, sisr: bool = True, form: str = 'early') -> Config:
    """Convert a stock config to a DSRL config. Only the model changes: data, crop sizes and schedule stay.

    The network then reads ``1 / scale_factor`` of the stock config's input on each side, and SSSR predicts on 1/4 of
    the canvas, as in the shipped configs, or on the stock head's grid if that is finer. The model is built and run on
    an empty image, to find the features' channels and strides and whether its head can be wrapped. No weights are
    downloaded.

    Args:
        cfg (Config | str | Path): a config, its path, or ``mmseg::FOLDER/NAME.py``. It is not changed.
        scale_factor (int): canvas size over input size. Defaults to 2.
        sisr (bool): whether to add a SISR head. Defaults to True.
        form (str): 'early' is the form that gained on CamVid: SSSR also reads the finest feature map that the
            backbone can give, if it is finer than the head's features, and there is no FA. The map is added to the
            backbone's ``out_indices`` if necessary; the heads read the same maps as before. If there is no such map,
            the log says why. 'paper' has FA and no early feature map. Defaults to 'early'.

    Returns:
        Config: with a :class:`~dsrl_mm.seg.DSRLSegmentor` whose head is an :class:`~dsrl_mm.seg.SSSRHead` around the
        stock one.

    Raises:
        ValueError: if ``scale_factor`` is not an integer of at least 2, or the form is unknown.
        TypeError: if the model cannot be converted: a cascade, a head that does not end in ``cls_seg`` or has losses of
            its own, mask classification, another segmentor. The message says which.
        ImportError: if a package that the config needs is missing.
    """
    if not isinstance(cfg, Config):
        cfg = Config.fromfile(find_config(cfg))
    return _convert(cfg, scale_factor, sisr, form)[0]


def _inherits(cfg: Config, source: Path) -> bool:
    """Return whether the written config can name ``source`` as its base.

    It cannot if an update of a package may move the file, or if the config is in pure Python (``read_base()``), which
    MMEngine does not mix with the other kind of config.
    """
    packages = ('site-packages', 'dist-packages')
    return isinstance(cfg.model.type, str) and not any(part in packages for part in source.resolve().parts)


def _changes(stock: ConfigDict, part: ConfigDict) -> dict:
    return {key: value for key, value in part.items() if value != stock.get(key)}


def _text_beyond(cfg: Config, converted: Config, source: Path, out: Path) -> str:
    """Format the DSRL config as a difference from ``source``."""
    stock, model = cfg.model, _changes(cfg.model, converted.model)
    for key in ('backbone', 'auxiliary_head'):
        if isinstance(model.get(key), dict):
            model[key] = _changes(stock[key], model[key])
    wrapped = '_base_.model.decode_head'
    if moved := _changes(stock.decode_head, model['decode_head'].decode_head):
        wrapped = f'dict({wrapped}, in_index={moved["in_index"]})'
    model['decode_head'] = dict(model['decode_head'], _delete_=True, decode_head=wrapped)
    text = Config(dict(custom_imports=converted.custom_imports, model=model)).pretty_text
    base = os.path.relpath(source.resolve(), out.resolve().parent)
    return f'_base_ = {Path(base).as_posix()!r}\n{text}'.replace(repr(wrapped), wrapped)


def write_dsrl_config(
    source: str | Path, out: str | Path, scale_factor: int = 2, sisr: bool = True, form: str = 'early'
) -> Path:
    """Write the DSRL config of a stock one, as a difference from it that names it as its base.

    A config that MMSegmentation ships is written as a whole, because its location depends on the installation. So is a
    config in pure Python (``read_base()``).

    Args:
        source (str | Path): a config's path, or ``mmseg::FOLDER/NAME.py``.
        out (str | Path): where to write. Must not exist.
        scale_factor, sisr, form: see :func:`to_dsrl`.

    Returns:
        Path: ``out``.

    Raises:
        FileExistsError: if ``out`` exists.
    """
    path, out = find_config(source), Path(out)
    if out.exists():
        raise FileExistsError(f'{out} exists already; nothing was written')
    cfg = Config.fromfile(path)
    converted, note = _convert(cfg, scale_factor, sisr, form)
    body = _text_beyond(cfg, converted, path, out) if _inherits(cfg, path) else converted.pretty_text
    origin = source if '::' in str(source) else path.name
    out.parent.mkdir(parents=True, exist_ok=True)
    header = f'# {origin} with DSRL: the network reads 1/{scale_factor} of each side.\n'
    out.write_text(header + (f'# {note}\n' if note else '') + body)
    return out


def main(argv: Sequence[str] | None = None) -> None:
    """Write a DSRL config of any MMSegmentation config of an encoder and a decoder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('config', help='a path, or mmseg::FOLDER/NAME.py for one that MMSegmentation ships')
    parser.add_argument('-o', '--out', type=Path, required=True, help='the file to write')
    parser.add_argument('--scale-factor', type=int, default=2, help='canvas size over input size')
    parser.add_argument('--no-sisr', dest='sisr', action='store_false', help='only the upsampling head')
    parser.add_argument(
        '--form',
        choices=FORMS,
        default='early',
        help="'early': SSSR reads an early feature map, no FA; 'paper': with FA",
    )
    args = parser.parse_args(argv)
    try:
        write_dsrl_config(args.config, args.out, args.scale_factor, args.sisr, args.form)
    except (FileExistsError, FileNotFoundError, ImportError, TypeError, ValueError) as error:
        raise SystemExit(f'{parser.prog}: {args.config}: {error}') from error
    print(f'Written to {args.out}')
