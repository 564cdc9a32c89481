"""Predictions of several models next to the ground truth, in one picture."""

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS

from ..core import area_downsample, pad_to_multiple

__all__ = ['draw']


def draw(entries: dict, pictures: int = 3) -> Figure:
    """Draw input, ground truth and each model's mask, one row per test image; above, if a model rebuilds images, these.

    Args:
        entries (dict[str, Trained]): see :func:`~dsrl_mm.apis.compare_models`.
        pictures (int): test images; evenly spaced over the first entry's test set. Defaults to 3.
    """
    first = next(iter(entries.values()))
    dataset = DATASETS.build(first.cfg.test_dataloader.dataset)
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(dataset.metainfo['palette'])] = dataset.metainfo['palette']
    models = {name: trained.model() for name, trained in entries.items()}
    factor = next(iter(models.values())).scale_factor
    rows = []
    for index in np.linspace(0, len(dataset) - 1, pictures).round().astype(int):
        sample = dataset[int(index)]
        reduced = area_downsample(pad_to_multiple(sample['inputs'][None].float(), factor), factor)
        images = {'network input': _to_rgb(reduced[0])}
        masks = {'ground truth': palette[sample['data_samples'].gt_sem_seg.data[0].numpy()]}
        for name, model in models.items():
            with torch.no_grad():
                prediction = model.test_step(pseudo_collate([sample]))[0]
            masks[name] = palette[prediction.pred_sem_seg.data[0].byte().cpu().numpy()]
            if entries[name].rebuilds:
                height, width = prediction.sr_img.shape
                enlarged = F.interpolate(reduced, scale_factor=factor, mode='bilinear')[0, :, :height, :width]
                images['bilinear enlargement'] = _to_rgb(enlarged)
                images[f'{name}: rebuilt image'] = _to_rgb(prediction.sr_img.data.cpu())
        rows += [images | masks] if len(images) == 1 else [images, masks]
    return _grid(rows, dataset.metainfo)


def _to_rgb(image: torch.Tensor) -> np.ndarray:
    """Convert an image (C, H, W), 0 to 255, to bytes (H, W, 3 or 1): the first three bands, B G R, or the first."""
    image = image[:3] if len(image) >= 3 else image[:1]
    return image.clamp(0, 255).round().byte().numpy()[::-1].transpose(1, 2, 0)


def _grid(rows: list[dict[str, np.ndarray]], metainfo: dict) -> Figure:
    height, width, _ = rows[-1]['ground truth'].shape
    panel, columns = 3.2, max(map(len, rows))
    figure = Figure(figsize=(panel * columns, (panel * height / width + 0.25) * len(rows) + 0.6), layout='constrained')
    for row, line in zip(rows, figure.subplots(len(rows), columns, squeeze=False)):
        for axis in line:
            axis.set_axis_off()
        for (title, image), axis in zip(row.items(), line):
            # Every panel has the canvas's extent; the network input shows its own, larger pixels.
            axis.imshow(image, 'gray', vmin=0, vmax=255, extent=(0, width, height, 0), interpolation='nearest')
            axis.set_title(title, fontsize='medium')
    colors = dict(zip(metainfo['classes'], metainfo['palette'])) | {'unlabeled': (0, 0, 0)}
    patches = [
        Patch(facecolor=[channel / 255 for channel in color], edgecolor='0.5', linewidth=0.5, label=name)
        for name, color in colors.items()
    ]
    figure.legend(handles=patches, loc='outside lower center', ncols=min(len(patches), 2 * columns), frameon=False)
    return figure
