"""Feature maps of the SSSR and the SISR branch (Fig. 3 and 5 of the paper)."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from .grid import Box, Panel, draw_grid, to_rgb
from .sampled import Sampled


def draw_features(models: Sequence[Sampled], indices: Sequence[int], detail: Box | None = None) -> Figure:
    """Draw images next to the last features before each branch's prediction, as means over their channels.

    Dark is the first percentile of a map, and bright its last: maps can be compared in structure, not in magnitude.

    Args:
        models (Sequence[Sampled]): models with an SSSR head, a SISR branch or both, for segmentation or poses.
        indices (Sequence[int]): numbers of test samples.
        detail (Box, optional): see :func:`draw_grid`.

    Raises:
        ValueError: if a model has neither branch, or there is no such sample.
    """
    rows = [_row(models, index) for index in indices]
    return draw_grid(rows, [row['image'].size for row in rows], detail=detail)


def _row(models: Sequence[Sampled], index: int) -> dict[str, Panel]:
    image = models[0][index]['inputs']
    row = dict(image=Panel(to_rgb(image.float()), tuple(image.shape[-2:])))
    for model in models:
        row |= _maps(model, index, row['image'].size, f'{model.name}: ' if len(models) > 1 else '')
    return row


@torch.no_grad()
def _maps(model: Sampled, index: int, size: tuple[int, int], prefix: str) -> dict[str, Panel]:
    sample = model[index]
    canvas, image = model.canvas(sample), sample['inputs']
    # Features are of the padded canvas.
    covered = tuple(side * canvas.shape[i] / image.shape[i] for side, i in zip(size, (-2, -1)))
    maps = {name: feat[0].float().mean(0).cpu().numpy() for name, feat in _features(model, canvas).items()}
    return {f'{prefix}{name} features': Panel(found, covered, 'bilinear') for name, found in maps.items()}


def _features(model: Sampled, canvas: Tensor) -> dict[str, Tensor]:
    """Return the features (1, C, h, w) of the branches that a model has."""
    network = model.model
    head = network.decode_head if hasattr(network, 'decode_head') else network.head
    feats = {}
    if hasattr(network, 'run_backbone'):
        shared = network.run_backbone(canvas)
        if hasattr(head, 'upsampler'):
            feats['SSSR'] = head.parts(network.run_neck(shared))[1]
        if model.trained.rebuilds:
            feats['SISR'] = network.sr_aux.head(shared.feats)[0]
    if not feats:
        raise ValueError(
            f'{model.name} has no features to draw: no SSSR head, and no SISR branch whose weights are in '
            f'{model.trained.checkpoint}. Leave it out.'
        )
    return feats
