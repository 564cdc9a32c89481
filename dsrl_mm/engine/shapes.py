"""Runs of a network for its shapes or operations alone."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

__all__ = ['NearestInterpolation']

_SIGNATURE = inspect.signature(F.interpolate)


class NearestInterpolation(TorchFunctionMode):
    """Context in which :func:`torch.nn.functional.interpolate` takes the nearest neighbor, which keeps the shapes.

    On the meta device, PyTorch computes bilinear interpolation in Python, in up to half of a network's time.
    """

    def __torch_function__(
        self, function: Callable, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is F.interpolate:
            args, kwargs = (), _SIGNATURE.bind(*args, **kwargs).arguments
            kwargs |= dict(mode='nearest', align_corners=None, antialias=False)
        return function(*args, **kwargs)
