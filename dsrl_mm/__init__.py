"""Dual Super-Resolution Learning (Wang et al., CVPR 2020) for MMSegmentation and MMPose."""

__version__ = '0.2.0.dev0'
