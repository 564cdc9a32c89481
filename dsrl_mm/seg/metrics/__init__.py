"""Metrics of every class, and of its boundaries."""

from .boundary import BoundaryMetric
from .class_iou import ClassIoUMetric

__all__ = ['BoundaryMetric', 'ClassIoUMetric']
