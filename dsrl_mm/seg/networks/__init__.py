"""Networks that MMSegmentation lacks, and ImageNet weights for EfficientNet-Lite0."""

from . import efficientnet_lite0  # noqa: F401  (registers the scheme of its weights)
from .dabnet import DABNet
from .espnetv2 import ESPNetv2
from .espnetv2_head import ESPNetv2Head

__all__ = ['DABNet', 'ESPNetv2', 'ESPNetv2Head']
