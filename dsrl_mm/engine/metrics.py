"""Quality of images rebuilt by the SISR branch: PSNR and SSIM, as defined by torchmetrics."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from torch import Tensor

from ..core.resample import area_downsample, check_scale_factor, pad_to_multiple
from .config import type_name


@METRICS.register_module(force=True)
class SRMetric(BaseMetric):
    """PSNR (dB) and SSIM of the rebuilt image and the canvas, averaged over images.

    Images have values from 0 to ``data_range``, to which predictions are clipped. SSIM uses an 11x11 Gaussian
    window with sigma 1.5 (Wang et al., 2004), in float32. The model needs ``test_cfg.with_sr=True``.

    Args:
        scale_factor (int, optional): canvas size over input size. Adds ``PSNR_enlarged`` and ``SSIM_enlarged`` of the
            bilinearly enlarged network input, which a super-resolution branch should exceed. Defaults to None.
        data_range (float): white in the images that the pipeline loads: 255 for 8 bits (the default), 1 if it scales
            them to 0..1, 65535 or less for 16 bits.
        kwargs: arguments of :class:`mmengine.evaluator.BaseMetric`.

    Raises:
        ValueError: if ``scale_factor`` is not an integer of at least 2.
    """

    default_prefix = 'sr'

    def __init__(self, scale_factor: int | None = None, data_range: float = 255.0, **kwargs):
        super().__init__(**kwargs)
        self.data_range = data_range
        self.scale_factor = None if scale_factor is None else check_scale_factor(scale_factor)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Compare a batch.

        Args:
            data_batch (dict): ``inputs``, the canvases from the pipeline, each (C, H, W).
            data_samples (Sequence[dict]): predictions with ``sr_img.data``, (C, H, W), of the same unit.

        Raises:
            KeyError: if a prediction has no ``sr_img``.
            ValueError: if values lie far outside 0 to ``data_range``.
        """
        for canvas, sample in zip(data_batch['inputs'], data_samples):
            if 'sr_img' not in sample:
                raise KeyError(
                    'SRMetric: the predictions hold no rebuilt image. Set model.test_cfg.with_sr=True '
                    '(tools/test.py --sr-metrics does), on a model with sr_aux.'
                )
            target = canvas[None].float()
            self._check_range(target.min() < -0.5 * self.data_range or target.max() > 1.5 * self.data_range, target)
            # The preprocessor pads at the bottom and the right.
            rebuilt = sample['sr_img']['data'][None, :, : target.shape[-2], : target.shape[-1]].to(target)
            result = self._similarity(rebuilt.clamp(0, self.data_range), target)
            if self.scale_factor is not None:
                enlarged = self._similarity(_reduced_and_enlarged(target, self.scale_factor), target)
                result |= {f'{name}_enlarged': value for name, value in enlarged.items()}
            self.results.append(result | dict(largest=target.max()))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Average over images.

        Raises:
            ValueError: if no image has a value of even a fiftieth of ``data_range``: dB would be far too high.
        """
        largest = torch.stack([result.pop('largest') for result in results])
        self._check_range(0 < largest.max() < self.data_range / 50, largest)
        return {name: float(torch.stack([result[name] for result in results]).mean()) for name in results[0]}

    def _check_range(self, wrong: bool | Tensor, values: Tensor) -> None:
        if wrong:
            raise ValueError(
                f'SRMetric: the images have values up to {values.max():g} (from {values.min():g}), which do not fit '
                f'data_range={self.data_range:g}, so PSNR and SSIM would be wrong. List dict(type="SRMetric", '
                'data_range=WHITE) in test_evaluator: 255 for 8 bits, 1 for 0..1, 65535 or less for 16 bits.'
            )

    def _similarity(self, image: Tensor, target: Tensor) -> dict[str, Tensor]:
        # Imported here because torchmetrics takes seconds to import and training does not need it.
        from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

        data_range = float(self.data_range)
        return {
            'PSNR': peak_signal_noise_ratio(image, target, data_range=data_range),
            'SSIM': structural_similarity_index_measure(image, target, data_range=data_range),
        }


def with_sr_metric(metrics: Sequence[dict], scale_factor: int) -> list[dict]:
    """Return the configs of metrics with a :class:`SRMetric`, which also measures the enlarged network input."""
    listed = [metric for metric in metrics if type_name(metric) == 'SRMetric'] or [dict(type='SRMetric')]
    others = [metric for metric in metrics if type_name(metric) != 'SRMetric']
    return [*others, *(dict(metric, scale_factor=scale_factor) for metric in listed)]


def _reduced_and_enlarged(canvas: Tensor, scale_factor: int) -> Tensor:
    """Reduce a canvas (1, 3, H, W) to the network's input and enlarge it bilinearly."""
    padded = pad_to_multiple(canvas, scale_factor)
    enlarged = F.interpolate(area_downsample(padded, scale_factor), padded.shape[-2:], mode='bilinear')
    return enlarged[..., : canvas.shape[-2], : canvas.shape[-1]]
