"""Semantic segmentation super-resolution (SSSR), Sec. 3.1 of the paper, on top of any MMSegmentation decode head."""

from collections.abc import Sequence
from typing import NamedTuple

import torch.nn as nn
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor

__all__ = ['SSSRHead', 'check_wrappable']

#: What the upsampling stack comes between: heads that differ here predict or learn in a way it would bypass.
_STEPS = ('cls_seg', 'loss', 'loss_by_feat', 'predict', 'predict_by_feat')


def _identity(feat: Tensor) -> Tensor:
    return feat


def _refuse(name: str, reason: str) -> None:
    raise TypeError(
        f'SSSRHead cannot wrap {name}: {reason}. It needs a head whose forward ends in BaseDecodeHead.cls_seg and '
        'whose losses are those of loss_decode, such as PSPHead, DepthwiseSeparableASPPHead, UPerHead, FCNHead or '
        'SegformerHead: set model.decode_head.decode_head to one of these.'
    )


def check_wrappable(head: type) -> None:
    """Raise a TypeError that says why, if SSSR cannot be put on top of a class of decode heads."""
    if issubclass(head, BaseCascadeDecodeHead):
        _refuse(head.__name__, 'it is a stage of a cascade')
    if not issubclass(head, BaseDecodeHead):
        _refuse(head.__name__, 'it is no BaseDecodeHead with logits for every pixel (mask classification, perhaps)')
    own = [step for step in _STEPS if getattr(head, step) is not getattr(BaseDecodeHead, step)]
    if own:
        _refuse(head.__name__, f'it has a {" and a ".join(own)} of its own')


class _Skip(NamedTuple):
    in_index: int
    in_channels: int


@MODELS.register_module(force=True)
class SSSRHead(BaseModule):
    """Decode head that adds an upsampling stack's prediction to the enlarged logits of a wrapped head.

    The stack reads the features that enter the wrapped head's ``conv_seg``. The sum is computed on the stack's grid and
    enlarged to the canvas. The stack's prediction starts at zero, so training starts from the wrapped head's
    prediction, also from that of a stock checkpoint, whose keys are renamed while loading. Losses, label handling and
    class counts are the wrapped head's.

    Args:
        decode_head (dict): config of the wrapped head: a ``BaseDecodeHead`` whose ``forward`` ends in ``cls_seg`` and
            that does not override the steps after it (PSPHead, ASPPHead, DepthwiseSeparableASPPHead, UPerHead, FCNHead,
            SegformerHead, LightHamHead, ...).
        upsampler (dict): config of the stack, without ``in_channels`` and ``out_channels``. Defaults to the paper's
            :class:`~dsrl_mm.core.DeconvUpsampler`; :class:`~dsrl_mm.core.SubPixelUpsampler` is cheaper.
        skip (dict, optional): ``in_index`` and ``in_channels`` of an early feature map that the stack, a
            :class:`~dsrl_mm.core.DeconvUpsampler`, reads, too. The wrapped head does not receive it: its ``in_index``
            counts the other feature maps. Defaults to None.

    Raises:
        TypeError: if the head cannot be wrapped: a stage of a cascade, a head with its own losses or predictions, or
            one that classifies masks.
        ValueError: if there is no feature map as ``skip`` describes it, or for ``upsampler.skip_channels``.
    """

    def __init__(self, decode_head: dict, upsampler: dict = dict(type='DeconvUpsampler'), skip: dict | None = None):
        super().__init__()
        if 'skip_channels' in upsampler:
            raise ValueError(
                'SSSRHead: upsampler.skip_channels is set by the head. Name the early feature map that the stack reads '
                'in skip=dict(in_index=..., in_channels=...).'
            )
        self.skip = None if skip is None else _Skip(**skip)
        self.decode_head = head = MODELS.build(decode_head)
        check_wrappable(type(head))
        if not isinstance(getattr(head, 'conv_seg', None), nn.Conv2d):
            _refuse(type(head).__name__, 'it has no conv_seg layer')
        early = {} if skip is None else dict(skip_channels=self.skip.in_channels)
        self.upsampler = MODELS.build(
            dict(upsampler, in_channels=head.channels, out_channels=head.out_channels, **early)
        )
        self.upsampler.start_at_zero()
        # Shadows the method: the wrapped head's forward now ends with the features that enter cls_seg.
        head.cls_seg = _identity
        self._register_load_state_dict_pre_hook(self.adopt_stock_checkpoint)
        # What segmentors, test-time augmentation and hooks read off a decode head.
        self.num_classes, self.out_channels, self.threshold = head.num_classes, head.out_channels, head.threshold
        self.align_corners, self.ignore_index = head.align_corners, head.ignore_index

    def adopt_stock_checkpoint(self, state_dict: dict, prefix: str, *_) -> None:
        """Rename a stock head's keys (``PREFIX.x``) to the wrapped head's (``PREFIX.decode_head.x``), in place.

        Runs before the head's weights are loaded. Other checkpoints are left as they are.
        """
        stock = [key for key in state_dict if key.startswith(prefix)]
        if not stock or any(key.startswith((f'{prefix}decode_head.', f'{prefix}upsampler.')) for key in stock):
            return
        for key in stock:
            state_dict[f'{prefix}decode_head.{key[len(prefix) :]}'] = state_dict.pop(key)
        print_log(
            f"SSSRHead: the checkpoint is a stock head's; its {len(stock)} tensors go to the wrapped "
            f'{type(self.decode_head).__name__}. The upsampling stack is new, and starts at a residual of 0.',
            logger='current',
        )

    def parts(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Run both halves.

        Args:
            inputs (Sequence[Tensor]): the backbone's or neck's features, each (B, C_i, H_i, W_i).

        Returns:
            tuple[Tensor, Tensor, Tensor]: the wrapped head's logits (B, K, h, w); the stack's hidden features
            (B, C, h', w'); its residual logits (B, K, r h, r w), or on the early map's grid.

        Raises:
            TypeError: if the wrapped head's forward turns out not to end in ``cls_seg``.
        """
        head, early = self.decode_head, []
        if self.skip is not None:
            inputs = list(inputs)
            self._check_skip(inputs)
            early = [inputs.pop(self.skip.in_index)]
        feat = head(inputs)
        if not isinstance(feat, Tensor) or feat.shape[1] != head.channels:
            got = f'shape {tuple(feat.shape)}' if isinstance(feat, Tensor) else f'a {type(feat).__name__}'
            _refuse(type(head).__name__, f'its forward gives {got}, not what enters conv_seg')
        return BaseDecodeHead.cls_seg(head, feat), *self.upsampler(feat, *early)

    def _check_skip(self, inputs: Sequence[Tensor]) -> None:
        found, (index, channels) = [feat.shape[1] for feat in inputs], self.skip
        if not -len(found) <= index < len(found) or found[index] != channels:
            raise ValueError(
                f'SSSRHead: skip=dict(in_index={index}, in_channels={channels}) asks for features that do not exist: '
                f'the head is given {len(found)} feature maps of {found} channels. Choose one of these.'
            )

    def _logits_and_features(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        base, feat, residual = self.parts(inputs)
        grid = residual.shape[-2:]
        base = resize(base, grid, mode='bilinear', align_corners=self.align_corners, warning=False)
        return base + residual, feat

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits on the stack's grid, (B, K, h', w'), from the backbone's or neck's features."""
        return self._logits_and_features(inputs)[0]

    def loss_and_features(
        self, inputs: Sequence[Tensor], data_samples: SampleList
    ) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
        """Compute the wrapped head's losses on the full-size labels, and return what FA compares: (features, logits).

        Args:
            inputs (Sequence[Tensor]): the backbone's or neck's features, each (B, C_i, H_i, W_i).
            data_samples (SampleList): with ``gt_sem_seg`` of the canvas's size.
        """
        logits, feat = self._logits_and_features(inputs)
        return self.decode_head.loss_by_feat(logits, data_samples), (feat, logits)

    def loss(self, inputs: Sequence[Tensor], batch_data_samples: SampleList, train_cfg: dict) -> dict[str, Tensor]:
        """Compute the losses; the stock interface of :meth:`loss_and_features`."""
        return self.loss_and_features(inputs, batch_data_samples)[0]

    def predict(self, inputs: Sequence[Tensor], batch_img_metas: list[dict], test_cfg: dict) -> Tensor:
        """Logits of the canvas's size, (B, K, H, W); ``batch_img_metas`` say which that is."""
        return self.decode_head.predict_by_feat(self(inputs), batch_img_metas)
