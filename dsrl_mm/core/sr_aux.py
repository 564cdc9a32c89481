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
        fa_on (str): what FA compares: 'features', the last before each branch's prediction layer, as the authors
            answered in their tracker; 'outputs', the logits and the image; or 'labels', the SSSR features with what
            every pixel is labelled, whose affinities are 1 within a class and 0 between two (the "ideal affinity map"
            of Yu et al., CVPR 2020, https://arxiv.org/abs/2004.01547); with the loss's ``center``, the correlations of
            these labels. Defaults to 'features'.
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
        if fa_on not in ('features', 'outputs', 'labels'):
            raise ValueError(f"sr_aux: fa_on must be 'features', 'outputs' or 'labels', got {fa_on!r}")
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
        self,
        feats: Sequence[Tensor],
        seg: tuple[Tensor, Tensor] | None,
        reduced: Tensor,
        target: Tensor,
        valid: Tensor,
        labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute the SISR loss and, where configured, the FA loss.

        Args:
            feats (Sequence[Tensor]): the backbone's outputs, each (B, C_i, H_i, W_i).
            seg (tuple[Tensor, Tensor], optional): the super-resolution head's features (B, C, h, w) and its output.
            reduced (Tensor): what the network read, (B, 3, H', W').
            target (Tensor): the canvas, (B, 3, H, W), normalised as the network's input is.
            valid (Tensor): (B, 1, H, W), 1 where the canvas holds an image, 0 where it is padded, of which
                FA takes no notice; SISR rebuilds it, too.
            labels (Tensor, optional): (B, K, H, W), 1 for the class of a pixel and 0 else, for ``fa_on='labels'``.

        Returns:
            dict[str, Tensor]: the weighted losses by name; all names start with ``loss_``.
        """
        sr = self.head(feats)
        losses = self.head.loss_by_feat(sr[1], reduced, target)
        if self.fa is not None:
            feat, guide = self._compared(seg, sr, labels)
            if self.fa_on == 'labels':
                valid = labels.sum(1, keepdim=True)
            losses[self.fa.loss_name] = self.fa(_blank(self.transform(feat), valid), _blank(guide, valid))
        return losses

    def _compared(
        self, seg: tuple[Tensor, Tensor], sr: tuple[Tensor, Tensor], labels: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return what FA compares: features of the super-resolution head, before the transform, and of the guide."""
        if self.fa_on == 'features':
            return seg[0], sr[0]
        if self.fa_on == 'outputs':
            return seg[1], sr[1]
        # A cell of several classes is like each of them, by its share.
        return seg[0], F.adaptive_avg_pool2d(labels, seg[0].shape[-2:])
