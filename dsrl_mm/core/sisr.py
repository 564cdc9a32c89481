"""Single image super-resolution (SISR), Sec. 3.2 of the paper: a branch that rebuilds the canvas during training."""

from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor

from .resample import check_weight
from .upsample import SubPixelUpsampler


@MODELS.register_module(force=True)
class SISRAuxHead(BaseModule):
    """Rebuilds the high-resolution image from the shared features, by the sub-pixel design of Shi et al. (CVPR 2016).

    A 1x1 convolution reduces every feature map to ``channels``. The results are resized to the finest grid and added,
    which is equal to a 1x1 convolution of their concatenation but cheaper.

    Args:
        in_channels (int | Sequence[int]): channels of the feature maps to read.
        in_index (int | Sequence[int]): indices of these feature maps in the backbone's outputs. Defaults to -1.
        upscale_factor (int): canvas size over the size of the finest feature map: its stride times ``scale_factor``.
        channels (int): hidden channels, C, which are those of FA's guide. Defaults to 64.
        out_channels (int): image channels. Defaults to 3.
        residual (bool): whether to predict only what the reduced image, enlarged, lacks of the canvas: its high
            frequencies, as ISDNet does (Guo et al., CVPR 2022). Their mean square is far below the image's, and so is
            the loss at the same weight. Training starts from the enlarged image: the prediction starts at zero. The
            paper rebuilds the image. Defaults to False.
        loss_weight (float): w1. Defaults to 0.1, as in the paper.
        pixel_loss (dict): a registered loss, or a class by its dotted name, called as ``loss(prediction, target)``.
            Defaults to the mean squared error, as in the paper.
        norm_cfg (dict): normalization of the hidden layer. Defaults to batch norm.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        upscale_factor: int,
        in_index: int | Sequence[int] = -1,
        channels: int = 64,
        out_channels: int = 3,
        residual: bool = False,
        loss_weight: float = 0.1,
        pixel_loss: dict = dict(type='torch.nn.MSELoss'),
        norm_cfg: dict = dict(type='BN'),
    ):
        super().__init__()
        self.in_channels = (in_channels,) if isinstance(in_channels, int) else tuple(in_channels)
        self.in_index = (in_index,) if isinstance(in_index, int) else tuple(in_index)
        if len(self.in_channels) != len(self.in_index):
            raise ValueError(f'SISRAuxHead: in_channels={in_channels} and in_index={in_index} must be equally long')
        if not isinstance(channels, int) or channels < 1:
            raise ValueError(f'SISRAuxHead: channels must be an integer of at least 1, got {channels!r}')
        self.upscale_factor, self.channels, self.residual = upscale_factor, channels, residual
        self.loss_weight = check_weight('SISRAuxHead', loss_weight)
        self.pixel_loss = MODELS.build(pixel_loss)
        self.squeeze = nn.ModuleList(nn.Conv2d(c, channels, 1, bias=False) for c in self.in_channels)
        self.merge = nn.Sequential(build_norm_layer(norm_cfg, channels)[1], nn.ReLU(inplace=True))
        self.upsampler = SubPixelUpsampler(
            channels, out_channels, channels, (upscale_factor,), kernel_size=3, norm_cfg=norm_cfg
        )
        if residual:
            self.upsampler.start_at_zero()

    def _select(self, feats: Sequence[Tensor]) -> list[Tensor]:
        found = [feat.shape[1] for feat in feats]
        for index, channels in zip(self.in_index, self.in_channels):
            if not -len(feats) <= index < len(feats) or found[index] != channels:
                raise ValueError(
                    f'SISRAuxHead: in_index={self.in_index}, in_channels={self.in_channels} ask for features that do '
                    f"not exist: the backbone gives {len(feats)} feature maps of {found} channels. Set sr_aux.head's "
                    'in_index and in_channels to some of these.'
                )
        return [feats[index] for index in self.in_index]

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Predict the image.

        Args:
            feats (Sequence[Tensor]): the backbone's outputs, each (B, C_i, H_i, W_i).

        Returns:
            tuple[Tensor, Tensor]: the hidden features, (B, C, H, W), on the grid of the finest map read, and the
            image, (B, out_channels, upscale_factor H, upscale_factor W), normalized as the network's input is; with
            ``residual``, what it adds to the reduced one.

        Raises:
            ValueError: if ``feats`` lacks what ``in_index`` and ``in_channels`` ask for.
        """
        chosen = self._select(feats)
        size = max(feat.shape[-2:] for feat in chosen)
        squeezed = (squeeze(feat) for squeeze, feat in zip(self.squeeze, chosen))
        merged = sum(F.interpolate(x, size, mode='bilinear') if x.shape[-2:] != size else x for x in squeezed)
        return self.upsampler(self.merge(merged))

    def rebuild(self, image: Tensor, reduced: Tensor, size: Sequence[int]) -> Tensor:
        """Rebuild the canvas from the prediction of the branch.

        A strided network rounds sizes up or down, so the image may be larger than the canvas by a border, which is cut
        off, or smaller, where its own border is repeated.

        Args:
            image (Tensor): from :meth:`forward`, shape (B, out_channels, h, w).
            reduced (Tensor): what the network read, (B, out_channels, H', W').
            size (Sequence[int]): H and W of the canvas, in pixels.

        Returns:
            Tensor: (B, out_channels, H, W).

        Raises:
            ValueError: if the image is larger or smaller than the canvas by more than rounding makes it.
        """
        for got, wanted in zip(image.shape[-2:], size):
            if abs(got - wanted) >= self.upscale_factor:
                raise ValueError(
                    f'SISRAuxHead: upscale_factor={self.upscale_factor} makes {tuple(image.shape[-2:])} pixels of '
                    f'a canvas of {tuple(size)}. Set it to the stride of the finest backbone stage in in_index times '
                    'scale_factor.'
                )
        image = image[..., : size[0], : size[1]]
        if image.shape[-2:] != torch.Size(size):
            image = F.pad(image, (0, size[1] - image.shape[-1], 0, size[0] - image.shape[-2]), mode='replicate')
        if not self.residual:
            return image
        # The canvas is padded to whole multiples of the scale factor before it is reduced.
        padded = [-(-wanted // read) * read for wanted, read in zip(size, reduced.shape[-2:])]
        return image + F.interpolate(reduced, padded, mode='bilinear')[..., : size[0], : size[1]]

    def loss_by_feat(self, image: Tensor, reduced: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compare the rebuilt image with the canvas.

        Args:
            image (Tensor): from :meth:`forward`.
            reduced (Tensor): what the network read, (B, out_channels, H', W').
            target (Tensor): the canvas, (B, out_channels, H, W), normalized as the network's input is.

        Returns:
            dict[str, Tensor]: ``loss_sisr``, ``loss_weight`` times the pixel loss.

        Raises:
            ValueError: if the target has other channels.
        """
        if image.shape[1] != target.shape[1]:
            raise ValueError(
                f'SISRAuxHead: out_channels={image.shape[1]}, but the images have {target.shape[1]} channels. Set '
                f'sr_aux.head.out_channels={target.shape[1]}.'
            )
        image = self.rebuild(image.float(), reduced, target.shape[-2:])
        return {'loss_sisr': self.loss_weight * self.pixel_loss(image, target)}
