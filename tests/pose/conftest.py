"""Every test of this folder starts from the same random state, in MMPose's scope; all are skipped without MMPose."""

import importlib.util

import pytest
import torch
from mmengine.registry import init_default_scope

if importlib.util.find_spec('mmpose') is not None:
    import dsrl_mm.pose  # noqa: F401  (registers)


def pytest_collect_file():
    """Skip this folder's files before they import MMPose, which segmentation does not need."""
    pytest.importorskip('mmpose')


@pytest.fixture(scope='module', autouse=True)
def _pose_scope():
    init_default_scope('mmpose')
    yield
    init_default_scope('mmseg')


@pytest.fixture(autouse=True)
def _same_start(_pose_scope):
    init_default_scope('mmpose')
    torch.manual_seed(0)
