"""Every test of this folder starts from the same random state, in MMPose's scope.

Without MMPose, which segmentation does not need, none is collected; CI counts the tests that passed.
"""

import importlib.util

import pytest
import torch
from mmengine.registry import init_default_scope

if importlib.util.find_spec('mmpose') is None:
    collect_ignore_glob = ['test_*.py']
else:
    import dsrl_mm.pose  # noqa: F401  (registers)


@pytest.fixture(scope='module', autouse=True)
def _pose_scope():
    init_default_scope('mmpose')
    yield
    init_default_scope('mmseg')


@pytest.fixture(autouse=True)
def _same_start(_pose_scope):
    init_default_scope('mmpose')
    torch.manual_seed(0)
