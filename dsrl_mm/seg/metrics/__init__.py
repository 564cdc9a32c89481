"""Metrics per class and of boundaries."""

from .boundary import BoundaryMetric
from .class_iou import ClassIoUMetric

__all__ = ['BoundaryMetric', 'ClassIoUMetric']
