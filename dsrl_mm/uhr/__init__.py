"""Networks for ultra-high-resolution images, in MMSegmentation; importing registers them.

In a config: ``custom_imports=dict(imports=['dsrl_mm.uhr'])``, which also imports :mod:`dsrl_mm.seg`.
"""

import dsrl_mm.seg  # noqa: F401

from .convert import to_isd
from .datasets import DeepGlobeDataset, InriaAerialDataset, SaliencyDataset
from .fusion import RelationAwareFusion
from .isd_aux import ISDAux, ISDSRDecoder
from .isd_head import ISDFeatures, ISDHead
from .isd_segmentor import ISDSegmentor
from .metrics import MeanBoundaryAccuracy, SODMetric
from .pgnet import (
    AttentionGuidedLoss,
    AttentionGuideHead,
    BCEIoULoss,
    CrossModelGrafting,
    GraftingNeck,
    LoadMask,
    MultiScalePreProcessor,
    PGBackbone,
    PGHead,
    RampedCosineLR,
    RandomBorderCrop,
)
from .pyramid import LaplacianPyramid
from .refine import apply_segfix_offsets, load_cascade_psp, refine_classes
from .stdc_shallow import STDCShallow

__all__ = [
    'AttentionGuidedLoss',
    'AttentionGuideHead',
    'BCEIoULoss',
    'CrossModelGrafting',
    'DeepGlobeDataset',
    'GraftingNeck',
    'ISDAux',
    'ISDFeatures',
    'ISDHead',
    'ISDSegmentor',
    'ISDSRDecoder',
    'InriaAerialDataset',
    'LaplacianPyramid',
    'LoadMask',
    'MeanBoundaryAccuracy',
    'MultiScalePreProcessor',
    'PGBackbone',
    'PGHead',
    'RampedCosineLR',
    'RandomBorderCrop',
    'RelationAwareFusion',
    'SODMetric',
    'STDCShallow',
    'SaliencyDataset',
    'apply_segfix_offsets',
    'load_cascade_psp',
    'refine_classes',
    'to_isd',
]
