"""Parameters and operations of inference, without training-only parts."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .loading import TRAINING_ONLY
from .shapes import NearestInterpolation


@dataclass
class Complexity:
    """Cost of one image."""

    params: int  # at inference
    training_params: int  # of training-only parts
    flops: int  # operations at inference: a multiply-add counts as 2
    sssr_flops: int  # of these, the operations of the SSSR head's stack

    @property
    def macs(self) -> int:
        """Multiply-adds."""
        return self.flops // 2


def measure_complexity(model: nn.Module, size: tuple[int, int], in_channels: int = 3) -> Complexity:
    """Count a model's parameters and the operations of its convolutions and matrix products.

    Operations are counted by PyTorch's :class:`torch.utils.flop_counter.FlopCounterMode`, without interpolation,
    normalization and activations.

    Args:
        model (nn.Module): a segmentor or a pose estimator; left in eval mode.
        size (tuple[int, int]): height and width of its input in pixels: the canvas, or the low-resolution frame with a
            segmentor's ``low_res_input``.
        in_channels (int): of the image. Defaults to 3.
    """
    counts = {True: 0, False: 0}
    for name, parameter in model.named_parameters():
        counts[name.split('.')[0] in TRAINING_ONLY] += parameter.numel()
    model.eval()
    image = torch.zeros(1, in_channels, *size, device=next(model.parameters()).device)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), NearestInterpolation():
        model(image, None, mode='tensor')
    stack = [sum(ops.values()) for name, ops in counter.get_flop_counts().items() if name.endswith('head.upsampler')]
    return Complexity(
        params=counts[False],
        training_params=counts[True],
        flops=counter.get_total_flops(),
        sssr_flops=sum(stack),
    )
