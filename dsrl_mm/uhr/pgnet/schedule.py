"""Learning rate of PGNet."""

import math

from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module(force=True)
class RampedCosineLR(_ParamScheduler):
    """Learning rate that rises to its peak along a cosine times a line, and falls along the cosine to 0.

    With t from 0 to 1 over the training and its peak W: ``0.5 (1 + cos(pi (t - W) / (1 - W)))``, before W times
    ``t / W``. MMEngine's schedulers that can be chained multiply the rate, so none of them can start at 0.

    Args:
        optimizer (Optimizer | OptimWrapper): its initial rates are those of the peak.
        peak (float): W, in (0, 1). Defaults to 0.5, as in the authors' code.
        begin (int): first epoch or iteration. Defaults to 0.
        end (int): the one after the last.
        **kwargs: ``last_step``, ``by_epoch`` and ``verbose`` of MMEngine's schedulers.

    Raises:
        ValueError: if ``peak`` is not between 0 and 1.
    """

    def __init__(self, optimizer, *, peak: float = 0.5, begin: int = 0, end: int, **kwargs):
        if not 0 < peak < 1:
            raise ValueError(f'RampedCosineLR: peak is a fraction of the training between 0 and 1, got {peak!r}')
        self.peak = peak
        super().__init__(optimizer, 'lr', begin, end, **kwargs)

    @classmethod
    def build_iter_from_epoch(cls, *args, begin: int = 0, end: int, epoch_length: int, **kwargs):
        """Build a schedule in iterations from one in epochs; MMEngine calls it for ``convert_to_iter_based``."""
        kwargs['by_epoch'] = False
        return cls(*args, begin=begin * epoch_length, end=end * epoch_length, **kwargs)

    def _get_value(self) -> list[float]:
        t = self.last_step / (self.end - self.begin)
        factor = 0.5 * (1 + math.cos(math.pi * (t - self.peak) / (1 - self.peak))) * min(1, t / self.peak)
        return [factor * peak for peak in self.base_values]
