"""DeepGlobe land cover data set (Demir et al., CVPR Workshops 2018)."""

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS


@DATASETS.register_module(force=True)
class DeepGlobeDataset(BaseSegDataset):
    """DeepGlobe land cover: 2448x2448 satellite images, 6 classes and "unknown", which is a class, too.

    Layout: ``images/SPLIT/ID_sat.jpg`` and ``labels/SPLIT/ID_mask.png``, where labels have one channel of class ids.
    ``tools/dataset_converters/deepglobe.py`` converts the release to it and splits it as GLNet does: 454 images for
    training, 207 for validation, 142 for testing. Papers report the mean over six classes: ``left_out=['unknown']`` of
    :class:`~dsrl_mm.seg.ClassIoUMetric`.
    """

    METAINFO = dict(
        classes=('unknown', 'urban', 'agriculture', 'rangeland', 'forest', 'water', 'barren'),
        palette=[
            [0, 0, 0],
            [0, 255, 255],
            [255, 255, 0],
            [255, 0, 255],
            [0, 255, 0],
            [0, 0, 255],
            [255, 255, 255],
        ],
    )

    def __init__(self, img_suffix: str = '_sat.jpg', seg_map_suffix: str = '_mask.png', **kwargs):
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
