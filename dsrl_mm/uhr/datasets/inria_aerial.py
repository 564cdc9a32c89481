"""Inria Aerial Image Labeling data set (Maggiori et al., IGARSS 2017)."""

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS


@DATASETS.register_module(force=True)
class InriaAerialDataset(BaseSegDataset):
    """Inria Aerial: 5000x5000 aerial images of five cities, buildings and background.

    Layout: ``images/SPLIT/NAME.tif`` and ``labels/SPLIT/NAME.png``, where labels have one channel of class ids.
    ``tools/dataset_converters/inria_aerial.py`` converts the release to it and splits it as FCtL does: 126 images for
    training, 27 for validation, 27 for testing. Ultra-high-resolution papers report the IoU of buildings alone:
    ``left_out=['background']`` of :class:`~dsrl_mm.seg.ClassIoUMetric`. Papers on building extraction use another
    split, by the images' numbers; their results are not comparable.
    """

    METAINFO = dict(classes=('background', 'building'), palette=[[0, 0, 0], [255, 255, 255]])

    def __init__(self, img_suffix: str = '.tif', seg_map_suffix: str = '.png', **kwargs):
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
