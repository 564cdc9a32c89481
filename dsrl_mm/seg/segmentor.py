"""Segmentor with a high-resolution canvas and a low-resolution network (``docs/how_it_works.md``)."""

import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import OptSampleList, SampleList, add_prefix
from torch import Tensor

from ..core import nearest_downsample
from .canvas import CanvasSegmentor
from .sssr_head import SSSRHead

_RENAMED = dict(lr_input='low_res_input', lr_labels='low_res_labels')


@MODELS.register_module(force=True)
class DSRLSegmentor(CanvasSegmentor):
    """``EncoderDecoder`` whose network reads ``1 / scale_factor`` of the canvas on each side.

    Images, labels, metas and predictions have the canvas's size, so pipelines, padding, crops, sliding windows,
    test-time augmentation and metrics of a stock config need no change. Sizes that ``scale_factor`` does not divide are
    padded, and the prediction is cropped.

    The arguments before ``scale_factor`` are those of :class:`mmseg.models.EncoderDecoder`.

    Args:
        decode_head (dict): an :class:`SSSRHead`, or a stock head for the baseline.
        test_cfg (dict, optional): as in the stock segmentor; ``with_sr=True`` adds the rebuilt image to predictions.
        scale_factor (int): canvas size over input size; 1, with a stock head and without ``sr_aux``, is the full-size
            network. Defaults to 2.
        sr_aux (dict, optional): arguments of :class:`~dsrl_mm.core.SRAux`, the training-only parts. Defaults to None.
        low_res_input (bool): for deployment: images are low-resolution (LR) frames that are not reduced, and masks are
            ``scale_factor`` times larger. Inference in 'whole' mode only; to train on frames, see
            :class:`~dsrl_mm.seg.EnlargeFrame`. Defaults to False.
        low_res_labels (bool): for the paper's baseline (Table 1, "256x512 -> 256x512"): a stock head learns labels of
            the input's size, reduced by nearest neighbor, and only predictions are enlarged. Defaults to False:
            enlarged logits learn the canvas's labels.
        channels_last (bool): whether images have the channels-last memory format, which is faster for most networks.
            On CPUs, PyTorch 2.13 crashes in the gradients of a few. Defaults to False.

    Raises:
        TypeError: for option names of versions before 0.2.
        ValueError: if ``scale_factor`` is invalid; for FA without an SSSR head, ``low_res_input`` with sliding windows,
            or ``low_res_labels`` with an SSSR head.
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
        scale_factor: int = 2,
        sr_aux: dict | None = None,
        low_res_input: bool = False,
        low_res_labels: bool = False,
        channels_last: bool = False,
        **others,
    ):
        for old in others:
            new = f', which is now called {_RENAMED[old]}' if old in _RENAMED else ''
            raise TypeError(f'DSRLSegmentor has no option {old}{new}')
        super().__init__(
            backbone, decode_head, neck, auxiliary_head, train_cfg, test_cfg, data_preprocessor, pretrained, init_cfg
        )
        stack = self.decode_head.upsampler if isinstance(self.decode_head, SSSRHead) else None
        self.init_super_resolution(scale_factor, sr_aux, stack, self.num_classes)
        self.low_res_input, self.low_res_labels, self.channels_last = low_res_input, low_res_labels, channels_last
        self.swaps_channels = isinstance(data_preprocessor, dict) and any(
            data_preprocessor.get(key) for key in ('bgr_to_rgb', 'rgb_to_bgr')
        )
        if low_res_input and self.test_cfg.get('mode', 'whole') == 'slide':
            raise ValueError(
                'DSRLSegmentor: low_res_input=True takes whole LR frames, but test_cfg.mode is "slide", whose '
                'windows are cut from the canvas. Set model.test_cfg.mode="whole".'
            )
        if low_res_labels and stack is not None:
            raise ValueError(
                'DSRLSegmentor: low_res_labels=True trains on reduced labels, which leaves an SSSRHead nothing to '
                'learn. Leave it out, or use the stock decode head: the baseline.'
            )

    def _before_loading(self, state_dict: dict, prefix: str, *_) -> None:
        if isinstance(self.decode_head, SSSRHead):
            self.decode_head.adopt_stock_checkpoint(state_dict, f'{prefix}decode_head.')
        super()._before_loading(state_dict, prefix)

    @property
    def reduction(self) -> int:
        """Side of an image over the side of the network's input; 1 with ``low_res_input``."""
        return 1 if self.low_res_input else self.scale_factor

    def network_input(self, inputs: Tensor) -> Tensor:
        """Reduce canvases to the network input (B, 3, H', W'); with ``low_res_input``, LR frames are that already."""
        image = inputs if self.low_res_input else super().network_input(inputs)
        return image.contiguous(memory_format=torch.channels_last) if self.channels_last else image

    def canvas_size(self, inputs: Tensor) -> tuple[int, int]:
        """Return H and W of the canvas in pixels; with ``low_res_input``, it is ``scale_factor`` times the frame."""
        factor = self.scale_factor if self.low_res_input else 1
        return tuple(side * factor for side in inputs.shape[-2:])

    def loss(self, inputs: Tensor, data_samples: SampleList) -> dict[str, Tensor]:
        """All losses of one step.

        Args:
            inputs (Tensor): the canvas, shape (B, 3, H, W), float, normalized.
            data_samples (SampleList): with ``gt_sem_seg`` of shape (1, H, W), integer class ids.

        Returns:
            dict[str, Tensor]: ``decode.*``, ``aux.*``, and ``sr.loss_sisr`` and ``sr.loss_fa`` where configured.
        """
        if self.low_res_input:
            raise RuntimeError(
                'DSRLSegmentor: low_res_input=True is for inference. Train with low_res_input=False, on images '
                "of the canvas's size, or on frames that the pipeline enlarges (EnlargeFrame)."
            )
        data_samples = [self._with_fitting_label(sample) for sample in data_samples]
        shared = self.run_backbone(inputs)
        feats, sssr = self.run_neck(shared), None
        if isinstance(self.decode_head, SSSRHead):
            loss_decode, sssr = self.decode_head.loss_and_features(feats, data_samples)
            losses = add_prefix(loss_decode, 'decode')
        else:
            losses = self._decode_head_forward_train(feats, data_samples)
        if self.with_auxiliary_head:
            losses.update(self._auxiliary_head_forward_train(feats, data_samples))
        if self.sr_aux is not None:
            labels = [sample.gt_sem_seg.data[0] for sample in data_samples]
            losses_sr = self.sr_aux.loss(shared, inputs, sssr, self._valid(inputs, data_samples), labels)
            losses.update(add_prefix(losses_sr, 'sr'))
        return losses

    @staticmethod
    def _valid(inputs: Tensor, data_samples: SampleList) -> Tensor:
        """1 where a canvas holds its image, 0 where the preprocessor padded it, (B, 1, H, W)."""
        valid = inputs.new_zeros(len(inputs), 1, *inputs.shape[-2:])
        for mask, sample in zip(valid, data_samples):
            height, width = sample.metainfo.get('img_shape', inputs.shape[-2:])[:2]
            mask[:, :height, :width] = 1
        return valid

    def _with_fitting_label(self, sample: SegDataSample) -> SegDataSample:
        """Pad a sample's label to what the logits cover, and reduce it with ``low_res_labels``."""
        sample = self.pad_label(sample)
        if not self.low_res_labels:
            return sample
        return self.with_label(sample, nearest_downsample(sample.gt_sem_seg.data, self.scale_factor))

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits of the canvas's size, (B, K, H, W), see the base; of LR frames, too, with ``low_res_input``."""
        if self.low_res_input:
            return self.logits_of_size(inputs, self.canvas_size(inputs), batch_img_metas)
        return super().encode_decode(inputs, batch_img_metas)

    def predict(self, inputs: Tensor, data_samples: OptSampleList = None) -> SampleList:
        """Predict masks.

        Args:
            inputs (Tensor): the canvas, (B, 3, H, W), normalized; with ``low_res_input``, LR frames.
            data_samples (SampleList, optional): with metas of the images.

        Returns:
            SampleList: with ``pred_sem_seg`` and ``seg_logits`` of each image's ``ori_shape`` (times ``scale_factor``
            with ``low_res_input``), and, with ``test_cfg.with_sr``, ``sr_img``: the rebuilt image, (3, H, W) of the
            canvas, in the units and the channel order of the images that the pipeline loads (BGR, 0 to 255), not
            clipped.
        """
        if not self.test_cfg.get('with_sr', False):
            return super().predict(inputs, data_samples)
        with self.watch_backbone() as last:
            results = super().predict(inputs, data_samples)
        # With sliding windows, the backbone reads parts of the canvas, but the image is rebuilt from all of it.
        whole = self.test_cfg.get('mode', 'whole') == 'whole'
        for sample, image in zip(results, self._as_loaded(self.reconstruct(inputs, last[0] if whole else None))):
            sample.sr_img = PixelData(data=image)
        return results

    def _as_loaded(self, image: Tensor) -> Tensor:
        """Convert normalized images to the units and channel order that the pipeline loads (BGR, 0 to 255)."""
        mean, std = (getattr(self.data_preprocessor, name, None) for name in ('mean', 'std'))
        if mean is not None:
            image = image * std + mean
        return image.flip(1) if self.swaps_channels and image.shape[1] == 3 else image  # as the preprocessor does

    def postprocess_result(self, seg_logits: Tensor, data_samples: OptSampleList = None) -> SampleList:
        """Resize logits from the padded canvas to ``ori_shape``. Metas of LR frames are first scaled to the canvas."""
        if self.low_res_input and data_samples is not None:
            data_samples = [sample.new(metainfo=self._on_canvas(sample.metainfo)) for sample in data_samples]
        return super().postprocess_result(seg_logits, data_samples)

    def _on_canvas(self, meta: dict) -> dict:
        """Metas of an LR frame with all lengths, in pixels, as on the canvas."""
        lengths = ('ori_shape', 'img_shape', 'pad_shape', 'padding_size', 'img_padding_size')
        scaled = {key: tuple(n * self.scale_factor for n in meta[key]) for key in lengths if key in meta}
        return meta | scaled
