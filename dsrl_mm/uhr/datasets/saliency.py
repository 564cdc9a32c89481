"""Data sets of salient objects, one or several together."""

import os
from collections.abc import Sequence
from pathlib import Path

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


def files_by_stem(folder: str | Path) -> dict[str, str]:
    """Return the image files directly in a folder by their names without suffix, sorted; hidden files are left out.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: if two differ only in the suffix.
    """
    paths = sorted(path for path in Path(folder).glob('[!.]*') if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise FileNotFoundError(f'{folder} {"holds no images" if Path(folder).is_dir() else "does not exist"}')
    files = {path.stem: str(path) for path in paths}
    if len(files) < len(paths):
        twice = next(path for path in paths if files[path.stem] != str(path))
        raise ValueError(f'{twice} and {files[twice.stem]} are two images of one name. Remove one.')
    return files


@DATASETS.register_module(force=True)
class SaliencyDataset(BaseSegDataset):
    """Salient objects: images, and masks of one name each, of one or several data sets.

    Each data set is a folder with the folders that ``data_prefix`` names. Suffixes of images may vary. Masks are gray;
    :class:`~dsrl_mm.uhr.LoadMask` reads values from 128 as the object. ``tools/dataset_converters/saliency.py`` checks
    a release and writes it in this layout.

    Args:
        roots (Sequence[str]): the data sets' folders, relative to ``data_root``. Defaults to ``data_root`` alone.
        repeats (Sequence[int], optional): how often an epoch has each of them, so that a small data set is not lost in
            a large one. Defaults to None: once.
        data_root (str, optional): the folder of the data sets.
        data_prefix (dict): names of the folders of images and masks within each data set.
        kwargs: other arguments of :class:`mmseg.datasets.BaseSegDataset`.

    Raises:
        FileNotFoundError: if a folder has no images, or an image no mask.
        ValueError: if ``repeats`` does not fit ``roots``, or two images have one name.
    """

    METAINFO = dict(classes=('background', 'object'), palette=[[0, 0, 0], [255, 255, 255]])

    def __init__(
        self,
        roots: Sequence[str] = ('',),
        repeats: Sequence[int] | None = None,
        data_root: str | None = None,
        data_prefix: dict = dict(img_path='image', seg_map_path='mask'),
        **kwargs,
    ):
        self.roots = [roots] if isinstance(roots, str) else list(roots)
        self.repeats = [1] * len(self.roots) if repeats is None else list(repeats)
        if len(self.repeats) != len(self.roots) or any(type(n) is not int or n < 1 for n in self.repeats):
            raise ValueError(
                f'SaliencyDataset: repeats={repeats} must be an integer of at least 1 for each of roots={self.roots}'
            )
        super().__init__(data_root=data_root, data_prefix=dict(data_prefix), **kwargs)

    def _join_prefix(self) -> None:
        """Leave ``data_prefix`` relative: it is joined to every root."""

    def load_data_list(self) -> list[dict]:
        """List the pairs of all roots, repeated; images alone if ``data_prefix`` has no ``seg_map_path``."""
        pairs = []
        for root, repeat in zip(self.roots, self.repeats):
            folder = os.path.join(self.data_root or '', root)
            images = files_by_stem(os.path.join(folder, self.data_prefix['img_path']))
            masks = self._masks(folder, images)
            for name, image in images.items():
                pair = dict(img_path=image, label_map=self.label_map, reduce_zero_label=False, seg_fields=[])
                pairs += [pair | ({'seg_map_path': masks[name]} if masks else {})] * repeat
        return pairs

    def _masks(self, folder: str, images: dict[str, str]) -> dict[str, str]:
        prefix = self.data_prefix.get('seg_map_path')
        if prefix is None:
            return {}
        masks = files_by_stem(os.path.join(folder, prefix))
        if without := [path for name, path in images.items() if name not in masks]:
            raise FileNotFoundError(
                f'{without[0]} has no mask of its name in {os.path.join(folder, prefix)}; so have {len(without)} of '
                f'{len(images)} images. Unpack the data set again, or remove these images.'
            )
        return masks
