"""MMPose's ways to use a model work on DSRL's: its API for scripts, its inferencer, its visualizer."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.runner import CheckpointLoader
from mmpose.apis import MMPoseInferencer, inference_topdown, init_model

CONFIG = Path(__file__).parents[2] / 'configs' / 'dsrl' / 'hrnet_narrow_coco_128x96.py'


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('model') / 'weights.pth'
    torch.save(dict(state_dict=init_model(str(CONFIG), device='cpu').state_dict(), meta={}), path)
    return path


@pytest.fixture(scope='module')
def image():
    return np.random.default_rng(0).integers(256, size=(120, 160, 3), dtype=np.uint8)


def test_predicts_in_the_pixels_of_the_image(checkpoint, image):
    model = init_model(str(CONFIG), str(checkpoint), device='cpu')
    boxes = np.array([[10, 20, 60, 110], [90, 5, 150, 100]], np.float32)
    for box, sample in zip(boxes, inference_topdown(model, image, boxes)):
        keypoints = sample.pred_instances.keypoints[0]
        assert keypoints.shape == (17, 2)
        # The crop has a fourth more than the box on each axis, and its aspect ratio.
        middle, reach = (box[:2] + box[2:]) / 2, 1.25 * np.ptp(box.reshape(2, 2), axis=0).max()
        assert (np.abs(keypoints - middle) <= reach / 2 + 2).all()


def test_inferencer_predicts_and_draws(checkpoint, image, tmp_path):
    cv2.imwrite(str(tmp_path / 'person.png'), image)
    inferencer = MMPoseInferencer(
        pose2d=str(CONFIG), pose2d_weights=str(checkpoint), det_model='whole_image', device='cpu'
    )
    (result,) = inferencer(str(tmp_path / 'person.png'), vis_out_dir=str(tmp_path / 'drawn'), kpt_thr=0.0)
    ((person,),) = result['predictions']
    assert np.shape(person['keypoints']) == (17, 2)
    drawn = cv2.imread(str(tmp_path / 'drawn' / 'person.png'))
    assert drawn.shape == image.shape and (drawn != image).any()


def test_checkpoints_with_the_data_sets_metas_load_without_a_warning(checkpoint, tmp_path, capfd):
    weights = torch.load(checkpoint, weights_only=True)
    dataset_meta = init_model(str(CONFIG), str(checkpoint), device='cpu').dataset_meta
    torch.save(dict(weights, meta=dict(dataset_meta=dataset_meta)), tmp_path / 'trained.pth')
    capfd.readouterr()
    loaded = CheckpointLoader.load_checkpoint(str(tmp_path / 'trained.pth'), map_location='cpu')['meta']['dataset_meta']
    assert 'safely' not in ''.join(capfd.readouterr())
    np.testing.assert_array_equal(loaded['keypoint_colors'], dataset_meta['keypoint_colors'])
