"""What conversions of MMSegmentation ``EncoderDecoder`` configs share: trial runs, checks, and writing."""

import argparse
import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd
from pathlib import Path

import mmseg
import torch
from mmengine.config import Config, ConfigDict
from mmseg.models.segmentors import CascadeEncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from ..engine.config import builds, class_of, input_channels, parse_config, type_name
from ..engine.shapes import NearestInterpolation
from .canvas import CanvasSegmentor
from .checks.size_errors import explain_size_error
from .head_wrapper import check_wrappable

#: Side of the network input for the trial run, in pixels: a multiple of common strides and windows.
_SIDE = 128
#: Normalizations of feature maps (B, C, H, W).
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
class Probe:
    """A converted segmentor without ``sr_aux``, and its features of an empty network input."""

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


def check_convertible(model: ConfigDict, wrapper: str = 'SSSRHead') -> None:
    """Raise a TypeError that says why, if a model cannot be converted to one with a head of type ``wrapper``."""
    if builds(model, MODELS, CanvasSegmentor):
        raise TypeError(f'The config is converted already: its model is a {type_name(model)}')
    if builds(model, MODELS, CascadeEncoderDecoder):
        raise TypeError(
            'model.type is CascadeEncoderDecoder: each of its heads refines the logits of the one before, on that '
            "one's grid, so none of them can be enlarged by itself"
        )
    if (name := type_name(model)) != 'EncoderDecoder':  # not a subclass, whose own steps would be lost
        raise TypeError(f'model.type is {name}; only an EncoderDecoder can be converted')
    head = model.decode_head
    if not isinstance(head, dict):
        raise TypeError('model.decode_head is a list of heads, a cascade; one head is needed')
    if (head_class := class_of(head, MODELS)) is not None:
        check_wrappable(head_class, wrapper)


def reduced_img_size(backbone: ConfigDict, scale_factor: int) -> dict:
    """Return a transformer's ``img_size``, reduced to the network input; {} for other backbones."""
    size = backbone.get('img_size')
    if size is None:
        return {}
    reduced = [-(-side // scale_factor) for side in ((size, size) if isinstance(size, int) else size)]
    return dict(img_size=reduced[0] if isinstance(size, int) else tuple(reduced))


def build_for_shapes(cfg: dict, device: str) -> nn.Module:
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
    module.eval()  # of some modules, it returns None
    for norm in module.modules():
        if isinstance(norm, _BatchNorm):  # keeps shapes, and takes most of the time on the meta device
            norm.forward = nn.Identity().forward
    return module.requires_grad_(False)


def _build_segmentor(model: ConfigDict, device: str) -> nn.Module:
    """Build the model without preprocessing."""
    try:
        return build_for_shapes(dict(copy.deepcopy(model), data_preprocessor=None), device)  # constructors change it
    except KeyError as error:
        if 'is not in the' not in str(error):
            raise
        raise ImportError(
            f'The model cannot be built to look at its features: {error.args[0]}\nInstall the package that holds the '
            'missing module (mmpretrain for its backbones), and name it in custom_imports.'
        ) from error


@torch.no_grad()
def _probe(model: nn.Module, channels: int, size: Sequence[int], device: str) -> Probe:
    """Run a converted segmentor without ``sr_aux`` on an empty network input of ``size``."""
    with torch.device(device), NearestInterpolation():  # the device also of what the network creates
        image = torch.zeros(1, channels, *size)
        shared = feats = model.backbone(image)
        if model.with_neck:
            feats = model.neck(shared)
        wrapped = model.decode_head.features(feats)
    if isinstance(shared, Tensor) or not all(isinstance(feat, Tensor) for feat in shared):
        shared = ()
    return Probe(model, image, tuple(shared), head_stride=round(size[0] / wrapped.shape[2]))


def run_network(cfg: Config, model: ConfigDict) -> Probe:
    """Run the network of a converted model on the meta device, where only shapes are computed.

    A few networks depend on values. They, and those that fail, run on the CPU, which gives the better messages.
    """
    try:
        return _run_on('meta', cfg, model)
    except (RuntimeError, TypeError, ValueError):
        return _run_on('cpu', cfg, model)


def _run_on(device: str, cfg: Config, model: ConfigDict) -> Probe:
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


def map_norm(head: ConfigDict, channels: int = 64) -> dict:
    """Return a head's normalization for the added layers; SyncBN if it does not normalize feature maps.

    Groups are reduced to a number that divides ``channels``.
    """
    norm_cfg = head.get('norm_cfg')
    if not norm_cfg or type_name(norm_cfg) not in _NORMS:
        return dict(type='SyncBN')
    norm_cfg = dict(norm_cfg)
    if 'num_groups' in norm_cfg:
        norm_cfg['num_groups'] = gcd(norm_cfg['num_groups'], channels)
    return norm_cfg


def moved(in_index: int | Sequence[int], move: Callable[[int], int]) -> int | list[int]:
    """Apply a function to each index of ``in_index``."""
    return move(in_index) if isinstance(in_index, int) else [move(i) for i in in_index]


def merge(stock: ConfigDict, difference: dict) -> ConfigDict:
    """Apply a difference to a model config. For the backbone and the wrapped head, it holds only keys that change."""
    model = copy.deepcopy(stock)
    backbone, head = difference['backbone'], difference['decode_head']
    model.update({key: value for key, value in difference.items() if key not in ('backbone', 'decode_head')})
    model.backbone.update(backbone)
    model.decode_head.update(head['decode_head'])
    model.decode_head = dict(head, decode_head=model.decode_head)
    if 'out_indices' in backbone:
        auxiliary = model.get('auxiliary_head') or []
        for each in auxiliary if isinstance(auxiliary, list) else [auxiliary]:
            each.in_index = moved(each.get('in_index', -1), lambda i: i + (i >= 0))
    return model


def apply(cfg: Config, difference: dict, package: str) -> Config:
    """Copy a config, change its model (see :func:`merge`), and import the package of the added parts."""
    converted, stock = copy.deepcopy(cfg), cfg.get('custom_imports') or {}
    converted.model = merge(cfg.model, difference)
    imports = stock.get('imports', [])
    converted.custom_imports = dict(
        imports=[*([imports] if isinstance(imports, str) else imports), package],
        allow_failed_imports=stock.get('allow_failed_imports', False),
    )
    return converted


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
    """Format the converted config as a difference from ``source``."""
    stock, model = cfg.model, _changes(cfg.model, converted.model)
    for key in ('backbone', 'auxiliary_head'):
        if isinstance(model.get(key), dict):
            model[key] = _changes(stock[key], model[key])
    wrapped = '_base_.model.decode_head'
    if changed := _changes(stock.decode_head, model['decode_head'].decode_head):
        wrapped = f'dict({wrapped}, in_index={changed["in_index"]})'
    model['decode_head'] = dict(model['decode_head'], _delete_=True, decode_head=wrapped)
    text = Config(dict(custom_imports=converted.custom_imports, model=model)).pretty_text
    base = os.path.relpath(source.resolve(), out.resolve().parent)
    return f'_base_ = {Path(base).as_posix()!r}\n{text}'.replace(repr(wrapped), wrapped)


def _write(source: str, out: Path, convert: Callable[[Config], tuple[Config, str | None]], title: str) -> None:
    """Write the converted form of a config, as a difference from it that names it as its base.

    A config that MMSegmentation ships is written as a whole, because its location depends on the installation. So is a
    config in pure Python (``read_base()``).
    """
    path = find_config(source)
    if out.exists():
        raise FileExistsError(f'{out} exists already; nothing was written')
    cfg = parse_config(path)
    converted, note = convert(cfg)
    body = _text_beyond(cfg, converted, path, out) if _inherits(cfg, path) else converted.pretty_text
    origin = source if '::' in source else path.name
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(f'# {origin} {title}\n' + (f'# {note}\n' if note else '') + body)


def run_tool(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    method: str,
    convert: Callable[[Config, argparse.Namespace], tuple[Config, str | None]],
) -> None:
    """Run a converter's command: parse, convert, and write.

    Args:
        parser (argparse.ArgumentParser): with the converter's options; ``config`` and ``--out`` are added.
        argv (Sequence[str], optional): the arguments. Defaults to the command line's.
        method (str): what the file's header says is added.
        convert (Callable): called with config and arguments; returns the result, and a note for the header or None.
    """
    parser.add_argument('config', help='a path, or mmseg::FOLDER/NAME.py for one that MMSegmentation ships')
    parser.add_argument('-o', '--out', type=Path, required=True, help='the file to write')
    args = parser.parse_args(argv)
    title = f'with {method}: the network reads 1/{args.scale_factor} of each side.'
    _write(args.config, args.out, lambda cfg: convert(cfg, args), title)
    print(f'Written to {args.out}')
