"""bfloat16 mixed precision on any device that autocasts to it."""

from contextlib import contextmanager, nullcontext

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class _DepthwiseInFloat32(TorchFunctionMode):
    """Mode that keeps depthwise convolutions in float32. On CPUs, their gradients are slower in bfloat16."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is not torch.conv2d or not _is_depthwise(*args, **kwargs):
            return function(*args, **kwargs)
        args = tuple(arg.float() if isinstance(arg, Tensor) else arg for arg in args)
        with torch.autocast('cpu', enabled=False):
            return function(*args, **kwargs)


def _is_depthwise(input: Tensor, weight: Tensor, *args, groups: int = 1, **kwargs) -> bool:
    groups = args[4] if len(args) > 4 else groups
    return groups > 1 and weight.shape[1] == 1


@OPTIM_WRAPPERS.register_module(force=True)
class BFloat16OptimWrapper(OptimWrapper):
    """Optimizer wrapper with bfloat16 autocast on any device; weights and optimizer state are in float32.

    On CPUs, depthwise convolutions are in float32, too, which takes up to half the time off their gradients. bfloat16
    has the range of float32, so losses are not scaled. For float16, use MMEngine's ``AmpOptimWrapper``, which does not
    support CPUs. Takes the arguments of :class:`mmengine.optim.OptimWrapper`.
    """

    @contextmanager
    def optim_context(self, model: nn.Module):
        device = next(model.parameters()).device.type
        depthwise = _DepthwiseInFloat32() if device == 'cpu' else nullcontext()
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16), depthwise:
            yield
