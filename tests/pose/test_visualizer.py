"""Predicted keypoints beside the true ones."""

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from mmpose.structures import PoseDataSample

from dsrl_mm.pose import GroundTruthVisualizer


@pytest.fixture
def visualizer():
    init_default_scope('mmpose')
    visualizer = GroundTruthVisualizer(radius=2)
    visualizer.set_dataset_meta(dict(skeleton_links=[], keypoint_colors=np.array([[255, 0, 0]])))
    return visualizer


def sample(true=None, predicted=(30, 20)) -> PoseDataSample:
    sample = PoseDataSample(gt_instances=InstanceData(bboxes=np.array([[5.0, 5.0, 35.0, 35.0]])))
    if true:
        sample.gt_instances.keypoints = np.array([[true]], np.float32)
        sample.gt_instances.keypoints_visible = np.ones((1, 1), np.float32)
    sample.pred_instances = InstanceData(
        keypoints=np.array([[predicted]], np.float32), keypoint_scores=np.ones((1, 1)), bboxes=np.zeros((1, 4))
    )
    return sample


def test_truth_is_on_the_left_and_the_prediction_on_the_right(visualizer):
    drawn = visualizer.add_datasample('', np.zeros((40, 40, 3), np.uint8), sample(true=(10, 15)), draw_gt=False)
    assert drawn.shape == (40, 80, 3)
    assert drawn[15, 10].any() and drawn[20, 40 + 30].any()
    assert not drawn[20, 30].any() and not drawn[15, 40 + 10].any()


def test_pictures_without_truth_are_the_stock_ones(visualizer):
    drawn = visualizer.add_datasample('', np.zeros((40, 40, 3), np.uint8), sample(), draw_gt=False)
    assert drawn.shape == (40, 40, 3) and drawn[20, 30].any()


def test_zeros_in_the_place_of_the_truth_are_none(visualizer):
    detected = sample(true=(1, 1))
    detected.gt_instances.keypoints *= 0
    drawn = visualizer.add_datasample('', np.zeros((40, 40, 3), np.uint8), detected, draw_gt=False)
    assert drawn.shape == (40, 40, 3)
