"""Training-only parts of ISDNet: auxiliary classifiers, the super-resolution branch and structure distillation."""

from collections.abc import Callable, Sequence
from math import prod

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from mmseg.utils import SampleList, add_prefix
from torch import Tensor, nn

from ..core.resample import check_weight
from .isd_head import ISDFeatures, ISDHead


@MODELS.register_module(force=True)
class ISDSRDecoder(BaseModule):
    """Rebuilds the image, or its high frequencies, from the deep network's features.

    Enlargements by nearest neighbor, each with a 3x3 convolution, and two convolutions to the image, which is enlarged
    bilinearly to the canvas. The features that guide structure distillation are those before the last two.

    Args:
        in_channels (int): channels of the deep features; set by :class:`ISDAux`.
        channels (int): hidden channels. Defaults to 64.
        factors (Sequence[int]): enlargements. Their product is at most the stride of the deep features on the canvas.
            Defaults to (4, 2, 2): from 1/32 of the canvas to 1/2.
        out_channels (int): image channels. Defaults to 3.
        target (str): what to rebuild: 'image', as in the paper, or 'frequencies', the sum of what the shallow network
            reads, as in the authors' code (https://github.com/cedricgsh/ISDNet). Defaults to 'image'.
        loss_weight (float): weight of the mean squared error. Defaults to 0.1.
        norm_cfg (dict): normalization. Defaults to batch norm.

    Raises:
        ValueError: for an unknown ``target``, an invalid ``loss_weight``, or no factors.
    """

    def __init__(
        self,
        in_channels: int = 128,
        channels: int = 64,
        factors: Sequence[int] = (4, 2, 2),
        out_channels: int = 3,
        target: str = 'image',
        loss_weight: float = 0.1,
        norm_cfg: dict = dict(type='BN'),
    ):
        super().__init__()
        if target not in ('image', 'frequencies'):
            raise ValueError(f"ISDSRDecoder: target must be 'image' or 'frequencies', got {target!r}")
        if not factors or min(factors) < 1:
            raise ValueError(f'ISDSRDecoder: factors must be positive integers, at least one, got {factors!r}')
        self.factors, self.target, self.loss_weight = factors, target, check_weight('ISDSRDecoder', loss_weight)
        widths = [in_channels, *[channels] * (len(factors) - 1), in_channels]
        self.body = nn.Sequential()
        for factor, before, after in zip(factors, widths[:-1], widths[1:]):
            self.body.append(nn.Upsample(scale_factor=factor))
            self.body.append(ConvModule(before, after, 3, padding=1, norm_cfg=norm_cfg))
        self.predict = nn.Sequential(
            ConvModule(in_channels, channels, 3, padding=1, norm_cfg=norm_cfg), nn.Conv2d(channels, out_channels, 1)
        )

    def forward(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Enlarge deep features (B, C, h, w) by r, the product of ``factors``.

        Returns:
            tuple[Tensor, Tensor]: the features that guide, (B, C, r h, r w), and the prediction,
            (B, out_channels, r h, r w).
        """
        feat = self.body(context)
        return feat, self.predict(feat)

    def loss_by_feat(self, image: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compare a prediction (B, out_channels, h, w) with its target (B, out_channels, H, W).

        Returns:
            dict[str, Tensor]: ``loss_sisr``, ``loss_weight`` times the mean squared error.

        Raises:
            ValueError: if the prediction is larger than the target, or the channels differ.
        """
        size = target.shape[-2:]
        if any(got > wanted for got, wanted in zip(image.shape[-2:], size)):
            raise ValueError(
                f'ISDSRDecoder: factors={tuple(self.factors)} make {tuple(image.shape[-2:])} pixels of a canvas of '
                f'{tuple(size)}. Set sr_aux.sr.factors so that their product, {prod(self.factors)}, is at most the '
                "stride of the deep head's features times scale_factor."
            )
        if image.shape[1] != target.shape[1]:
            raise ValueError(
                f'ISDSRDecoder: out_channels={image.shape[1]}, but the images have {target.shape[1]} channels. Set '
                f'sr_aux.sr.out_channels={target.shape[1]}.'
            )
        image = F.interpolate(image.float(), size, mode='bilinear', align_corners=False)
        return {'loss_sisr': self.loss_weight * F.mse_loss(image, target)}


class ISDAux(BaseModule):
    """Training-only parts of ISDNet, which deployment removes.

    The deep head's own classifier and one on the weighted deep features of each fusion learn the labels, as the final
    one does. In the paper's Table 7, the baseline has neither ``sr`` nor ``structure``, "SR" has ``sr``, "SD" both.

    Args:
        head (ISDHead): the head that they belong to; set by the model.
        sr (dict, optional): config of the super-resolution branch, an :class:`ISDSRDecoder`. Defaults to None.
        structure (dict, optional): config of the loss that teaches the deep features the structure of the branch's,
            :class:`~dsrl_mm.core.StructureDistillationLoss`. Defaults to None.

    Raises:
        ValueError: for ``structure`` without ``sr``.
    """

    def __init__(self, head: ISDHead, sr: dict | None = None, structure: dict | None = None):
        super().__init__()
        if structure is not None and sr is None:
            raise ValueError('sr_aux: structure distillation needs the super-resolution branch, sr_aux.sr')
        deep = head.decode_head
        self.deep = nn.Sequential(nn.Dropout2d(deep.dropout_ratio), nn.Conv2d(deep.channels, deep.out_channels, 1))
        self.deep_16, self.deep_8 = head.new_classifier(), head.new_classifier()
        self.sr = self.structure = None
        if sr is not None:
            self.sr = MODELS.build(dict(norm_cfg=head.norm_cfg) | sr | dict(in_channels=head.fused_channels))
        if structure is not None:
            self.structure = MODELS.build(structure)

    def init_weights(self) -> None:
        super().init_weights()
        nn.init.normal_(self.deep[1].weight, std=0.01)  # as MMSegmentation initializes classifiers
        nn.init.zeros_(self.deep[1].bias)

    def loss(
        self,
        feats: ISDFeatures,
        loss_by_feat: Callable[[Tensor, SampleList], dict[str, Tensor]],
        data_samples: SampleList,
        canvas: Tensor,
        frequencies: Tensor,
    ) -> dict[str, Tensor]:
        """Compute all losses of the training-only parts.

        Args:
            feats (ISDFeatures): of the head.
            loss_by_feat (Callable): the losses of logits (B, K, h, w) on the labels.
            data_samples (SampleList): with ``gt_sem_seg`` of the canvas's size.
            canvas (Tensor): (B, C, H, W), normalized.
            frequencies (Tensor): what the shallow network reads, (B, n C, H, W).

        Returns:
            dict[str, Tensor]: ``deep.*``, ``deep_16.*``, ``deep_8.*``, and ``sr.loss_sisr`` and ``sr.loss_structure``
            where configured.
        """
        losses = {}
        for name in ('deep', 'deep_16', 'deep_8'):
            logits = getattr(self, name)(getattr(feats, name))
            losses |= add_prefix(loss_by_feat(logits, data_samples), name)
        if self.sr is not None:
            guide, image = self.sr(feats.context)
            target = canvas if self.sr.target == 'image' else frequencies.unflatten(1, (-1, canvas.shape[1])).sum(1)
            losses |= add_prefix(self.sr.loss_by_feat(image, target), 'sr')
            if self.structure is not None:
                losses[f'sr.{self.structure.loss_name}'] = self.structure(feats.context, guide)
        return losses
