"""Semantic segmentation super-resolution (SSSR), Sec. 3.1 of the paper, on top of any MMSegmentation decode head."""

from collections.abc import Sequence
from typing import NamedTuple

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor

from .head_wrapper import HeadWrapper


class _Skip(NamedTuple):
    in_index: int
    in_channels: int


@MODELS.register_module(force=True)
class SSSRHead(HeadWrapper):
    """Decode head that adds an upsampling stack's prediction to the enlarged logits of a wrapped head.

    The stack reads the features that enter the wrapped head's ``conv_seg``. The sum is computed on the stack's grid and
    enlarged to the canvas. The stack's prediction starts at zero, so training starts from the wrapped head's
    prediction, also from that of a stock checkpoint, whose keys are renamed while loading. Losses, label handling and
    class counts are the wrapped head's.

    Args:
        decode_head (dict): config of the wrapped head, see :class:`~dsrl_mm.seg.HeadWrapper`.
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

    _new_parts = 'The upsampling stack is new, and starts at a residual of 0.'

    def __init__(self, decode_head: dict, upsampler: dict = dict(type='DeconvUpsampler'), skip: dict | None = None):
        if 'skip_channels' in upsampler:
            raise ValueError(
                'SSSRHead: upsampler.skip_channels is set by the head. Name the early feature map that the stack reads '
                'in skip=dict(in_index=..., in_channels=...).'
            )
        super().__init__(decode_head)
        self.skip = None if skip is None else _Skip(**skip)
        head = self.decode_head
        early = {} if skip is None else dict(skip_channels=self.skip.in_channels)
        self.upsampler = MODELS.build(
            dict(upsampler, in_channels=head.channels, out_channels=head.out_channels, **early)
        )
        self.upsampler.start_at_zero()

    def parts(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Run both halves on the backbone's or neck's features, each (B, C_i, H_i, W_i).

        Returns:
            tuple[Tensor, Tensor, Tensor]: the wrapped head's logits (B, K, h, w); the stack's hidden features
            (B, C, h', w'); its residual logits (B, K, r h, r w), or on the early map's grid.
        """
        early = []
        if self.skip is not None:
            inputs = list(inputs)
            self._check_skip(inputs)
            early = [inputs.pop(self.skip.in_index)]
        feat = self.features(inputs)
        return BaseDecodeHead.cls_seg(self.decode_head, feat), *self.upsampler(feat, *early)

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
        return self.loss_by_feat(logits, data_samples), (feat, logits)
