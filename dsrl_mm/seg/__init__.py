"""MMSegmentation components; importing registers them.

In a config: ``custom_imports=dict(imports=['dsrl_mm.seg'])``. Networks, data sets and metrics replace those of the same
name that a later MMSegmentation may have.
"""

from dsrl_mm import compat

compat.prepare('mmengine', 'mmcv', 'mmseg')
with compat.quiet_import():
    import mmseg.datasets  # noqa: F401

compat.let_preprocessors_take_bands()

import dsrl_mm.core  # noqa: E402, F401
import dsrl_mm.engine  # noqa: E402, F401

from .canvas import CanvasSegmentor  # noqa: E402
from .checks import LabelCheckHook  # noqa: E402
from .class_weights import ClassWeightSampler  # noqa: E402
from .convert import to_dsrl  # noqa: E402
from .datasets import AlignedRandomCrop, CamVidDataset, EnlargeFrame, LoadColorAnnotations  # noqa: E402
from .head_wrapper import HeadWrapper  # noqa: E402
from .metrics import BoundaryMetric, ClassIoUMetric  # noqa: E402
from .networks import DABNet, ESPNetv2, ESPNetv2Head  # noqa: E402
from .segmentor import DSRLSegmentor  # noqa: E402
from .sssr_head import SSSRHead  # noqa: E402

__all__ = [
    'AlignedRandomCrop',
    'BoundaryMetric',
    'CamVidDataset',
    'CanvasSegmentor',
    'ClassIoUMetric',
    'ClassWeightSampler',
    'DABNet',
    'DSRLSegmentor',
    'ESPNetv2',
    'ESPNetv2Head',
    'EnlargeFrame',
    'HeadWrapper',
    'LabelCheckHook',
    'LoadColorAnnotations',
    'SSSRHead',
    'to_dsrl',
]
