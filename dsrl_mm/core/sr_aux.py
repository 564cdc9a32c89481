"""Training-only parts: the SISR head, the feature transform and the FA loss."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor


class Shared(NamedTuple):
    """Input and features of the backbone, which the branches share."""

    image: Tensor  # network input, the reduced canvas: (B, 3, H', W')
    feats: Sequence[Tensor]  # outputs of the backbone, each (B, C_i, H_i, W_i)


def _blank(feat: Tensor, valid: Tensor) -> Tensor:
    """Set features (B, C, h, w) to zero in the padding, so that its pairs do not contribute to the loss."""
    return feat * (F.adaptive_avg_pool2d(valid, feat.shape[-2:]) > 0.5)


def _one_hot(labels: Sequence[Tensor], num_classes: int) -> Tensor:
    """Encode labels as (B, K, H, W), 1 for the class of a pixel and 0 for others. Unlabeled pixels are 0 throughout."""
    label = torch.stack(list(labels)).long()
    label = label.where((label >= 0) & (label < num_classes), num_classes)[:, None]
    one_hot = torch.zeros(len(label), num_classes + 1, *label.shape[2:], device=label.device)
    return one_hot.scatter_(1, label, 1)[:, :num_classes]


class SRAux(BaseModule):
    """Training-only parts of DSRL, which deployment removes.

    Args:
        head (dict): config of the SISR head, a :class:`~dsrl_mm.core.SISRAuxHead`.
        fa (dict, optional): config of the affinity loss, e.g. :class:`~dsrl_mm.core.FALoss`. Defaults to None:
            without FA (row "SSSR + SISR" of the paper's Table 1).
        fa_on (str): what FA compares: 'features', the last before each branch's prediction layer, as the authors
            answered in their tracker; 'outputs', the SSSR branch's prediction and the rebuilt image; or 'labels', the
            SSSR features with every pixel's label, whose affinities are 1 within a class and 0 between two (the "ideal
            affinity map" of Yu et al., CVPR 2020, https://arxiv.org/abs/2004.01547). Defaults to 'features'.
        norm_cfg (dict): normalization of the feature transform. Defaults to batch norm.
        stack_channels (tuple[int, int], optional): channels of the SSSR stack's hidden features and of its prediction;
            set by the model. None without an SSSR head, and then without FA.
        num_classes (int, optional): number of classes of the labels, K; set by the model. None without labels.

    Raises:
        ValueError: for an unknown ``fa_on``, FA without an SSSR head, or ``fa_on='labels'`` without classes.
    """

    def __init__(
        self,
        head: dict,
        fa: dict | None = None,
        fa_on: str = 'features',
        norm_cfg: dict = dict(type='BN'),
        stack_channels: tuple[int, int] | None = None,
        num_classes: int | None = None,
    ):
        super().__init__()
        if fa_on not in ('features', 'outputs', 'labels'):
            raise ValueError(f"sr_aux: fa_on must be 'features', 'outputs' or 'labels', got {fa_on!r}")
        if fa_on == 'labels' and num_classes is None:
            raise ValueError("sr_aux: fa_on='labels' needs the class of every pixel, which this model does not learn")
        self.head = MODELS.build(head)
        self.fa_on, self.num_classes = fa_on, num_classes
        self.fa = self.transform = None
        if fa is not None:
            if stack_channels is None:
                raise ValueError(
                    'sr_aux: FA compares the features of an SSSR head with those of the SISR head, but this model has '
                    "a plain head. Use the task's head whose type begins with SSSR, or set sr_aux.fa=None."
                )
            self.fa = MODELS.build(fa)
            channels = stack_channels[1 if fa_on == 'outputs' else 0]
            self.transform = ConvModule(channels, self.head.channels, 1, norm_cfg=norm_cfg)

    def loss(
        self,
        shared: Shared,
        canvas: Tensor,
        sssr: tuple[Tensor, Tensor] | None = None,
        valid: Tensor | None = None,
        labels: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Compute the SISR loss and, where configured, the FA loss.

        Args:
            shared (Shared): the run of the shared feature extractor.
            canvas (Tensor): what to rebuild, (B, 3, H, W), normalized as the network's input is.
            sssr (tuple[Tensor, Tensor], optional): the SSSR head's hidden features, (B, C, h, w), and its prediction.
                Only FA reads it.
            valid (Tensor, optional): (B, 1, H, W), 1 where the canvas holds an image, 0 where it is padded, which FA
                leaves out; SISR rebuilds it, too. Defaults to None: all of it is image.
            labels (Sequence[Tensor], optional): B times (H, W), class ids, all others for pixels without a class. Only
                ``fa_on='labels'`` reads them; it leaves out pixels without a class.

        Returns:
            dict[str, Tensor]: the weighted losses by name; all names start with ``loss_``.
        """
        sisr = self.head(shared.feats)
        losses = self.head.loss_by_feat(sisr[1], shared.image, canvas)
        if self.fa is not None:
            losses[self.fa.loss_name] = self.fa(*self.compared(sssr, sisr, valid, labels))
        return losses

    def compared(
        self,
        sssr: tuple[Tensor, Tensor],
        sisr: tuple[Tensor, Tensor],
        valid: Tensor | None = None,
        labels: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return what FA compares, see ``fa_on``: transformed SSSR features (B, C, h, w), and their guide.

        Both are zero where FA ignores them. ``sisr`` is the output of the SISR head, the others are as in :meth:`loss`.
        """
        index = 1 if self.fa_on == 'outputs' else 0
        feat, guide = sssr[index], sisr[index]
        if self.fa_on == 'labels':
            # The guide of a cell that spans several classes is the share of each.
            one_hot = _one_hot(labels, self.num_classes)
            guide, valid = F.adaptive_avg_pool2d(one_hot, feat.shape[-2:]), one_hot.sum(1, keepdim=True)
        feat = self.transform(feat)
        if valid is not None:
            feat, guide = _blank(feat, valid), _blank(guide, valid)
        return feat, guide

    def rebuild(self, shared: Shared, size: Sequence[int]) -> Tensor:
        """Rebuild the canvas, (B, 3, H, W), normalized as the network's input is; ``size`` is H and W in pixels."""
        return self.head.rebuild(self.head(shared.feats)[1], shared.image, size)
