"""CamVid data set (Brostow et al., 2008) with the usual 11 classes."""

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

#: The color of each class, R G B, in the order of the ids.
_PALETTE = dict(
    Sky=[128, 128, 128],
    Building=[128, 0, 0],
    Pole=[192, 192, 128],
    Road=[128, 64, 128],
    Pavement=[60, 40, 222],
    Tree=[128, 128, 0],
    SignSymbol=[192, 128, 128],
    Fence=[64, 64, 128],
    Car=[64, 0, 128],
    Pedestrian=[64, 64, 0],
    Bicyclist=[0, 128, 192],
)


@DATASETS.register_module(force=True)
class CamVidDataset(BaseSegDataset):
    """CamVid data set with 11 classes; void is 255.

    Layout: ``images/SPLIT/NAME.png`` and ``labels/SPLIT/NAME.png``, where labels have one channel of class ids.
    ``tools/dataset_converters/camvid.py`` converts the original 720x960 release.
    """

    METAINFO = dict(
        classes=tuple(_PALETTE),
        palette=[*_PALETTE.values()],
        # For ClassWeightSampler, as DABNet's authors have them: 1 / ln(1.10 + the class's share of the training
        # pixels), divided by the mean weight of a training pixel.
        class_weights=(0.98, 0.81, 2.28, 0.67, 1.74, 1.30, 2.24, 2.25, 1.60, 2.36, 2.43),
    )

    def __init__(self, img_suffix: str = '.png', seg_map_suffix: str = '.png', **kwargs):
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
