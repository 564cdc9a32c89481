"""Keypoints through the stock pipeline, the codec on DSRL's grid, and back to the image.

Errors are in pixels of the high-resolution crop. What a codec cannot do exactly is said by name below.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import toy_pose
from mmengine.config import Config
from mmengine.structures import InstanceData
from mmpose.models.utils.tta import flip_heatmaps
from mmpose.registry import KEYPOINT_CODECS, TRANSFORMS
from mmpose.structures import PoseDataSample

CONFIGS = Path(__file__).parents[2] / 'configs' / 'dsrl'
KEYPOINTS = 17
FLIP_INDICES = [0, *(i + 1 if i % 2 else i - 1 for i in range(1, KEYPOINTS))]
IMAGE = (300, 400)


def codec_cfg(kind: str) -> dict:
    """The codec of a shipped config, or another kind on its grid."""
    cfg = dict(Config.fromfile(CONFIGS / 'hrnet_w32_coco_256x192.py').codec)
    if kind == 'UDP':
        cfg['type'] = 'UDPHeatmap'
    elif kind == 'MSRA, unbiased':
        cfg['unbiased'] = True
    return cfg


def crop(codec: dict, rng: np.random.Generator, flip: bool) -> dict:
    """One person through the stock transforms; boxes reach over the image's border."""
    corner = rng.uniform((-40, -40), (250, 180))
    box = np.concatenate([corner, corner + rng.uniform(40, 200, 2)])[None].astype(np.float32)
    keypoints = (
        box[:, None, :2] + rng.uniform(0, 1, (1, KEYPOINTS, 2)) * (box[:, None, 2:] - box[:, None, :2])
    ).astype(np.float32)
    results = dict(
        img=rng.integers(256, size=(*IMAGE, 3), dtype=np.uint8),
        img_shape=IMAGE,
        bbox=box,
        keypoints=keypoints,
        keypoints_visible=np.ones((1, KEYPOINTS), np.float32),
        flip_indices=FLIP_INDICES,
    )
    for transform in (
        dict(type='GetBBoxCenterScale'),
        dict(type='RandomFlip', direction='horizontal', prob=float(flip)),
        dict(type='TopdownAffine', input_size=codec['input_size'], use_udp=codec['type'] == 'UDPHeatmap'),
        dict(type='GenerateTarget', encoder=codec),
    ):
        results = TRANSFORMS.build(transform)(results)
    return results


def errors(kind: str, flip_test: bool) -> np.ndarray:
    """Distances in pixels of the crop, of 30 persons, every second one mirrored.

    With ``flip_test``, of a network without error: its heatmaps of the mirrored crop are those of mirrored keypoints.
    """
    cfg = codec_cfg(kind)
    codec, rng, found = KEYPOINT_CODECS.build(cfg), np.random.default_rng(0), []
    model = toy_pose.build(toy_pose.model_cfg())
    for i in range(30):
        results = crop(cfg, rng, flip=bool(i % 2))
        heatmaps = results['heatmaps']
        if flip_test:
            mirrored = results['transformed_keypoints'][:, FLIP_INDICES].copy()
            mirrored[..., 0] = cfg['input_size'][0] - 1 - mirrored[..., 0]
            seen = torch.from_numpy(codec.encode(mirrored, results['keypoints_visible'])['heatmaps'])[None]
            heatmaps = (heatmaps + flip_heatmaps(seen, FLIP_INDICES, shift_heatmap=kind != 'UDP')[0].numpy()) / 2
        keypoints, scores = codec.decode(heatmaps.copy())
        sample = PoseDataSample(metainfo={k: results[k] for k in ('input_size', 'input_center', 'input_scale')})
        sample.gt_instances = InstanceData(bboxes=results['bbox'], bbox_scores=np.ones(1))
        prediction = InstanceData(keypoints=keypoints, keypoint_scores=scores)
        (sample,) = model.add_pred_to_datasample([prediction], None, [sample])
        pixels = np.array(results['input_size']) / results['input_scale']
        found.append(np.linalg.norm((sample.pred_instances.keypoints - results['keypoints']) * pixels, axis=-1))
    return np.concatenate(found)


@pytest.mark.parametrize('kind', ['MSRA, unbiased', 'UDP'])
def test_decoded_keypoints_are_exact(kind):
    assert errors(kind, flip_test=False).max() < 0.05


def test_flip_test_is_exact_with_udp():
    assert errors('UDP', flip_test=True).max() < 0.05


def test_flip_test_with_msra_is_half_a_pixel_off():
    """A mirrored cell of 4 pixels lies 3/4 of a cell beside, and MMPose shifts by a whole one: on average 1/8 cell."""
    assert errors('MSRA, unbiased', flip_test=True) == pytest.approx(0.5, abs=0.05)


def test_plain_msra_is_good_to_half_a_cell():
    """It places keypoints a quarter beside the highest of cells of 4 pixels: at most half a cell off, on each axis."""
    found = errors('MSRA', flip_test=False)
    assert found.max() < np.hypot(2, 2)
    assert 1 < found.mean() < 2
