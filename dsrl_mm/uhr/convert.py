"""Conversion of MMSegmentation ``EncoderDecoder`` configs to ISDNet's form."""

import argparse
import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..core import check_scale_factor
from ..engine.config import evaluate, input_channels, type_name
from ..seg.conversion import (
    Probe,
    apply,
    check_convertible,
    find_config,
    map_norm,
    merge,
    reduced_img_size,
    run_network,
    run_tool,
)

#: MMSegmentation's weights of STDC1, trained on ImageNet.
_STDC = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/stdc/stdc1_20220308-5368626c.pth'
#: The narrowest layers of the shallow network.
_LEAST_CHANNELS = 32


def _factors(stride: int) -> tuple[int, ...]:
    """Enlargements from a grid of ``stride`` on the canvas to half of the canvas, in three steps at most."""
    left, twos = max(1, stride // 2), []
    while left % 2 == 0 and len(twos) < 2:
        left //= 2
        twos.append(2)
    return (left, *twos) if left > 1 or not twos else tuple(twos)


def _operations(run: Callable[[Tensor], object], image: Tensor) -> dict[str, int]:
    """Count the operations on an image by the module's name; 'Global' is the sum."""
    with image.device, torch.no_grad(), FlopCounterMode(display=False) as counter:
        run(image)
    return {name.partition('.')[2] or name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}


def _too_light(probe: Probe, scale_factor: int) -> str | None:
    """Return a warning, if the stock network on the whole canvas takes fewer operations than ISDNet."""
    model, image = probe.segmentor, probe.image
    canvas = image.new_zeros(1, image.shape[1], *[scale_factor * side for side in image.shape[2:]])
    counts = _operations(model, canvas)

    def stock(image: Tensor) -> Tensor:
        feats = model.backbone(image)
        return model.decode_head.features(model.neck(feats) if model.with_neck else feats)

    try:
        operations = _operations(stock, canvas)['Global']
    except RuntimeError:  # some transformers take a single size; attention grows faster than the image
        operations = _operations(stock, image)['Global'] * scale_factor**2
    if operations > counts['Global']:
        return None
    return (
        f'This network is too light for ISDNet: on the whole canvas, it takes {operations / counts["Global"]:.2f} of '
        f'the operations of ISDNet, whose shallow network alone takes {counts["shallow"] / counts["Global"]:.2f}. Use '
        'it as it is, or a narrower shallow network (model.shallow.base_channels).'
    )


def _convert(cfg: Config, scale_factor: int, sr: bool) -> tuple[Config, str | None]:
    check_scale_factor(scale_factor)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    evaluated = evaluate(copy.deepcopy(cfg))
    stock = evaluated.model
    check_convertible(stock, 'ISDHead')
    norm_cfg, channels = map_norm(stock.decode_head, _LEAST_CHANNELS), input_channels(stock.backbone)
    shallow = dict(type='STDCShallow', norm_cfg=norm_cfg)
    fusion = dict(type='RelationAwareFusion', channels=128, groups=16)
    if type_name(norm_cfg) in ('IN', 'IN2d'):  # which cannot normalize pooled features, a single value per channel
        fusion['pool_norm_cfg'] = dict(type='GN', num_groups=1)
    if channels == 3:
        shallow['init_cfg'] = dict(type='Pretrained', checkpoint=_STDC)
    difference = dict(
        type='ISDSegmentor',
        scale_factor=scale_factor,
        shallow=shallow,
        backbone=reduced_img_size(stock.backbone, scale_factor),
        decode_head=dict(
            type='ISDHead',
            decode_head={},
            fusion=fusion,
            norm_cfg=norm_cfg,
        ),
    )
    probe = run_network(evaluated, merge(stock, difference))
    difference['sr_aux'] = {}
    if sr:
        branch = dict(type='ISDSRDecoder', factors=_factors(probe.head_stride * scale_factor))
        difference['sr_aux'] = dict(
            sr=branch | ({} if channels == 3 else dict(out_channels=channels)),
            structure=dict(type='StructureDistillationLoss', per_channel=True),
        )
    note = _too_light(probe, scale_factor)
    if note:
        print_log(f'to_isd: {note}', logger='current', level=30)
    return apply(cfg, difference, 'dsrl_mm.uhr'), note


def to_isd(cfg: Config | str | Path, scale_factor: int = 4, sr: bool = True) -> Config:
    """Convert a stock config to ISDNet's form. Only the model changes: data, crop sizes and schedule stay.

    The network then reads ``1 / scale_factor`` of the stock config's input on each side, and a shallow one the high
    frequencies of all of it. The model is built and run on an empty image, to find the stride of its head and whether
    it can be wrapped. No weights are downloaded. The log warns if the network is so light that ISDNet saves nothing.

    Args:
        cfg (Config | str | Path): a config, its path, or ``mmseg::FOLDER/NAME.py``. It is not changed.
        scale_factor (int): canvas size over the input size of the network. Defaults to 4.
        sr (bool): whether to add the super-resolution branch and structure distillation, in the form of the authors'
            code for the latter. Defaults to True.

    Returns:
        Config: with an :class:`~dsrl_mm.uhr.ISDSegmentor` whose head is an :class:`~dsrl_mm.uhr.ISDHead` around the
        stock one.

    Raises:
        ValueError: if ``scale_factor`` is not an integer of at least 2.
        TypeError: if the model cannot be converted: a cascade, a head that does not end in ``cls_seg`` or has losses of
            its own, mask classification, another segmentor. The message says which.
        ImportError: if a package that the config needs is missing.
    """
    if not isinstance(cfg, Config):
        cfg = Config.fromfile(find_config(cfg))
    return _convert(cfg, scale_factor, sr)[0]


def main(argv: Sequence[str] | None = None) -> None:
    """Write ISDNet's form of any MMSegmentation config of an encoder and a decoder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('--scale-factor', type=int, default=4, help='canvas size over input size of the network')
    parser.add_argument('--no-sr', dest='sr', action='store_false', help='without the super-resolution branch')
    run_tool(parser, argv, 'ISDNet', lambda cfg, args: _convert(cfg, args.scale_factor, args.sr))
