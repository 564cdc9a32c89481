"""ISDNet (Guo et al., CVPR 2022): a deep network reads the reduced image, a shallow one its high frequencies."""

from collections.abc import Sequence
from math import lcm, log2

import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import OptSampleList, SampleList, add_prefix
from torch import Tensor

from ..core import area_downsample, check_scale_factor, pad_to_multiple
from ..engine.config import builds, input_channels, type_name
from ..seg.canvas import CanvasSegmentor
from .coarse_logits import coarse_logits, enlarged_labels
from .isd_aux import ISDAux
from .isd_head import ISDHead
from .pyramid import LaplacianPyramid, high_frequencies

#: Stride of the shallow network.
_SHALLOW_STRIDE = 16
#: Stride of most deep networks. With another one, their grid may exceed the canvas by less than a cell.
_DEEP_STRIDE = 8


@MODELS.register_module(force=True)
class ISDSegmentor(CanvasSegmentor):
    """``EncoderDecoder`` whose backbone reads a reduced canvas, while a light network reads all of it.

    Images, labels, metas and predictions have the canvas's size, so pipelines, crops, sliding windows, test-time
    augmentation and metrics of a stock config need no change. Canvases are padded to multiples of 16 and of
    8 ``scale_factor``, so that the grids of both networks coincide, and the prediction is cropped.

    The arguments before ``scale_factor`` are those of :class:`mmseg.models.EncoderDecoder`; ``backbone``, ``neck`` and
    ``auxiliary_head`` are the deep network's.

    Args:
        decode_head (dict): an :class:`ISDHead` around the deep network's head.
        test_cfg (dict, optional): as in the stock segmentor; with ``keep_logits=False``, predictions hold no logits,
            which are then enlarged strip by strip, and windows are averaged at 1/8 of the canvas. Test-time
            augmentation needs logits.
        scale_factor (int): canvas size over the deep network's input size. Defaults to 4.
        shallow (dict): config of the shallow network, without ``in_channels``. It has ``out_channels`` and returns
            features at 1/8 and 1/16. Defaults to :class:`STDCShallow`.
        levels (int): levels of the Laplacian pyramid whose residuals the shallow network reads. 0: it reads the image,
            as in the paper's Table 7 without "H". Defaults to 2.
        deep_input (str): how the canvas is reduced for the deep network: 'area', the mean of each block, as in
            :class:`~dsrl_mm.seg.DSRLSegmentor`; 'pyramid', a low-pass level of the pyramid, as in the paper's figure;
            'nearest', one pixel of each block, as in the authors' code. Defaults to 'area'.
        sr_aux (dict, optional): arguments of :class:`ISDAux`, the training-only parts. Defaults to None.
        channels_last (bool): whether images have the channels-last memory format. Defaults to False.

    Raises:
        TypeError: if ``decode_head`` is no ISDHead.
        ValueError: if ``scale_factor``, ``levels`` or ``deep_input`` is invalid, or they do not fit each other; for
            ``test_cfg.with_sr``.
    """

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        neck: dict | None = None,
        auxiliary_head: dict | list[dict] | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        pretrained: str | None = None,
        init_cfg: dict | list[dict] | None = None,
        *,
        scale_factor: int = 4,
        shallow: dict = dict(type='STDCShallow'),
        levels: int = 2,
        deep_input: str = 'area',
        sr_aux: dict | None = None,
        channels_last: bool = False,
    ):
        if not builds(decode_head, MODELS, ISDHead):
            raise TypeError(
                f'ISDSegmentor: model.decode_head is {type_name(decode_head)}, but it must be an ISDHead around the '
                "deep network's head: dict(type='ISDHead', decode_head=dict(...))"
            )
        if (test_cfg or {}).get('with_sr'):
            raise ValueError('ISDSegmentor rebuilds no images: leave test_cfg.with_sr (--sr-metrics) out')
        check_scale_factor(scale_factor)
        pyramid = LaplacianPyramid(levels)
        self._check_input(deep_input, scale_factor, levels, sr_aux)
        shallow = MODELS.build(dict(shallow, in_channels=max(levels, 1) * input_channels(backbone)))
        super().__init__(
            backbone,
            dict(decode_head, shallow_channels=shallow.out_channels),
            neck,
            auxiliary_head,
            train_cfg,
            test_cfg,
            data_preprocessor,
            pretrained,
            init_cfg,
        )
        self.init_super_resolution(scale_factor, None)
        self.pyramid, self.shallow = pyramid, shallow
        self.deep_input, self.channels_last = deep_input, channels_last
        self._check_test_cfg()
        if sr_aux is not None:
            self.sr_aux = ISDAux(self.decode_head, **sr_aux)

    @staticmethod
    def _check_input(deep_input: str, scale_factor: int, levels: int, sr_aux: dict | None) -> None:
        if deep_input not in ('area', 'pyramid', 'nearest'):
            raise ValueError(f"ISDSegmentor: deep_input must be 'area', 'pyramid' or 'nearest', got {deep_input!r}")
        if deep_input == 'pyramid' and scale_factor not in [2**level for level in range(1, levels + 1)]:
            raise ValueError(
                f"ISDSegmentor: deep_input='pyramid' needs a level of 1/{scale_factor} of each side, but with levels="
                f"{levels} there is none. Set levels so that scale_factor is 2^levels or less, or deep_input='area'."
            )
        if levels == 0 and ((sr_aux or {}).get('sr') or {}).get('target') == 'frequencies':
            raise ValueError("ISDSegmentor: sr_aux.sr.target='frequencies' needs levels of at least 1")

    def _check_test_cfg(self) -> None:
        cfg = self.test_cfg or {}
        if cfg.get('keep_logits', True):
            return
        if self.align_corners:
            raise ValueError('ISDSegmentor: test_cfg.keep_logits=False needs a deep head with align_corners=False')
        if cfg.get('mode') != 'slide':
            return
        for key in ('crop_size', 'stride'):
            if any(side % self.multiple for side in cfg[key]):
                raise ValueError(
                    f'ISDSegmentor: test_cfg.{key} is {tuple(cfg[key])}, but with keep_logits=False it must be '
                    f'multiples of {self.multiple}'
                )
        if any(step > side for step, side in zip(cfg.stride, cfg.crop_size)):
            raise ValueError(
                f'ISDSegmentor: windows would leave pixels out. Set test_cfg.stride, {tuple(cfg.stride)}, to at most '
                f'test_cfg.crop_size, {tuple(cfg.crop_size)}.'
            )

    @property
    def multiple(self) -> int:
        """Divisor of the padded canvas's sides."""
        return lcm(_SHALLOW_STRIDE, _DEEP_STRIDE * self.scale_factor)

    def network_inputs(self, canvas: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the deep and the shallow network read.

        Args:
            canvas (Tensor): (B, C, H, W), padded.

        Returns:
            tuple[Tensor, Tensor]: the reduced canvas, (B, C, H', W'), and the residuals on the canvas's grid,
            (B, levels * C, H, W), or the canvas without levels.
        """
        residuals, levels = self.pyramid(canvas)
        if self.deep_input == 'pyramid':
            reduced = levels[int(log2(self.scale_factor))]
        elif self.deep_input == 'nearest':
            reduced = canvas[..., :: self.scale_factor, :: self.scale_factor]
        else:
            reduced = area_downsample(canvas, self.scale_factor)
        images = reduced, high_frequencies(residuals) if residuals else canvas
        if not self.channels_last:
            return images
        return tuple(image.contiguous(memory_format=torch.channels_last) for image in images)

    def network_input(self, inputs: Tensor) -> Tensor:
        """Reduce canvases (B, C, H, W) to the deep network's input, (B, C, H', W')."""
        return self.network_inputs(pad_to_multiple(inputs, self.multiple))[0]

    def _features(self, reduced: Tensor, frequencies: Tensor) -> tuple[Sequence[Tensor], tuple[Tensor, Tensor]]:
        feats = self.backbone(reduced)
        return self.neck(feats) if self.with_neck else feats, self.shallow(frequencies)

    def extract_feat(self, inputs: Tensor) -> tuple[Sequence[Tensor], tuple[Tensor, Tensor]]:
        """Extract the features of the deep and of the shallow network from canvases (B, C, H, W)."""
        return self._features(*self.network_inputs(pad_to_multiple(inputs, self.multiple)))

    def loss(self, inputs: Tensor, data_samples: SampleList) -> dict[str, Tensor]:
        """All losses of one step.

        Args:
            inputs (Tensor): the canvas, (B, C, H, W), float, normalized.
            data_samples (SampleList): with ``gt_sem_seg`` of shape (1, H, W), integer class ids.

        Returns:
            dict[str, Tensor]: ``decode.*``, ``aux.*``, and those of :class:`ISDAux` where configured.
        """
        data_samples = [self.pad_label(sample) for sample in data_samples]
        canvas = pad_to_multiple(inputs, self.multiple)
        reduced, frequencies = self.network_inputs(canvas)
        deep_feats, shallow_feats = self._features(reduced, frequencies)
        head = self.decode_head
        feats = head.fuse(deep_feats, shallow_feats)
        losses = add_prefix(head.loss_by_feat(head.classify(feats.fused), data_samples), 'decode')
        if self.with_auxiliary_head:
            losses.update(self._auxiliary_head_forward_train(deep_feats, data_samples))
        if self.sr_aux is not None:
            losses.update(self.sr_aux.loss(feats, head.loss_by_feat, data_samples, canvas, frequencies))
        return losses

    def predict(self, inputs: Tensor, data_samples: OptSampleList = None) -> SampleList:
        """Predict masks.

        Args:
            inputs (Tensor): the canvas, (B, C, H, W), normalized.
            data_samples (SampleList, optional): with metas of the images.

        Returns:
            SampleList: with ``pred_sem_seg`` of each image's ``ori_shape``, and ``seg_logits`` unless
            ``test_cfg.keep_logits`` is False.
        """
        if self.test_cfg.get('keep_logits', True):
            return super().predict(inputs, data_samples)
        canvas, cfg = inputs.shape[-2:], self.test_cfg
        padded = [-(-side // self.multiple) * self.multiple for side in canvas]
        windows = (cfg.crop_size, cfg.stride) if cfg.get('mode') == 'slide' else (padded, padded)
        logits = coarse_logits(self._window_logits, inputs, self.multiple, *windows)
        samples = data_samples or [SegDataSample() for _ in inputs]
        for sample, scores in zip(samples, logits):
            meta = sample.metainfo
            if meta.get('flip'):
                raise ValueError('Test-time augmentation needs logits: leave test_cfg.keep_logits=False out')
            left, right, top, bottom = meta.get('img_padding_size', meta.get('padding_size', (0, 0, 0, 0)))
            box = (top, left, canvas[0] - top - bottom, canvas[1] - left - right)
            labels = enlarged_labels(scores, padded, box, meta.get('ori_shape', canvas), self.decode_head.threshold)
            sample.pred_sem_seg = PixelData(data=labels)
        return samples

    def _window_logits(self, window: Tensor) -> Tensor:
        return self.decode_head(self.extract_feat(window))
