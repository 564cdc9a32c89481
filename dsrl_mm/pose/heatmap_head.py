"""Super-resolution heatmaps: the upsampling stack of Sec. 3.1 of the paper, in MMPose's heatmap head (its Table 5)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from mmpose.codecs import UDPHeatmap
from mmpose.models.heads import HeatmapHead
from mmpose.registry import MODELS
from mmpose.structures import PoseDataSample
from torch import Tensor


@dataclass
class _Made:
    """Finished heatmaps in place of features; :meth:`SSSRHeatmapHead.forward` returns them unchanged."""

    heatmaps: Tensor


@MODELS.register_module(force=True)
class SSSRHeatmapHead(HeatmapHead):
    """Heatmap head with an upsampling stack on the features that enter its ``final_layer``.

    It predicts the sum of the enlarged stock heatmaps and the stack's prediction, which starts at zero. So training
    starts from the stock head's keypoints, also those of a stock checkpoint. Losses, accuracy, flip test and decoding
    are the stock head's.

    The enlargement is bilinear and keeps every cell where the codec puts it. UDP's grids share their corners. In other
    codecs, cell i is at i times the codec's ``scale_factor``, so grids share cell 0, and the last cells are repeated.

    Shapes: B batch, K keypoints (``out_channels``), h x w the stock head's grid, r the stack's upsampling factor.

    The arguments before ``upsampler`` are those of :class:`mmpose.models.HeatmapHead`.

    Args:
        decoder (dict, optional): the codec. Its ``heatmap_size`` is r times the stock head's.
        upsampler (dict): config of the stack, without ``in_channels`` and ``out_channels``. Defaults to the paper's
            :class:`~dsrl_mm.core.DeconvUpsampler`, to twice the grid; :class:`~dsrl_mm.core.SubPixelUpsampler` is
            cheaper.

    Raises:
        ValueError: if ``final_layer`` is None, the codec has no heatmaps, or for ``upsampler.skip_channels``.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        out_channels: int,
        deconv_out_channels: Sequence[int] | None = (256, 256, 256),
        deconv_kernel_sizes: Sequence[int] | None = (4, 4, 4),
        conv_out_channels: Sequence[int] | None = None,
        conv_kernel_sizes: Sequence[int] | None = None,
        final_layer: dict = dict(kernel_size=1),
        loss: dict = dict(type='KeypointMSELoss', use_target_weight=True),
        decoder: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
        *,
        upsampler: dict = dict(type='DeconvUpsampler'),
    ):
        super().__init__(
            in_channels,
            out_channels,
            deconv_out_channels,
            deconv_kernel_sizes,
            conv_out_channels,
            conv_kernel_sizes,
            final_layer,
            loss,
            decoder,
            init_cfg,
        )
        if not hasattr(self.final_layer, 'in_channels'):
            raise ValueError(
                'SSSRHeatmapHead: final_layer=None leaves no layer that predicts the heatmaps which the upsampling '
                'stack refines. Set head.final_layer=dict(kernel_size=1).'
            )
        if self.decoder is not None and not hasattr(self.decoder, 'heatmap_size'):
            raise ValueError(
                f'SSSRHeatmapHead: the codec {type(self.decoder).__name__} (model.head.decoder) has no heatmaps, which '
                'the upsampling stack refines. Take one that has, such as MSRAHeatmap or UDPHeatmap, here and as the '
                'encoder of GenerateTarget.'
            )
        if 'skip_channels' in upsampler:
            raise ValueError(
                'SSSRHeatmapHead: its stack reads no early feature map. Remove head.upsampler.skip_channels; only '
                'SSSRHead, for segmentation, has such a map: skip=dict(in_index=..., in_channels=...).'
            )
        self.upsampler = MODELS.build(
            dict(upsampler, in_channels=self.final_layer.in_channels, out_channels=self.out_channels)
        )
        self.upsampler.start_at_zero()

    def parts(self, feats: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Run both halves on ``feats``, the last of which is (B, C, H, W).

        Returns:
            tuple[Tensor, Tensor, Tensor]: the stock heatmaps (B, K, h, w); the stack's hidden features (B, C', h', w');
            its residual (B, K, r h, r w).
        """
        entering = self.conv_layers(self.deconv_layers(feats[-1]))
        return self.final_layer(entering), *self.upsampler(entering)

    def enlarge(self, heatmaps: Tensor) -> Tensor:
        """Stock heatmaps (B, K, h, w) on the fine grid, (B, K, r h, r w), every cell where the codec has it."""
        r = self.upsampler.factor
        height, width = (r * side for side in heatmaps.shape[-2:])
        if isinstance(self.decoder, UDPHeatmap):
            return F.interpolate(heatmaps, (height, width), mode='bilinear', align_corners=True)
        # Steps of exactly 1/r from cell 0; one cell more lets them start and end on cells.
        padded = F.pad(heatmaps, (0, 1, 0, 1), mode='replicate')
        fine = F.interpolate(padded, (height + 1, width + 1), mode='bilinear', align_corners=True)
        return fine[..., :height, :width]

    def forward(self, feats: Sequence[Tensor] | _Made) -> Tensor:
        """Heatmaps, (B, K, r h, r w), from the features the stock head reads."""
        if isinstance(feats, _Made):
            return feats.heatmaps
        base, _, residual = self.parts(feats)
        return self.enlarge(base) + residual

    def loss_and_features(
        self, feats: Sequence[Tensor], batch_data_samples: list[PoseDataSample], train_cfg: dict
    ) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
        """Compute the stock head's losses, and return what FA compares: (hidden features, heatmaps).

        The samples have ``gt_fields.heatmaps`` of shape (K, r h, r w), and ``gt_instance_labels.keypoint_weights``.
        """
        base, hidden, residual = self.parts(feats)
        heatmaps = self.enlarge(base) + residual
        # The stock loss only passes the features to forward(), so finished heatmaps can take their place.
        return self.loss(_Made(heatmaps), batch_data_samples, train_cfg), (hidden, heatmaps)
