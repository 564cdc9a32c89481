"""PGNet, a saliency network for high-resolution images (Xie et al., CVPR 2022)."""

from .backbone import PGBackbone
from .grafting import CrossModelGrafting, GraftingNeck
from .guide_head import AttentionGuideHead
from .head import PGHead
from .losses import AttentionGuidedLoss, BCEIoULoss
from .preprocessor import MultiScalePreProcessor
from .schedule import RampedCosineLR
from .transforms import LoadMask, RandomBorderCrop

__all__ = [
    'AttentionGuideHead',
    'AttentionGuidedLoss',
    'BCEIoULoss',
    'CrossModelGrafting',
    'GraftingNeck',
    'LoadMask',
    'MultiScalePreProcessor',
    'PGBackbone',
    'PGHead',
    'RampedCosineLR',
    'RandomBorderCrop',
]
