"""Every test starts from the same random state, in MMSegmentation's scope."""

import pytest
import torch
from mmengine.registry import init_default_scope

import dsrl_mm.seg  # noqa: F401  (first of all: it stands in for compiled parts that mmseg imports)

# Fixtures of whole modules are made before those of single tests.
init_default_scope('mmseg')


@pytest.fixture(autouse=True)
def _same_start():
    init_default_scope('mmseg')
    torch.manual_seed(0)
