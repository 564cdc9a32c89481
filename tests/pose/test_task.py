"""Pose estimation's part of the commands; its files are tested with the commands."""

import pytest
from mmengine.config import Config
from toy_pose import CANVAS, model_cfg

from dsrl_mm.apis import task_of
from dsrl_mm.pose.task import PoseTask

TASK = PoseTask()
POSES = Config(dict(default_scope='mmpose', test_evaluator=dict(type='PCKAccuracy'), default_hooks=dict()))


def test_it_is_chosen_by_the_scope():
    assert isinstance(task_of(POSES), PoseTask)


@pytest.mark.parametrize(
    ('model', 'factor'),
    [(model_cfg(), 2), (model_cfg(scale_factor=4), 4), (model_cfg(False, type='TopdownPoseEstimator'), 1)],
)
def test_network_input(model, factor):
    assert TASK.network_input(Config(dict(model=model))) == (3, CANVAS[1] // factor, CANVAS[0] // factor)


@pytest.mark.parametrize(
    ('ask', 'message'),
    [
        (lambda: TASK.use_tta(POSES), '--tta is for segmentation, .*flip_test'),
        (lambda: TASK.use_sr_metrics(POSES), '--sr-metrics is for segmentation, .*reconstruct'),
        (lambda: TASK.deploy_config(POSES, True), '--low-res-input is for segmentation, .*reduces the crops'),
        (lambda: TASK.keep_predictions(POSES, 'out'), '--out: a CocoMetric writes the keypoints, .*has none'),
        (lambda: TASK.draw_predictions(POSES, True, None, 1), r'visualization=dict\(type="PoseVisualizationHook"\)'),
    ],
)
def test_requests_that_poses_cannot_fulfil_are_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()
