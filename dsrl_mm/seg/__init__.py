"""What plugs into MMSegmentation.

Importing it registers everything: ``custom_imports=dict(imports=['dsrl_mm.seg'])``.
"""

from dsrl_mm import compat

compat.prepare('mmengine', 'mmcv', 'mmseg')
with compat.quiet_import():
    import mmseg.datasets  # noqa: F401

import dsrl_mm.core  # noqa: E402, F401

from . import efficientnet_lite0  # noqa: E402, F401
from .boundary import BoundaryMetric  # noqa: E402
from .camvid import CamVidDataset  # noqa: E402
from .class_iou import ClassIoUMetric  # noqa: E402
from .class_weights import ClassWeightSampler  # noqa: E402
from .convert import to_dsrl  # noqa: E402
from .dabnet import DABNet  # noqa: E402
from .espnetv2 import ESPNetv2  # noqa: E402
from .espnetv2_head import ESPNetv2Head  # noqa: E402
from .label_check import LabelCheckHook  # noqa: E402
from .segmentor import DSRLSegmentor  # noqa: E402
from .sssr_head import SSSRHead  # noqa: E402

__all__ = [
    'BoundaryMetric',
    'CamVidDataset',
    'ClassIoUMetric',
    'ClassWeightSampler',
    'DABNet',
    'DSRLSegmentor',
    'ESPNetv2',
    'ESPNetv2Head',
    'LabelCheckHook',
    'SSSRHead',
    'to_dsrl',
]
