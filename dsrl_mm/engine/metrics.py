"""Quality of images rebuilt by the SISR branch: PSNR and SSIM, as defined by torchmetrics."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from torch import Tensor

from ..core.resample import area_downsample, check_scale_factor, pad_to_multiple

__all__ = ['SRMetric']


@METRICS.register_module(force=True)
class SRMetric(BaseMetric):
    """PSNR (dB) and SSIM of the rebuilt image and the canvas, averaged over images.

    Images have three channels in the range 0 to 255, to which predictions are clipped. SSIM uses an 11x11 Gaussian
    window with sigma 1.5 (Wang et al., 2004), in float32. The model needs ``test_cfg.with_sr=True``.

    Args:
        scale_factor (int, optional): canvas size over input size. Adds ``PSNR_enlarged`` and ``SSIM_enlarged`` of the
            bilinearly enlarged network input, which a super-resolution branch should exceed. Defaults to None.
        kwargs: arguments of :class:`mmengine.evaluator.BaseMetric`.

    Raises:
        ValueError: if ``scale_factor`` is not an integer of at least 2.
    """

    default_prefix = 'sr'

    def __init__(self, scale_factor: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.scale_factor = None if scale_factor is None else check_scale_factor(scale_factor)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Compare a batch.

        Args:
            data_batch (dict): ``inputs``, the canvases from the pipeline, each (3, H, W), uint8.
            data_samples (Sequence[dict]): predictions with ``sr_img.data``, (3, H, W), range 0 to 255.

        Raises:
            KeyError: if a prediction has no ``sr_img``.
        """
        for canvas, sample in zip(data_batch['inputs'], data_samples):
            if 'sr_img' not in sample:
                raise KeyError(
                    'SRMetric: the predictions hold no rebuilt image. Set model.test_cfg.with_sr=True '
                    '(tools/test.py --sr-metrics does), on a model with sr_aux.'
                )
            target = canvas[None].float()
            # The preprocessor pads at the bottom and the right.
            rebuilt = sample['sr_img']['data'][None, :, : target.shape[-2], : target.shape[-1]].to(target).clamp(0, 255)
            result = _similarity(rebuilt, target)
            if self.scale_factor is not None:
                enlarged = _similarity(_reduced_and_enlarged(target, self.scale_factor), target)
                result |= {f'{name}_enlarged': value for name, value in enlarged.items()}
            self.results.append(result)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Average over images."""
        return {name: float(torch.stack([result[name] for result in results]).mean()) for name in results[0]}


def _similarity(image: Tensor, target: Tensor) -> dict[str, Tensor]:
    # Imported here because torchmetrics takes seconds to import and training does not need it.
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    return {
        'PSNR': peak_signal_noise_ratio(image, target, data_range=255.0),
        'SSIM': structural_similarity_index_measure(image, target, data_range=255.0),
    }


def _reduced_and_enlarged(canvas: Tensor, scale_factor: int) -> Tensor:
    """Reduce a canvas (1, 3, H, W) to the network's input and enlarge it bilinearly."""
    padded = pad_to_multiple(canvas, scale_factor)
    enlarged = F.interpolate(area_downsample(padded, scale_factor), padded.shape[-2:], mode='bilinear')
    return enlarged[..., : canvas.shape[-2], : canvas.shape[-1]]
