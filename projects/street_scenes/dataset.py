"""The generated street scenes of :mod:`projects.street_scenes.scenes`, as MMSegmentation reads them."""

import dsrl_mm.seg  # noqa: F401, I001  makes mmseg importable
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from .scenes import CLASSES

__all__ = ['StreetSceneDataset']


@DATASETS.register_module()
class StreetSceneDataset(BaseSegDataset):
    """What :func:`~projects.street_scenes.scenes.write_scenes` writes: 9 classes, ignored pixels 255."""

    METAINFO = dict(classes=tuple(CLASSES), palette=[list(colour) for colour in CLASSES.values()])

    def __init__(self, img_suffix: str = '.png', seg_map_suffix: str = '.png', **kwargs):
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
