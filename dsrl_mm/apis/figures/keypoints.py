"""Keypoints on people (Fig. 9 of the paper)."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..predictors import is_udp
from .grid import Box, Panel, draw_grid, to_rgb
from .sampled import Sampled, check_same

#: The least score of a keypoint that is drawn.
LEAST = 0.3


def draw_keypoints(models: Sequence[Sampled], indices: Sequence[int], detail: Box | None = None) -> Figure:
    """Draw the ground truth and each model's keypoints on persons, a row for each.

    Keypoints with scores below :data:`LEAST`, and those that the annotation does not have, are left out.

    Args:
        models (Sequence[Sampled]): top-down pose estimators.
        indices (Sequence[int]): numbers of test samples, which are persons.
        detail (Box, optional): see :func:`draw_grid`.

    Raises:
        ValueError: if a model is no pose estimator, or there is no such sample.
    """
    for model in models:
        if model.trained.cfg.get('default_scope') != 'mmpose':
            raise ValueError(f'{model.name} segments images: its config is not for poses (default_scope="mmpose")')
    check_same(models)
    rows = [_row(models, index) for index in indices]
    return draw_grid(rows, [row['ground truth'].size for row in rows], detail=detail)


def _row(models: Sequence[Sampled], index: int) -> dict[str, Panel]:
    sample = models[0][index]
    image, meta, truth = sample['inputs'], sample['data_samples'].metainfo, sample['data_samples'].gt_instances
    picture, size = to_rgb(image.float()), tuple(image.shape[-2:])
    pixels = np.asarray(meta['input_size']) - is_udp(models[0].model.head.decoder)

    def panel(points: np.ndarray, scores: np.ndarray) -> Panel:
        """Draw points of the whole image (K, 2) in the crop."""
        corner = np.asarray(meta['input_center']) - np.asarray(meta['input_scale']) / 2
        points = (points - corner) / meta['input_scale'] * pixels
        return Panel(picture, size, draw=partial(_draw_person, points, scores, models[0].dataset.metainfo))

    row = {'ground truth': panel(truth.keypoints[0], truth.keypoints_visible[0])}
    for model in models:
        found = model.predict(model[index]).pred_instances
        row[model.name] = panel(found.keypoints[0], found.keypoint_scores[0])
    return row


def _draw_person(points: np.ndarray, scores: np.ndarray, metainfo: dict, axis: Axes) -> None:
    seen = scores >= LEAST
    style = dict(solid_capstyle='round', linewidth=2)
    for (start, end), color in zip(metainfo['skeleton_links'], metainfo['skeleton_link_colors']):
        if seen[start] and seen[end]:
            axis.plot(*points[[start, end]].T, color=np.asarray(color) / 255, **style)
    colors = np.asarray(metainfo['keypoint_colors'])[seen] / 255
    axis.scatter(*points[seen].T, 14, colors, edgecolors='white', linewidths=0.5, zorder=3)
