"""Masks painted in colors: tables of the ids of colors, and a transform that loads such masks."""

from collections.abc import Mapping, Sequence
from typing import Any

import mmcv
import numpy as np
from mmengine import fileio
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS, TRANSFORMS


def _codes(colors: np.ndarray) -> np.ndarray:
    """Pack colors (..., 3), R G B, to 24-bit integers (...)."""
    red, green, blue = np.moveaxis(colors.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def color_table(ids: Mapping[Sequence[int], int]) -> np.ndarray:
    """Return a table of the ids of all 24-bit colors, int16 (32 MiB): -1 for those that ``ids`` does not have."""
    table = np.full(1 << 24, -1, np.int16)
    table[_codes(np.array([*ids]))] = [*ids.values()]
    return table


def ids_of_colors(colors: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Look up the ids (H, W), int16, of colors (H, W, 3), uint8, R G B, in a table of :func:`color_table`."""
    return table[_codes(colors)]


@TRANSFORMS.register_module(force=True)
class LoadColorAnnotations(LoadAnnotations):
    """:class:`mmseg.datasets.transforms.LoadAnnotations` of masks painted in colors, by a palette.

    Images without a ``seg_map_path`` pass unchanged, so that the pipeline also serves inference.

    Args:
        palette (Sequence[Sequence[int]] | str): the color of each class, R G B from 0 to 255, in the order of the ids;
            or the name of a registered data set, whose ``METAINFO`` has them.
        unknown (int, optional): the id of all other colors, such as 255, which is ignored. Defaults to None: refuse
            them. Lossy files (JPEG) and resized masks have them at borders.
        backend_args (dict, optional): of the file backend. Defaults to None: local files.

    Raises:
        ValueError: if two classes have one color, or the data set is unknown; on loading, for unknown colors, and for
            ``reduce_zero_label``.
    """

    def __init__(
        self, palette: Sequence[Sequence[int]] | str, unknown: int | None = None, backend_args: dict | None = None
    ):
        super().__init__(backend_args=backend_args)
        if isinstance(palette, str):
            dataset = DATASETS.get(palette)
            if dataset is None or 'palette' not in dataset.METAINFO:
                raise ValueError(f'LoadColorAnnotations: palette={palette!r} is no registered data set with a palette')
            palette = dataset.METAINFO['palette']
        self.palette, self.unknown = [tuple(color) for color in palette], unknown
        if len(set(self.palette)) < len(self.palette):
            raise ValueError(f'LoadColorAnnotations: palette={self.palette} has one color for two classes')
        self._table = color_table({color: i for i, color in enumerate(self.palette)})

    def _load_seg_map(self, results: dict[str, Any]) -> None:
        path = results.get('seg_map_path')
        if path is None:
            return
        if results.get('reduce_zero_label'):
            raise ValueError(
                'LoadColorAnnotations: reduce_zero_label=True has no meaning for colors. Leave the color of unlabeled '
                'pixels out of the palette, and set unknown=255.'
            )
        content = fileio.get(path, backend_args=self.backend_args)
        colors = mmcv.imfrombytes(content, 'color', channel_order='rgb', backend=self.imdecode_backend)
        ids = ids_of_colors(colors, self._table)
        if self.unknown is None:
            self._refuse_unknown(colors, ids, path)
        else:
            ids[ids < 0] = self.unknown
        if label_map := results.get('label_map'):  # a data set with other classes than the palette's
            table = np.arange(256)
            table[[*label_map]] = [*label_map.values()]
            ids = table[ids]
        results['gt_seg_map'] = ids.astype(np.uint8)
        results['seg_fields'].append('gt_seg_map')

    def _refuse_unknown(self, colors: np.ndarray, ids: np.ndarray, path: str) -> None:
        rows, columns = np.nonzero(ids < 0)
        if not len(rows):
            return
        color = colors[rows[0], columns[0]].astype(int)
        nearest = int(np.square(np.array(self.palette) - color).sum(1).argmin())
        raise ValueError(
            f'{path}: the color {tuple(color.tolist())} at row {rows[0]}, column {columns[0]} is of no class '
            f'({len(rows)} such pixels); the nearest is {self.palette[nearest]}, class {nearest}. Repaint the mask, '
            'correct the palette of LoadColorAnnotations, or set its unknown=255 to ignore such pixels.'
        )

    def __repr__(self) -> str:
        return f'{type(self).__name__}(palette={self.palette}, unknown={self.unknown})'
