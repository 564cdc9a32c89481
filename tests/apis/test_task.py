"""Which task answers for a config, and what a segmentation user has to install for it."""

import pytest
from mmengine.config import Config

from dsrl_mm.apis import task_of
from dsrl_mm.seg.task import SegTask


@pytest.mark.parametrize('scope', [dict(default_scope='mmseg'), {}])
def test_segmentation(scope):
    assert isinstance(task_of(Config(scope)), SegTask)


def test_other_scopes_are_refused():
    with pytest.raises(ValueError, match="default_scope is 'mmdet', but dsrl_mm is for 'mmseg' and 'mmpose'. Set it"):
        task_of(Config(dict(default_scope='mmdet')))
