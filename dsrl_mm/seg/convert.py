"""Conversion of MMSegmentation ``EncoderDecoder`` configs to DSRL configs."""

import argparse
import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from operator import mul
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..core import check_scale_factor
from ..engine.config import class_of, evaluate, input_channels, type_name
from ..engine.shapes import NearestInterpolation
from .conversion import (
    Probe,
    apply,
    build_for_shapes,
    check_convertible,
    find_config,
    map_norm,
    merge,
    moved,
    reduced_img_size,
    run_network,
    run_tool,
)

#: Forms of DSRL, see :func:`to_dsrl`.
FORMS = ('early', 'paper')
#: The grid of SSSR's prediction: 1/4 of the canvas on each side, from where it is enlarged bilinearly.
_SSSR_STRIDE = 4
#: The finest grid that SISR reads: 1/4 of the network input on each side.
_SISR_STRIDE = 4
#: The grid of FA: 1/8 of the canvas on each side (Sec. 3.3 of the paper).
_AFFINITY_STRIDE = 8


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
def _first_stage(probe: Probe, backbone: ConfigDict) -> _Early | None:
    """Return the backbone's first stage, if ``out_indices`` can add it before the outputs and it is finer."""
    parameter = inspect.signature(class_of(backbone, MODELS)).parameters.get('out_indices')
    out_indices = backbone.get('out_indices', parameter and parameter.default)
    if not isinstance(out_indices, (list, tuple)) or min(out_indices) <= 0:
        return None
    out_indices = (0, *out_indices)
    extended = build_for_shapes(dict(backbone, out_indices=out_indices), probe.image.device.type)
    with probe.image.device:
        first, *others = extended(probe.image)
    same = [feat.shape for feat in others] == [feat.shape for feat in probe.feats]
    stride = probe.stride(first)
    return _Early(0, first.shape[1], stride, out_indices) if same and stride < min(probe.strides) else None


@torch.enable_grad()
def _reads(head: nn.Module, feats: Sequence[Tensor]) -> list[int]:
    """Return the indices of the feature maps that a head's output depends on: those that gradients would reach."""

    def reads(index: int) -> bool:
        leaves = [feat.detach().requires_grad_(i == index) for i, feat in enumerate(feats)]
        return head([leaf.clone() for leaf in leaves]).requires_grad

    with feats[0].device, NearestInterpolation():
        return [index for index in range(len(feats)) if reads(index)]


def _finest_output(probe: Probe) -> _Early | None:
    """Return the finest of the backbone's outputs, if the wrapped head works without it."""
    stride = min(probe.strides)
    index, head = probe.strides.index(stride), probe.segmentor.decode_head.decode_head

    def move(i: int) -> int:
        return i - (i > index)

    read = _reads(head, probe.feats)
    head.in_index = moved(head.in_index, move)
    try:
        same = index not in read and _reads(head, probe.feats[:index] + probe.feats[index + 1 :]) == moved(read, move)
    except (IndexError, RuntimeError):
        same = False
    return _Early(index, probe.feats[index].shape[1], stride, head_in_index=head.in_index) if same else None


def _early(probe: Probe, backbone: ConfigDict, factors: Sequence[int]) -> _Early | str:
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
    probe: Probe, backbone: ConfigDict, scale_factor: int, sssr_stride: int, norm_cfg: dict, shift: int, fa: bool
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
    check_convertible(stock)
    norm_cfg = map_norm(stock.decode_head)
    upsampler = dict(type='DeconvUpsampler', factors=(scale_factor,), norm_cfg=norm_cfg)
    difference = dict(
        type='DSRLSegmentor',
        scale_factor=scale_factor,
        backbone=reduced_img_size(stock.backbone, scale_factor),
        decode_head=dict(type='SSSRHead', decode_head={}, upsampler=upsampler),
    )
    probe = run_network(cfg, merge(stock, difference))
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


def _convert(cfg: Config, scale_factor: int, sisr: bool, form: str) -> tuple[Config, str | None]:
    check_scale_factor(scale_factor)
    if form not in FORMS:
        raise ValueError(f'form must be one of {FORMS}, got {form!r}')
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    difference, reason = _difference(evaluate(copy.deepcopy(cfg)), scale_factor, sisr, form)
    note = reason and f'SSSR reads no early feature map, because {reason}.'
    if note:
        print_log(f'to_dsrl: {note}', logger='current')
    return apply(cfg, difference, 'dsrl_mm.seg'), note


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


def main(argv: Sequence[str] | None = None) -> None:
    """Write a DSRL config of any MMSegmentation config of an encoder and a decoder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('--scale-factor', type=int, default=2, help='canvas size over input size')
    parser.add_argument('--no-sisr', dest='sisr', action='store_false', help='only the upsampling head')
    parser.add_argument(
        '--form',
        choices=FORMS,
        default='early',
        help="'early': SSSR reads an early feature map, no FA; 'paper': with FA",
    )
    run_tool(parser, argv, 'DSRL', lambda cfg, args: _convert(cfg, args.scale_factor, args.sisr, args.form))
