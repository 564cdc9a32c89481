"""All tests of this folder are skipped without MMPose."""

import importlib.util

import pytest

if importlib.util.find_spec('mmpose') is not None:
    import dsrl_mm.pose  # noqa: F401  (registers)


def pytest_collect_file():
    """Skip this folder's files before they import MMPose, which segmentation does not need."""
    pytest.importorskip('mmpose')
