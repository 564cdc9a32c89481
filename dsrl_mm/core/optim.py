"""bfloat16 mixed precision on any device that autocasts to it."""

from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

__all__ = ['BFloat16OptimWrapper']


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Runs the forward pass under bfloat16 autocast, on CPUs too; weights and optimizer stay in float32.

    bfloat16 has float32's range, so no loss is scaled. MMEngine's ``AmpOptimWrapper`` is the one for float16 and
    refuses CPUs. Takes the arguments of :class:`mmengine.optim.OptimWrapper`.
    """

    @contextmanager
    def optim_context(self, model: nn.Module):
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield
