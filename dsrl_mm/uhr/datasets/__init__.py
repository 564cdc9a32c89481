"""Data sets of ultra-high-resolution images."""

from .deepglobe import DeepGlobeDataset
from .inria_aerial import InriaAerialDataset
from .saliency import SaliencyDataset

__all__ = ['DeepGlobeDataset', 'InriaAerialDataset', 'SaliencyDataset']
