"""The figures of the papers for your own models; ``tools/figures.py`` writes them."""

from .classes import draw_classes
from .features import draw_features
from .images import draw_comparison, draw_masks, draw_rebuilt
from .keypoints import draw_keypoints
from .sampled import Sampled, evenly_spaced

__all__ = [
    'Sampled',
    'draw_classes',
    'draw_comparison',
    'draw_features',
    'draw_keypoints',
    'draw_masks',
    'draw_rebuilt',
    'evenly_spaced',
]
