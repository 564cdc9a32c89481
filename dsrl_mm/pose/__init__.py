"""MMPose components; importing registers them.

In a config: ``custom_imports=dict(imports=['dsrl_mm.pose'], allow_failed_imports=False)``.
"""

from dsrl_mm import compat

compat.prepare('mmengine', 'mmcv', 'mmpose')

import mmpose.codecs  # noqa: E402
import mmpose.datasets  # noqa: E402
import mmpose.evaluation  # noqa: E402
import mmpose.models  # noqa: E402, F401

compat.let_mmpose_draw_circles()

import dsrl_mm.core  # noqa: E402, F401
import dsrl_mm.engine  # noqa: E402, F401

from .estimator import DSRLTopdown  # noqa: E402
from .heatmap_head import SSSRHeatmapHead  # noqa: E402
from .visualizer import GroundTruthVisualizer  # noqa: E402

__all__ = ['DSRLTopdown', 'SSSRHeatmapHead', 'GroundTruthVisualizer']
