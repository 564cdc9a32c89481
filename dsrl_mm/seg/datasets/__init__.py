"""Data sets and transforms that MMSegmentation lacks."""

from .camvid import CamVidDataset
from .color_labels import LoadColorAnnotations
from .frames import AlignedRandomCrop, EnlargeFrame

__all__ = ['AlignedRandomCrop', 'CamVidDataset', 'EnlargeFrame', 'LoadColorAnnotations']
