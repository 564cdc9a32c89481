"""How well the SISR branch rebuilds images: PSNR and SSIM, by torchmetrics' definitions."""

from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

__all__ = ['SRMetric']


@METRICS.register_module()
class SRMetric(BaseMetric):
    """PSNR (dB) and SSIM of the rebuilt image against the canvas, averaged over images.

    Both on three channels in the range 0 to 255, the prediction clipped to it; SSIM with an 11x11 Gaussian window of
    sigma 1.5 (Wang et al., 2004), in float32. Needs a model with ``test_cfg.with_sr=True``.

    Args:
        **kwargs: those of :class:`mmengine.evaluator.BaseMetric`.
    """

    default_prefix = 'sr'

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Compare a batch.

        Args:
            data_batch (dict): ``inputs``, the canvases as the pipeline gives them, each (3, H, W), uint8.
            data_samples (Sequence[dict]): predictions with ``sr_img.data``, (3, H, W), range 0 to 255.

        Raises:
            KeyError: if a prediction has no ``sr_img``.
        """
        # Imported on use: torchmetrics takes seconds to import, and training never needs it.
        from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

        for canvas, sample in zip(data_batch['inputs'], data_samples):
            if 'sr_img' not in sample:
                raise KeyError(
                    'SRMetric: the predictions hold no rebuilt image. Set model.test_cfg.with_sr=True '
                    '(tools/test.py --sr-metrics does), on a model with sr_aux.'
                )
            target = canvas[None].float()
            # The preprocessor pads at the bottom and the right.
            rebuilt = sample['sr_img']['data'][None, :, : target.shape[-2], : target.shape[-1]].to(target).clamp(0, 255)
            self.results.append(
                {
                    'PSNR': peak_signal_noise_ratio(rebuilt, target, data_range=255.0),
                    'SSIM': structural_similarity_index_measure(rebuilt, target, data_range=255.0),
                }
            )

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Average over images."""
        return {name: float(torch.stack([result[name] for result in results]).mean()) for name in ('PSNR', 'SSIM')}
