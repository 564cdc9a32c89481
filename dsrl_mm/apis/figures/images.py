"""Images, masks and rebuilt images of several models next to each other (Fig. 7 and 8 of the paper)."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from ...core import area_downsample, pad_to_multiple
from .grid import Box, Panel, draw_grid, to_rgb
from .sampled import Sampled, check_same, evenly_spaced


def draw_masks(models: Sequence[Sampled], indices: Sequence[int], detail: Box | None = None) -> Figure:
    """Draw image, ground truth and each model's mask, a row for each test image (Fig. 8).

    Args:
        models (Sequence[Sampled]): segmentors.
        indices (Sequence[int]): numbers of test images.
        detail (Box, optional): see :func:`draw_grid`.

    Raises:
        ValueError: if a model is for poses, the models have other classes, or there is no such image.
    """
    for model in models:
        if model.trained.cfg.get('default_scope') == 'mmpose':
            raise ValueError(f'{model.name} estimates poses, which have no masks. Draw its keypoints.')
    check_same(models)
    rows = [dict(image=_image(models[0][index])) | _masks(models, index) for index in indices]
    return draw_grid(rows, [row['ground truth'].size for row in rows], models[0].dataset.metainfo, detail)


def draw_rebuilt(models: Sequence[Sampled], indices: Sequence[int], detail: Box | None = None) -> Figure:
    """Draw the network input, enlarged and as models rebuild it, and the original (Fig. 7).

    Args:
        models (Sequence[Sampled]): see :func:`draw_masks`; poses are rebuilt, too: crops of persons.
        indices (Sequence[int]): numbers of test samples.
        detail (Box, optional): see :func:`draw_grid`.

    Raises:
        ValueError: if a model does not rebuild images, or there is no such sample.
    """
    for model in models:
        if not model.trained.rebuilds:
            raise ValueError(
                f'{model.name} rebuilds no images: its config has no SISR branch (sr_aux), or its checkpoint '
                f'{model.trained.checkpoint} lacks the weights of it (sr_aux.head), as deployed ones do. Leave it out, '
                'or name a checkpoint of the training.'
            )
    rows = [_rebuilt(models, index) | dict(original=_image(models[0][index])) for index in indices]
    return draw_grid(rows, [row['original'].size for row in rows], detail=detail)


def draw_comparison(models: Sequence[Sampled], pictures: int) -> Figure:
    """Draw network inputs and masks; above, if a model rebuilds images, the row of :func:`draw_rebuilt`.

    Args:
        models (Sequence[Sampled]): segmentors.
        pictures (int): number of test images, evenly spaced.
    """
    check_same(models)
    rows, sizes = [], []
    for index in evenly_spaced(models, pictures):
        images, masks = _rebuilt(models, index), _masks(models, index)
        new = [images, masks] if len(images) > 1 else [images | masks]
        rows += new
        sizes += [masks['ground truth'].size] * len(new)
    return draw_grid(rows, sizes, models[0].dataset.metainfo)


def _scene(sample: dict) -> tuple[int, int]:
    """Return height and width of a sample's label, which may be larger than its canvas; without one, of the canvas."""
    truth = sample['data_samples'].get('gt_sem_seg')
    return tuple((sample['inputs'] if truth is None else truth.data).shape[-2:])


def _image(sample: dict) -> Panel:
    return Panel(to_rgb(sample['inputs'].float()), _scene(sample))


def _masks(models: Sequence[Sampled], index: int) -> dict[str, Panel]:
    sample, metainfo = models[0][index], models[0].dataset.metainfo
    palette, scene = np.zeros((256, 3), np.uint8), _scene(sample)
    palette[: len(metainfo['palette'])] = metainfo['palette']
    masks = {'ground truth': sample['data_samples'].gt_sem_seg}
    masks |= {model.name: model.predict(model[index]).pred_sem_seg for model in models}
    return {name: Panel(palette[mask.data[0].byte().cpu().numpy()], scene) for name, mask in masks.items()}


@torch.no_grad()
def _rebuilt(models: Sequence[Sampled], index: int) -> dict[str, Panel]:
    """Network input; if a model rebuilds images, also what it makes of it, and the bilinear enlargement."""
    sample, factor = models[0][index], getattr(models[0].model, 'scale_factor', 1)
    (height, width), scene = sample['inputs'].shape[-2:], _scene(sample)
    reduced = area_downsample(pad_to_multiple(sample['inputs'][None].float(), factor), factor)
    enlarged = F.interpolate(reduced, scale_factor=factor, mode='bilinear')
    # Of sides that the factor does not divide, it shows a border that was padded.
    covered = scene[0] * enlarged.shape[2] / height, scene[1] * enlarged.shape[3] / width
    row = {'network input': Panel(to_rgb(reduced[0]), covered, 'nearest')}
    for model in models:
        if model.trained.rebuilds:
            row.setdefault('bilinear enlargement', Panel(to_rgb(enlarged[0, :, :height, :width]), scene))
            own = model[index]
            rows, columns = own['inputs'].shape[-2:]
            image = model.picture(model.model.reconstruct(model.canvas(own)))[:rows, :columns]  # without padding
            row[f'{model.name}: rebuilt image' if len(models) > 1 else 'rebuilt image'] = Panel(image, scene)
    return row
