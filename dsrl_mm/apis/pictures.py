"""Predictions of several models next to the ground truth, in one picture."""

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS

from ..core import area_downsample, pad_to_multiple

__all__ = ['draw']


def draw(entries: dict, pictures: int = 3) -> Figure:
    """Draw input, ground truth, each model's mask and the rebuilt image, one row per test image.

    Args:
        entries (dict[str, Trained]): see :func:`~dsrl_mm.apis.compare_models`.
        pictures (int): rows; evenly spaced over the first entry's test set. Defaults to 3.
    """
    first = next(iter(entries.values()))
    dataset = DATASETS.build(first.cfg.test_dataloader.dataset)
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(dataset.metainfo['palette'])] = dataset.metainfo['palette']
    models = {name: trained.model() for name, trained in entries.items()}
    rows = []
    for index in np.linspace(0, len(dataset) - 1, pictures).round().astype(int):
        sample = dataset[int(index)]
        panels = {
            'network input': _network_input(sample['inputs'], next(iter(models.values())).scale_factor),
            'ground truth': palette[sample['data_samples'].gt_sem_seg.data[0].numpy()],
        }
        for name, model in models.items():
            with torch.no_grad():
                prediction = model.test_step(pseudo_collate([sample]))[0]
            panels[name] = palette[prediction.pred_sem_seg.data[0].byte().cpu().numpy()]
            if entries[name].rebuilds:
                panels[f'{name}: rebuilt image'] = _to_rgb(prediction.sr_img.data.cpu())
        rows.append(panels)
    return _grid(rows, dataset.metainfo)


def _network_input(canvas: torch.Tensor, scale_factor: int) -> np.ndarray:
    return _to_rgb(area_downsample(pad_to_multiple(canvas[None].float(), scale_factor), scale_factor)[0])


def _to_rgb(image: torch.Tensor) -> np.ndarray:
    """RGB bytes, (H, W, 3), of a BGR image (3, H, W) in the range 0 to 255."""
    return image.clamp(0, 255).round().byte().numpy()[::-1].transpose(1, 2, 0)


def _grid(rows: list[dict[str, np.ndarray]], metainfo: dict) -> Figure:
    height, width, _ = rows[0]['ground truth'].shape
    panel = 3.2
    figure = Figure(figsize=(panel * len(rows[0]), panel * height / width * len(rows) + 0.6), layout='constrained')
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for row, line in zip(rows, axes):
        for (title, image), axis in zip(row.items(), line):
            # Every panel has the canvas's extent; the network input shows its own, larger pixels.
            axis.imshow(image, extent=(0, width, height, 0), interpolation='nearest')
            axis.set_axis_off()
            if row is rows[0]:
                axis.set_title(title)
    colours = dict(zip(metainfo['classes'], metainfo['palette'])) | {'unlabelled': (0, 0, 0)}
    patches = [
        Patch(facecolor=[channel / 255 for channel in colour], edgecolor='0.5', linewidth=0.5, label=name)
        for name, colour in colours.items()
    ]
    figure.legend(handles=patches, loc='outside lower center', ncols=min(len(patches), 12), frameon=False)
    return figure
