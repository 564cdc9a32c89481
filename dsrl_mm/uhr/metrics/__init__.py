"""Metrics of salient objects and of boundaries at high resolution."""

from .boundary_accuracy import MeanBoundaryAccuracy
from .sod import SODMetric

__all__ = ['MeanBoundaryAccuracy', 'SODMetric']
