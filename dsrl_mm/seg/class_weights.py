"""Pixels weighed by their class, so that rare and thin classes are learned in a short training, too."""

from collections.abc import Sequence

import torch
from mmseg.registry import TASK_UTILS
from mmseg.structures.sampler import BasePixelSampler
from torch import Tensor, nn

__all__ = ['ClassWeightSampler']


@TASK_UTILS.register_module()
class ClassWeightSampler(BasePixelSampler):
    """A decode head's ``sampler`` that gives each pixel the weight of its class, and ignored ones 0.

    What ``CrossEntropyLoss(class_weight=...)`` is for, which mmsegmentation 1.2.2 cannot combine with ignored pixels.

    Args:
        context (nn.Module): the decode head, given by itself.
        weights (Sequence[float]): one per class. Where a training pixel has a weight of 1 on average, the loss is of
            the size it has without weights.

    Raises:
        ValueError: if there are not as many weights as the head has classes.
    """

    def __init__(self, context: nn.Module, weights: Sequence[float]):
        super().__init__()
        if len(weights) != context.num_classes:
            raise ValueError(
                f'ClassWeightSampler: {len(weights)} weights for {context.num_classes} classes. Set '
                "decode_head.sampler.weights to one per class, in the data set's order"
            )
        self.context = context
        self.weights = torch.tensor(weights)

    def sample(self, seg_logit: Tensor, seg_label: Tensor) -> Tensor:
        """The weights of a batch.

        Args:
            seg_logit (Tensor): (B, K, H, W), of which nothing is used.
            seg_label (Tensor): (B, 1, H, W), class ids.

        Returns:
            Tensor: (B, H, W).
        """
        label = seg_label.squeeze(1)
        ignored = label == self.context.ignore_index
        weights = self.weights.to(label.device)
        return weights[label.masked_fill(ignored, 0)].masked_fill(ignored, 0)
