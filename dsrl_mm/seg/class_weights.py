"""Class weights for pixels, which help rare and thin classes in short training runs."""

from collections.abc import Sequence

import torch
from mmseg.registry import DATASETS, TASK_UTILS
from mmseg.structures.sampler import BasePixelSampler
from torch import Tensor, nn


def _weights_of(name: str) -> Sequence[float]:
    dataset = DATASETS.get(name)
    if dataset is None or 'class_weights' not in dataset.METAINFO:
        reason = 'is no registered data set' if dataset is None else 'has no METAINFO["class_weights"]'
        raise ValueError(f'ClassWeightSampler: {name} {reason}. Set decode_head.sampler.weights to one per class')
    return dataset.METAINFO['class_weights']


@TASK_UTILS.register_module(force=True)
class ClassWeightSampler(BasePixelSampler):
    """Sampler of a decode head that weights each pixel by its class, and ignored pixels by 0.

    It replaces ``CrossEntropyLoss(class_weight=...)``, which mmsegmentation 1.2.2 cannot combine with ignored pixels.

    Args:
        context (nn.Module): the decode head, which passes itself.
        weights (Sequence[float] | str): one per class, or the name of a registered data set whose ``METAINFO`` has
            ``class_weights``. If their mean over the training pixels is 1, the loss keeps its scale.

    Raises:
        ValueError: if the number of weights is not the head's number of classes, or the named data set has none.
    """

    def __init__(self, context: nn.Module, weights: Sequence[float] | str):
        super().__init__()
        if isinstance(weights, str):
            weights = _weights_of(weights)
        if len(weights) != context.num_classes:
            raise ValueError(
                f'ClassWeightSampler: {len(weights)} weights for {context.num_classes} classes. Set '
                "decode_head.sampler.weights to one per class, in the data set's order"
            )
        self.context = context
        self.weights = torch.tensor(weights)

    def sample(self, seg_logit: Tensor, seg_label: Tensor) -> Tensor:
        """Return the weights (B, H, W) of labels (B, 1, H, W); ``seg_logit`` is not used."""
        label = seg_label.squeeze(1)
        ignored = label == self.context.ignore_index
        weights = self.weights.to(label.device)
        return weights[label.masked_fill(ignored, 0)].masked_fill(ignored, 0)
