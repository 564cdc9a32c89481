"""Base of the segmentors: images, labels and predictions on the canvas, whatever the networks read of it."""

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from mmseg.utils import OptSampleList
from torch import Tensor

from ..core import pad_to_multiple
from ..engine.super_resolution import SuperResolutionMixin
from .checks.size_errors import explain_size_error


class CanvasSegmentor(SuperResolutionMixin, EncoderDecoder):
    """``EncoderDecoder`` whose images, labels, metas and predictions have the canvas's size.

    Pipelines, padding, crops, sliding windows, test-time augmentation and metrics of a stock config need no change.
    Sizes that :attr:`multiple` does not divide are padded, and the prediction is cropped.
    """

    @property
    def multiple(self) -> int:
        """Divisor of the padded canvas's sides."""
        return self.scale_factor

    @property
    def reduction(self) -> int:
        """Side of an image over the side of the network's input."""
        return self.scale_factor

    def forward(self, inputs: Tensor, data_samples: OptSampleList = None, mode: str = 'tensor'):
        """Run the stock forward pass in mode 'loss', 'predict' or 'tensor'.

        Raises:
            ValueError: if the images, or the batch, are too small for one of the network's layers.
        """
        try:
            return super().forward(inputs, data_samples, mode)
        except (AssertionError, RuntimeError, ValueError) as error:
            explanation = explain_size_error(error, inputs.shape[-2:], self.reduction)
            if explanation is None:
                raise
            raise ValueError(explanation) from error

    def pad_label(self, sample: SegDataSample) -> SegDataSample:
        """Pad a sample's label to what the logits cover; the caller's sample stays as it is."""
        label = sample.gt_sem_seg.data
        if not any(side % self.multiple for side in label.shape[-2:]):
            return sample
        # As float: without ignore_index the border's labels are repeated, which not every device does to integers.
        padded = pad_to_multiple(label[None].float(), self.multiple, self.decode_head.ignore_index)[0]
        return self.with_label(sample, padded.to(label.dtype))

    @staticmethod
    def with_label(sample: SegDataSample, label: Tensor) -> SegDataSample:
        """Copy a sample with another label."""
        changed = sample.new()
        changed.gt_sem_seg = PixelData(data=label)
        return changed

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits (B, K, H, W) of the canvas, or of one window of it, (B, 3, H, W).

        ``batch_img_metas`` are kept for the stock interface. Sizes come from ``inputs``.
        """
        height, width = inputs.shape[-2:]
        padded = [(side + self.multiple - 1) // self.multiple * self.multiple for side in (height, width)]
        return self.logits_of_size(inputs, padded, batch_img_metas)[..., :height, :width]

    def logits_of_size(self, inputs: Tensor, size: list[int], batch_img_metas: list[dict]) -> Tensor:
        """Logits of ``inputs``, enlarged to H and W in ``size``."""
        # Stock heads enlarge their logits to a torch.Size under 'img_shape', as sliding windows give it.
        metas = [{**meta, 'img_shape': torch.Size(size)} for meta in batch_img_metas]
        return self.decode_head.predict(self.extract_feat(inputs), metas, self.test_cfg)

    def _forward(self, inputs: Tensor, data_samples: OptSampleList = None) -> Tensor:
        """Compute the logits of :meth:`encode_decode`: mode 'tensor', which exports use."""
        return self.encode_decode(inputs, [{}])  # heads read the first one's size
