"""Rows of panels that show the same part of a scene, at whatever resolution."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

#: Left, top, right and bottom of a part of the scene, in its pixels.
Box = tuple[float, float, float, float]

_WIDTH, _HEIGHT = 2.2, 2.2  # inches, of the largest panel


@dataclass
class Panel:
    """A picture of a scene.

    Args:
        image (np.ndarray): bytes (h, w, 3), bytes (h, w, 1), or a map of numbers, (h, w).
        size (tuple[float, float]): height and width of what it shows, in pixels of the scene; more than the scene if it
            was padded.
        interpolation (str): Matplotlib's name. Defaults to 'antialiased'.
        draw (Callable[[Axes], None], optional): draws on it, in pixels of the scene. Defaults to None.
    """

    image: np.ndarray
    size: tuple[float, float]
    interpolation: str = 'antialiased'
    draw: Callable[[Axes], None] | None = None


def to_rgb(image: torch.Tensor) -> np.ndarray:
    """Convert an image (C, H, W), 0 to 255, to bytes (H, W, 3 or 1): the first three bands, B G R, or the first."""
    image = image[:3] if len(image) >= 3 else image[:1]
    return image.clamp(0, 255).round().byte().cpu().numpy()[::-1].transpose(1, 2, 0)


def draw_grid(
    rows: Sequence[Mapping[str, Panel]],
    sizes: Sequence[tuple[int, int]],
    metainfo: Mapping[str, Any] | None = None,
    detail: Box | None = None,
) -> Figure:
    """Draw rows of panels, with a title where it differs from the panel above.

    Args:
        rows (Sequence[Mapping[str, Panel]]): panels by title.
        sizes (Sequence[tuple[int, int]]): height and width of each row's scene.
        metainfo (Mapping[str, Any], optional): with ``classes`` and ``palette`` for a legend. Defaults to None.
        detail (Box, optional): a part to mark in every panel, and to show enlarged in a row of its own. Defaults to
            None.

    Raises:
        ValueError: if ``detail`` is no part of a scene.
    """
    parts = [[(0, 0, *size[::-1])] + ([] if detail is None else [_checked(detail, size)]) for size in sizes]
    titles = [*_new_titles(rows)]
    columns = max(map(len, rows))
    patches = [] if metainfo is None else _patches(metainfo)
    longest = max((len(patch.get_label()) for patch in patches), default=1)
    in_line = max(1, int(columns * _WIDTH / (0.45 + 0.075 * longest)))
    text = 0.25 * sum(map(bool, titles)) + 0.2 * -(-len(patches) // in_line)  # inches
    figure, axes = _new_figure([box for boxes in parts for box in boxes], columns, text)
    for row, boxes, new in zip(rows, parts, titles):
        for number, box in enumerate(boxes):
            for axis, (name, panel) in zip(next(axes), row.items()):
                _draw(axis, panel, box)
                if number == 0:
                    axis.set_title(name if name in new else '', fontsize='medium')
                    for other in boxes[1:]:
                        _mark(axis, other)
    if patches:
        style = dict(fontsize='small', frameon=False, handlelength=1.4, columnspacing=1.2)
        figure.legend(handles=patches, loc='outside lower center', ncols=min(len(patches), in_line), **style)
    return figure


def _checked(detail: Box, size: tuple[int, int]) -> Box:
    left, top, right, bottom = detail
    if not (0 <= left < right <= size[1] and 0 <= top < bottom <= size[0]):
        raise ValueError(
            f'--detail {left} {top} {right} {bottom} (left, top, right, bottom) is no part of images of {size[0]}x'
            f'{size[1]} pixels (height x width)'
        )
    return left, top, right, bottom


def _new_figure(boxes: Sequence[Box], columns: int, text: float) -> tuple[Figure, Iterator[Sequence[Axes]]]:
    """Create a figure with a row of axes for each box, and room for ``text`` inches of titles and legend."""
    sides = [(right - left, bottom - top) for left, top, right, bottom in boxes]
    scales = [min(_WIDTH / width, _HEIGHT / height) for width, height in sides]  # inches per pixel
    heights = [height * scale for (_, height), scale in zip(sides, scales)]
    width = max(width * scale for (width, _), scale in zip(sides, scales))
    figure = Figure((columns * width, text + sum(heights) + 0.05 * len(boxes)))
    figure.set_layout_engine('compressed', w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    axes = figure.subplots(len(boxes), columns, squeeze=False, gridspec_kw=dict(height_ratios=heights))
    for axis in axes.flat:
        axis.set_axis_off()
    return figure, iter(axes)


def _new_titles(rows: Sequence[Mapping[str, Panel]]) -> Iterator[set[str]]:
    """Find the titles of each row that its predecessor does not have in the same place."""
    above = []
    for row in rows:
        yield {name for i, name in enumerate(row) if above[i : i + 1] != [name]}
        above = [*row]


def _draw(axis: Axes, panel: Panel, box: Box) -> None:
    height, width = panel.size
    style = dict(extent=(0, width, height, 0), interpolation=panel.interpolation)
    if panel.image.ndim == 3:
        axis.imshow(panel.image, 'gray', vmin=0, vmax=255, **style)
    else:
        low, high = np.percentile(panel.image, (1, 99))
        axis.imshow(panel.image, 'viridis', vmin=low, vmax=high, **style)
    if panel.draw is not None:
        panel.draw(axis)
    left, top, right, bottom = box
    axis.set(xlim=(left, right), ylim=(bottom, top))


def _mark(axis: Axes, box: Box) -> None:
    """Draw a box in white on black, which shows on any image."""
    left, top, right, bottom = box
    for color, width in (('black', 2), ('white', 1)):
        axis.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, color=color, linewidth=width))


def _patches(metainfo: Mapping[str, Any]) -> list[Patch]:
    """Return the colors of the classes, for a legend."""
    colors = dict(zip(metainfo['classes'], metainfo['palette'])) | {'unlabeled': (0, 0, 0)}
    return [
        Patch(facecolor=[channel / 255 for channel in color], edgecolor='0.5', linewidth=0.5, label=name)
        for name, color in colors.items()
    ]
