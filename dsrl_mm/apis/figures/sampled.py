"""Trained models on their test sets."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS

from ..export import Network
from .grid import to_rgb


class Sampled:
    """A model and its test set.

    Args:
        name (str): for titles and messages.
        trained (Trained): see :class:`~dsrl_mm.apis.Trained`.
    """

    def __init__(self, name: str, trained: Any):
        self.name, self.trained = name, trained
        self.model = trained.model()
        self.dataset = DATASETS.build(trained.cfg.test_dataloader.dataset)

    @property
    def names(self) -> list[str]:
        """Names of the test set's classes or keypoints."""
        meta = self.dataset.metainfo
        return [*(meta.get('classes') or meta.get('keypoint_id2name', {}).values())]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a test sample: ``inputs``, (C, H, W), B G R, and ``data_samples``.

        Raises:
            ValueError: if there is none of this number.
        """
        if not 0 <= index < len(self.dataset):
            raise ValueError(
                f'The test set of {self.name} has {len(self.dataset)} samples, 0 to {len(self.dataset) - 1}: there is '
                f'no {index}'
            )
        return self.dataset[index]

    @torch.no_grad()
    def predict(self, sample: Mapping[str, Any]) -> Any:
        """Predict a sample as ``tools/test.py`` does."""
        return self.model.test_step(pseudo_collate([sample]))[0]

    def canvas(self, sample: Mapping[str, Any]) -> torch.Tensor:
        """Return the canvas of a sample, (1, C, H', W'), normalized and padded as the model reads it."""
        return self.model.data_preprocessor(pseudo_collate([sample]), False)['inputs']

    def picture(self, image: torch.Tensor) -> np.ndarray:
        """Convert a normalized image (1, C, H, W) to bytes (H, W, 3 or 1), see :func:`to_rgb`."""
        network = Network(self.model)
        image = image * network.std + network.mean
        if image.shape[1] == 3 and network.order == 'RGB':
            image = image.flip(1)
        return to_rgb(image[0])


def evenly_spaced(models: Sequence[Sampled], count: int) -> list[int]:
    """Choose numbers of test samples, from the first to the last."""
    return np.linspace(0, len(models[0].dataset) - 1, count).round().astype(int).tolist()


def check_same(models: Sequence[Sampled]) -> None:
    """Check that models can be compared sample by sample.

    Raises:
        ValueError: if their test sets have other classes, or another number of samples.
    """
    first, *others = models
    for other in others:
        names = [', '.join(model.names) for model in (first, other)]
        if names[0] != names[1]:
            raise ValueError(
                f'The classes of {first.name} are {names[0]}, but those of {other.name} are {names[1]}. Compare models '
                'of the same classes.'
            )
        if len(first.dataset) != len(other.dataset):
            raise ValueError(
                f'The test set of {first.name} has {len(first.dataset)} samples, and that of {other.name} has '
                f'{len(other.dataset)}. Compare models on the same test set.'
            )
