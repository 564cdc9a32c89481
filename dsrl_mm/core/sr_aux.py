"""All that exists only while training: the SISR head, the feature transform, and the FA loss."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor

__all__ = ['SRAux']


def _blank(feat: Tensor, valid: Tensor) -> Tensor:
    """Features (B, C, h, w) with zeros in the padding, whose pairs then neither cost nor teach anything."""
    return feat * (F.adaptive_avg_pool2d(valid, feat.shape[-2:]) > 0.5)


class SRAux(BaseModule):
    """The training-only half of DSRL. Leaving it out is all that deploying takes.

    Args:
        head (dict): config of the SISR head, a :class:`~dsrl_mm.core.SISRAuxHead`.
        fa (dict, optional): config of the affinity loss, e.g. :class:`~dsrl_mm.core.FALoss`. Defaults to None:
            without FA (row "SSSR + SISR" of the paper's Table 1).
        fa_on (str): what FA compares: 'features', the last before each branch's prediction layer, or 'outputs', the
            logits and the image. Defaults to 'features', as the authors answered in their tracker.
        norm_cfg (dict): of the feature transform. Defaults to batch norm.
        seg_channels (int, optional): channels of what :meth:`loss` is given as ``seg``; set by the model.
            None where there is no SSSR head, and then no FA.
    """

    def __init__(
        self,
        head: dict,
        fa: dict | None = None,
        fa_on: str = 'features',
        norm_cfg: dict = dict(type='BN'),
        seg_channels: int | None = None,
    ):
        super().__init__()
        if fa_on not in ('features', 'outputs'):
            raise ValueError(f"sr_aux: fa_on must be 'features' or 'outputs', got {fa_on!r}")
        self.head = MODELS.build(head)
        self.fa_on = fa_on
        self.fa = self.transform = None
        if fa is not None:
            if seg_channels is None:
                raise ValueError(
                    'sr_aux: FA compares the features of a super-resolution head with those of the SISR '
                    'head, but this model has a plain head. Use type="SSSRHead" (segmentation) or '
                    '"SSSRHeatmapHead" (pose), or set sr_aux.fa=None.'
                )
            self.fa = MODELS.build(fa)
            self.transform = ConvModule(seg_channels, self.head.channels, 1, norm_cfg=norm_cfg)

    def loss(
        self, feats: Sequence[Tensor], seg: tuple[Tensor, Tensor] | None, target: Tensor, valid: Tensor
    ) -> dict[str, Tensor]:
        """Compute the SISR loss and, where configured, the FA loss.

        Args:
            feats (Sequence[Tensor]): the backbone's outputs, each (B, C_i, H_i, W_i).
            seg (tuple[Tensor, Tensor], optional): the super-resolution head's features (B, C, h, w) and its output.
            target (Tensor): the canvas, (B, 3, H, W), normalised as the network's input is.
            valid (Tensor): (B, 1, H, W), 1 where the canvas holds an image, 0 where it is padded.

        Returns:
            dict[str, Tensor]: the weighted losses by name; all names start with ``loss_``.
        """
        sr = self.head(feats)
        losses = self.head.loss_by_feat(sr[1], target)
        if self.fa is not None:
            which = ('features', 'outputs').index(self.fa_on)
            compared = _blank(self.transform(seg[which]), valid), _blank(sr[which], valid)
            losses[self.fa.loss_name] = self.fa(*compared)
        return losses
