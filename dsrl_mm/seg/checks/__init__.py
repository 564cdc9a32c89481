"""Checks of data, labels and sizes, before and during training."""

from .label_check import LabelCheckHook

__all__ = ['LabelCheckHook']
