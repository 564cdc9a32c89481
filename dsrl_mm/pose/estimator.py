"""The top-down pose estimator: person crops of high resolution outside, low resolution only inside."""

from collections.abc import Sequence

import torch
from mmpose.models.pose_estimators import TopdownPoseEstimator
from mmpose.registry import MODELS
from mmpose.structures import PoseDataSample
from torch import Tensor

from ..core import SRAux, area_downsample, check_scale_factor
from ..engine.loading import check_architecture
from .heatmap_head import SSSRHeatmapHead

__all__ = ['DSRLTopdown']


def _text(size: Sequence[int]) -> str:
    """Format a size as codecs and pipelines write it, (width, height)."""
    return f'({int(size[0])}, {int(size[1])})'


@MODELS.register_module()
class DSRLTopdown(TopdownPoseEstimator):
    """A top-down estimator whose network reads ``1 / scale_factor`` of the person crop on each side.

    The crop is the canvas: boxes, affine transforms, flips, codecs, metas and predictions are all in its pixels, so a
    stock config's pipelines stay as they are, with the codec's ``input_size`` for the canvas. Table 5 of the paper
    counts sizes as the network's input: its 256x192 is a canvas of 512x384.

    Args:
        *args, **kwargs: those of :class:`mmpose.models.TopdownPoseEstimator`. ``head`` is an
            :class:`~dsrl_mm.pose.SSSRHeatmapHead`, or any stock head: the baseline twin.
        scale_factor (int): canvas over network input. Defaults to 2.
        sr_aux (dict, optional): arguments of :class:`~dsrl_mm.core.SRAux`: all that exists only while training.
            Defaults to None.

    Raises:
        ValueError: for a ``scale_factor`` that is no integer of at least 2 or does not divide the codec's
            ``input_size``, a codec whose ``heatmap_size`` is not the grid of the head's output, FA without an SSSR
            head, or FA with labels.
    """

    def __init__(self, *args, scale_factor: int = 2, sr_aux: dict | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.scale_factor = check_scale_factor(scale_factor)
        self.sr_aux = None
        if sr_aux is not None:
            if sr_aux.get('fa_on') == 'labels':
                raise ValueError("DSRLTopdown: sr_aux.fa_on='labels' is for segmentation, whose labels are of pixels")
            channels = None
            if isinstance(self.head, SSSRHeatmapHead):
                outputs = sr_aux.get('fa_on') == 'outputs'
                channels = self.head.out_channels if outputs else self.head.upsampler.channels
            self.sr_aux = SRAux(**sr_aux, seg_channels=channels)
        self._register_load_state_dict_pre_hook(check_architecture, with_module=True)
        if hasattr(getattr(self.head, 'decoder', None), 'heatmap_size'):
            self._check_grid()

    @torch.no_grad()
    def _check_grid(self) -> None:
        """Run the network once on an empty crop: decoding on another grid would give wrong keypoints, silently."""
        (width, height), wanted = self.head.decoder.input_size, tuple(self.head.decoder.heatmap_size)
        parameter = next(self.parameters())
        channels = len(getattr(self.data_preprocessor, 'mean', (0, 0, 0)))
        crop = torch.zeros(1, channels, height, width, dtype=parameter.dtype, device=parameter.device)
        training = self.training
        try:
            feats = self.eval().extract_feat(crop)
        except RuntimeError as error:
            raise ValueError(
                f'DSRLTopdown: the network cannot read a canvas of {_text((width, height))} pixels (width, height), '
                f'of which it is given 1/{self.scale_factor} on each side. A layer says: {error}. Set the '
                "codec's input_size to scale_factor times what the backbone takes: HRNet, for example, multiples of 32."
            ) from error
        try:
            heatmaps = self.head(feats)
        except RuntimeError as error:
            raise ValueError(
                f'DSRLTopdown: the {type(self.head).__name__} cannot read features of {feats[-1].shape[1]} channels. A '
                f'layer says: {error}. Set model.head.in_channels to what the backbone, or the neck, gives.'
            ) from error
        self.train(training)
        while isinstance(heatmaps, (list, tuple)):  # of heads with several stages, which predict by the last
            heatmaps = heatmaps[-1]
        found = tuple(heatmaps.shape[:1:-1])
        if found != wanted:
            raise ValueError(
                f'DSRLTopdown: the {type(self.head).__name__} makes heatmaps of {_text(found)} cells (width, height) '
                f"of a canvas of {_text((width, height))} pixels, but the codec's heatmap_size is {_text(wanted)}. Set "
                'it to what the head makes, in model.head.decoder and in the encoder of GenerateTarget, and scale its '
                'sigma (and the blur_kernel_size of DARK and UDP) with it; or change the head (upsampler.factors, '
                'deconv_out_channels).'
            )

    def _network_input(self, inputs: Tensor) -> Tensor:
        """Reduce crops (B, 3, H, W) to the network input (B, 3, h, w).

        Raises:
            ValueError: if ``scale_factor`` does not divide H and W.
        """
        if any(side % self.scale_factor for side in inputs.shape[-2:]):
            raise ValueError(
                f'DSRLTopdown: scale_factor={self.scale_factor} does not divide crops of {_text(inputs.shape[:1:-1])} '
                "pixels (width, height). Set the codec's input_size, which is TopdownAffine's, to multiples of it: "
                'the canvas, scale_factor times what the network shall read.'
            )
        return area_downsample(inputs, self.scale_factor)

    def _check_samples(self, inputs: Tensor, data_samples: list[PoseDataSample]) -> None:
        """Compare what the pipeline gives with the head's codec: keypoints would be decoded elsewhere, silently.

        Raises:
            ValueError: if the crops' size or the number of keypoints differ.
        """
        decoder = getattr(self.head, 'decoder', None)
        if not hasattr(decoder, 'heatmap_size'):
            return
        crop, canvas = tuple(inputs.shape[:1:-1]), tuple(decoder.input_size)
        if crop != canvas:
            raise ValueError(
                f'DSRLTopdown: the pipeline crops persons to {_text(crop)} pixels (width, height), but the head '
                f"decodes for the codec's input_size={_text(canvas)}. Give TopdownAffine and GenerateTarget the codec "
                'of model.head.decoder.'
            )
        # 'combined' heatmaps have two offsets beside each keypoint's own.
        per_keypoint = 3 if getattr(decoder, 'heatmap_type', None) == 'combined' else 1
        keypoints = len(data_samples[0].metainfo.get('flip_indices', ())) * per_keypoint
        picked = self.test_cfg.get('output_keypoint_indices')  # a head of more keypoints, of which some are tested
        if keypoints and picked is None and keypoints != self.head.out_channels:
            raise ValueError(
                f'DSRLTopdown: the head predicts {self.head.out_channels} heatmaps, but the data set has '
                f'{keypoints // per_keypoint} keypoints. Set model.head.out_channels={keypoints}, or use the data set '
                '(dataset.type, dataset.metainfo) that the head is for.'
            )

    def _check_targets(self, data_samples: list[PoseDataSample]) -> None:
        """Raise a ValueError if the targets' grid is not that of the head's codec."""
        decoder, fields = getattr(self.head, 'decoder', None), data_samples[0].get('gt_fields')
        if not hasattr(decoder, 'heatmap_size') or fields is None or 'heatmaps' not in fields:
            return
        grid, wanted = tuple(fields.heatmaps.shape[:0:-1]), tuple(decoder.heatmap_size)
        if grid != wanted:
            raise ValueError(
                f'DSRLTopdown: GenerateTarget draws heatmaps of {_text(grid)} cells (width, height), but the head '
                f"makes {_text(wanted)}. Its encoder must be the codec of model.head.decoder: DSRL's grid is finer "
                "than the baseline's."
            )

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Features that the head reads, of crops (B, 3, H, W): flip test and mode 'tensor' come through here."""
        return super().extract_feat(self._network_input(inputs))

    def loss(self, inputs: Tensor, data_samples: list[PoseDataSample]) -> dict[str, Tensor]:
        """All losses of one step.

        Args:
            inputs (Tensor): the canvas, shape (B, 3, H, W), float, normalised.
            data_samples (list[PoseDataSample]): with ``gt_fields.heatmaps``, (K, h, w), as ``GenerateTarget`` draws
                them, and ``gt_instance_labels.keypoint_weights``, (1, K).

        Returns:
            dict[str, Tensor]: the head's (``loss_kpt``, ``acc_pose``), and ``sr.loss_sisr`` and ``sr.loss_fa`` where
            configured.
        """
        self._check_samples(inputs, data_samples)
        self._check_targets(data_samples)
        reduced = self._network_input(inputs)
        shared = feats = self.backbone(reduced)
        if self.with_neck:
            feats = self.neck(shared)
        sssr = None
        if isinstance(self.head, SSSRHeatmapHead):
            losses, sssr = self.head.loss_and_features(feats, data_samples, self.train_cfg)
        else:
            losses = self.head.loss(feats, data_samples, train_cfg=self.train_cfg)
        if self.sr_aux is not None:
            # What of a crop lies outside its image is black there and black in what the SISR head shall rebuild, so
            # every pixel counts. The data samples do not say where the image ends.
            valid = inputs.new_ones(len(inputs), 1, *inputs.shape[-2:])
            sr = self.sr_aux.loss(shared, sssr, reduced, inputs, valid)
            losses.update({f'sr.{name}': loss for name, loss in sr.items()})
        return losses

    def predict(self, inputs: Tensor, data_samples: list[PoseDataSample]) -> list[PoseDataSample]:
        """Predict keypoints in pixels of the image that the crop was cut from, with the stock flip test.

        Args:
            inputs (Tensor): the canvas, (B, 3, H, W), normalised.
            data_samples (list[PoseDataSample]): with the metas of ``TopdownAffine`` and ``gt_instances.bboxes``.
        """
        self._check_samples(inputs, data_samples)
        return super().predict(inputs, data_samples)

    def reconstruct(self, inputs: Tensor) -> Tensor:
        """Rebuild the canvas by the SISR branch.

        Args:
            inputs (Tensor): the canvas, (B, 3, H, W), normalised; only its reduced version is read.

        Returns:
            Tensor: (B, 3, H, W), normalised as ``inputs``.

        Raises:
            RuntimeError: if the model has no ``sr_aux``.
        """
        if self.sr_aux is None:
            raise RuntimeError(
                'This model has no SISR branch (sr_aux=None), so it cannot rebuild images. Use a config and a '
                'checkpoint with sr_aux.'
            )
        reduced = self._network_input(inputs)
        return self.sr_aux.head.rebuild(self.sr_aux.head(self.backbone(reduced))[1], reduced, inputs.shape[-2:])
