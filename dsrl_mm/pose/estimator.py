"""Top-down pose estimator that takes high-resolution crops of persons and runs its network at low resolution."""

from collections.abc import Sequence
from math import prod

import torch
from mmpose.models.pose_estimators import TopdownPoseEstimator
from mmpose.registry import MODELS
from mmpose.structures import PoseDataSample
from torch import Tensor

from ..engine.super_resolution import SuperResolutionMixin
from .heatmap_head import SSSRHeatmapHead


def _text(size: Sequence[int]) -> str:
    """Format a size as codecs and pipelines write it, (width, height)."""
    return f'({int(size[0])}, {int(size[1])})'


def check_crop(size: Sequence[int], input_size: Sequence[int], what: str) -> None:
    """Refuse crops of another size than the codec's, whose keypoints would be decoded wrongly.

    Both sizes are width and height in pixels; ``what`` says for the message what crops.

    Raises:
        ValueError: if they differ.
    """
    if tuple(size) != tuple(input_size):
        raise ValueError(
            f'{what} crops persons to {_text(size)} pixels (width, height), but the head decodes keypoints for '
            f'model.head.decoder.input_size={_text(input_size)}. Give TopdownAffine and GenerateTarget the codec of '
            'model.head.decoder.'
        )


@MODELS.register_module(force=True)
class DSRLTopdown(SuperResolutionMixin, TopdownPoseEstimator):
    """Top-down estimator whose network reads ``1 / scale_factor`` of the person crop on each side.

    The crop is the canvas. Boxes, affine transforms, flips, codecs, metas and predictions are in its pixels, so
    pipelines of a stock config only need the canvas as the codec's ``input_size``. Table 5 of the paper gives the size
    of the network input: its 256x192 is a canvas of 512x384.

    The arguments before ``scale_factor`` are those of :class:`mmpose.models.TopdownPoseEstimator`.

    Args:
        head (dict): an :class:`~dsrl_mm.pose.SSSRHeatmapHead`, or a stock head for the baseline.
        scale_factor (int): canvas size over input size. Defaults to 2.
        sr_aux (dict, optional): arguments of :class:`~dsrl_mm.core.SRAux`, the training-only parts. Defaults to None.

    Raises:
        ValueError: for a ``scale_factor`` that is no integer of at least 2 or does not divide the codec's
            ``input_size``, a codec whose ``heatmap_size`` is not the grid of the head's output, FA without an SSSR
            head, or FA with labels.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        head: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
        metainfo: dict | None = None,
        *,
        scale_factor: int = 2,
        sr_aux: dict | None = None,
    ):
        super().__init__(backbone, neck, head, train_cfg, test_cfg, data_preprocessor, init_cfg, metainfo)
        stack = self.head.upsampler if isinstance(self.head, SSSRHeatmapHead) else None
        self.init_super_resolution(scale_factor, sr_aux, stack)
        self.codec = getattr(self.head, 'decoder', None)
        if hasattr(self.codec, 'input_size') and any(side % scale_factor for side in self.codec.input_size):
            raise ValueError(
                f'DSRLTopdown: scale_factor={scale_factor} does not divide crops of {_text(self.codec.input_size)} '
                "pixels (width, height). Set the codec's input_size, which is TopdownAffine's, to multiples of it: "
                'the canvas, scale_factor times what the network reads.'
            )
        if hasattr(self.codec, 'heatmap_size') or hasattr(self.head, 'in_featuremap_size'):
            self.eval()  # an empty crop must not change running statistics
            self._check_grid()
            self.train()

    @torch.no_grad()
    def _check_grid(self) -> None:
        """Run the network once on an empty crop: decoding on another grid would give wrong keypoints, silently."""
        width, height = self.codec.input_size
        channels = len(getattr(self.data_preprocessor, 'mean', (0, 0, 0)))
        try:
            feats = self.extract_feat(torch.zeros(1, channels, height, width))
        except RuntimeError as error:
            raise ValueError(
                f'DSRLTopdown: the network cannot read a canvas of {_text((width, height))} pixels (width, height), '
                f'of which it is given 1/{self.scale_factor} on each side. A layer says: {error}. Set the '
                "codec's input_size to scale_factor times what the backbone takes: HRNet, for example, multiples of 32."
            ) from error
        if hasattr(self.head, 'in_featuremap_size'):  # of heads that classify coordinates, such as SimCCHead
            self._check_feature_map(feats[-1])
            return
        try:
            heatmaps = self.head(feats)
        except RuntimeError as error:
            raise ValueError(
                f'DSRLTopdown: the {type(self.head).__name__} cannot read features of {feats[-1].shape[1]} channels. A '
                f'layer says: {error}. Set model.head.in_channels to what the backbone, or the neck, gives.'
            ) from error
        while isinstance(heatmaps, (list, tuple)):  # heads with several stages predict by the last
            heatmaps = heatmaps[-1]
        found, wanted = tuple(heatmaps.shape[:1:-1]), tuple(self.codec.heatmap_size)
        if found != wanted:
            raise ValueError(
                f'DSRLTopdown: the {type(self.head).__name__} makes heatmaps of {_text(found)} cells (width, height) '
                f"of a canvas of {_text((width, height))} pixels, but the codec's heatmap_size is {_text(wanted)}. Set "
                'it to what the head makes, in model.head.decoder and in the encoder of GenerateTarget, and scale its '
                'sigma (and the blur_kernel_size of DARK and UDP) with it; or change the head (upsampler.factors, '
                'deconv_out_channels).'
            )

    def _check_feature_map(self, feat: Tensor) -> None:
        found, wanted = tuple(feat.shape[:1:-1]), tuple(self.head.in_featuremap_size)
        if prod(found) != prod(wanted):  # such a head flattens the map
            raise ValueError(
                f'DSRLTopdown: the network makes features of {_text(found)} cells (width, height) of a canvas of '
                f'{_text(self.codec.input_size)} pixels, of which it reads 1/{self.scale_factor} on each side, but the '
                f'{type(self.head).__name__} takes {_text(wanted)}. Set model.head.in_featuremap_size={found}, or '
                "the codec's input_size to a canvas that gives as many."
            )

    def _check_crops(self, inputs: Tensor) -> None:
        if hasattr(self.codec, 'input_size'):
            check_crop(inputs.shape[:1:-1], self.codec.input_size, 'DSRLTopdown: the pipeline')

    def _check_targets(self, data_samples: list[PoseDataSample]) -> None:
        """Raise a ValueError if the targets are no heatmaps, or on another grid than the head's codec."""
        targets = data_samples[0].get('gt_fields', ())
        if isinstance(self.head, SSSRHeatmapHead) and 'heatmaps' not in targets:
            raise ValueError(
                'DSRLTopdown: the SSSRHeatmapHead learns heatmaps, but GenerateTarget draws none. Its encoder must be '
                f'the codec of model.head.decoder: {type(self.codec).__name__}.'
            )
        if not hasattr(self.codec, 'heatmap_size') or 'heatmaps' not in targets:
            return
        grid, wanted = tuple(targets.heatmaps.shape[:0:-1]), tuple(self.codec.heatmap_size)
        if grid != wanted:
            raise ValueError(
                f'DSRLTopdown: GenerateTarget draws heatmaps of {_text(grid)} cells (width, height), but the head '
                f"makes {_text(wanted)}. Its encoder must be the codec of model.head.decoder: DSRL's grid is finer "
                "than the baseline's."
            )

    def loss(self, inputs: Tensor, data_samples: list[PoseDataSample]) -> dict[str, Tensor]:
        """All losses of one step.

        Args:
            inputs (Tensor): the canvas, shape (B, 3, H, W), float, normalized.
            data_samples (list[PoseDataSample]): with ``gt_fields.heatmaps``, (K, h, w), as ``GenerateTarget`` draws
                them, and ``gt_instance_labels.keypoint_weights``, (1, K).

        Returns:
            dict[str, Tensor]: the head's (``loss_kpt``, ``acc_pose``), and ``sr.loss_sisr`` and ``sr.loss_fa`` where
            configured.
        """
        self._check_crops(inputs)
        self._check_targets(data_samples)
        shared = self.run_backbone(inputs)
        feats, sssr = self.run_neck(shared), None
        if isinstance(self.head, SSSRHeatmapHead):
            losses, sssr = self.head.loss_and_features(feats, data_samples, self.train_cfg)
        else:
            losses = self.head.loss(feats, data_samples, train_cfg=self.train_cfg)
        if self.sr_aux is not None:
            # All pixels of a crop count: where it exceeds its image, which the data samples do not tell, the SISR head
            # learns to rebuild black.
            sr = self.sr_aux.loss(shared, inputs, sssr)
            losses.update({f'sr.{name}': loss for name, loss in sr.items()})
        return losses

    def predict(self, inputs: Tensor, data_samples: list[PoseDataSample]) -> list[PoseDataSample]:
        """Predict keypoints in pixels of the image that the crop was cut from, with the stock flip test.

        Args:
            inputs (Tensor): the canvas, (B, 3, H, W), normalized.
            data_samples (list[PoseDataSample]): with the metas of ``TopdownAffine`` and ``gt_instances.bboxes``.
        """
        self._check_crops(inputs)
        return super().predict(inputs, data_samples)
