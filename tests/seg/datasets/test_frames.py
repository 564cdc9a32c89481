"""Low-resolution frames with high-resolution masks: the network reads exactly the frames."""

import cv2
import numpy as np
import pytest
import torch
import toy
from mmengine.dataset import Compose
from mmseg.registry import TRANSFORMS

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]


@pytest.fixture
def pair(tmp_path):
    """Return a function that writes a frame of 24x32 pixels and its mask: what a data set gives, and the frame."""

    def write(factor):
        rng = np.random.default_rng(factor)
        frame = rng.integers(256, size=(24, 32, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / 'frame.png'), frame)
        cv2.imwrite(str(tmp_path / 'mask.png'), rng.integers(5, size=(24 * factor, 32 * factor), dtype=np.uint8))
        paths = dict(img_path=str(tmp_path / 'frame.png'), seg_map_path=str(tmp_path / 'mask.png'))
        return paths | dict(seg_fields=[], reduce_zero_label=False), frame

    return write


def packed(info, factor, *steps):
    """The batch of one that a pipeline makes of a pair."""
    enlarge = dict(type='EnlargeFrame', scale_factor=factor)
    steps = [TRANSFORMS.build(step) for step in [*LOAD, enlarge, *steps, dict(type='PackSegInputs')]]
    result = Compose(steps)(info)
    return dict(inputs=[result['inputs']], data_samples=[result['data_samples']])


def read(model, data):
    """What the network reads, and the normalization of the images."""
    return model.network_input(model.data_preprocessor(data, False)['inputs'])[0]


def normalized(frame):
    """A frame (H, W, 3) in B G R as the preprocessor normalizes images."""
    image = torch.from_numpy(frame[..., ::-1].copy()).permute(2, 0, 1).float()
    mean, std = (torch.tensor(values)[:, None, None] for values in (toy.MEAN, toy.STD))
    return (image - mean) / std


@pytest.mark.parametrize('factor', [2, 3, 4])
def test_the_network_reads_the_frame(pair, factor):
    info, frame = pair(factor)
    model = toy.build(toy.model_cfg(dsrl=False, scale_factor=factor))
    data = packed(info, factor)
    tolerance = dict(rtol=0, atol=0) if factor == 2 else dict(rtol=1e-6, atol=1e-6)  # x + x + x rounds
    torch.testing.assert_close(read(model, data), normalized(frame), **tolerance)
    assert data['data_samples'][0].ori_shape == (24 * factor, 32 * factor)


def test_flipped_crops_are_parts_of_the_frame(pair):
    info, frame = pair(2)
    model = toy.build(toy.model_cfg(dsrl=False))
    steps = (
        dict(type='AlignedRandomCrop', crop_size=(20, 26), cat_max_ratio=0.75, scale_factor=2),
        dict(type='RandomFlip', prob=1.0),
    )
    windows = {}
    for top in range(24 - 10 + 1):
        for left in range(32 - 13 + 1):
            part = frame[top : top + 10, left : left + 13]
            windows[normalized(part[:, ::-1]).numpy().tobytes()] = (top, left)
    mask = cv2.imread(info['seg_map_path'], cv2.IMREAD_UNCHANGED)
    corners = set()
    for seed in range(30):
        np.random.seed(seed)
        data = packed(dict(info, seg_fields=[]), 2, *steps)
        top, left = windows[read(model, data).numpy().tobytes()]
        corners.add((top, left))
        label = mask[2 * top : 2 * top + 20, 2 * left : 2 * left + 26][:, ::-1]
        assert (data['data_samples'][0].gt_sem_seg.data[0].numpy() == label).all()
    assert len(corners) > 20
    assert {top for top, _ in corners} >= {0, 14}  # every window can be drawn, the last, too


def test_masks_of_other_sizes_are_refused(pair):
    info, _ = pair(2)
    with pytest.raises(ValueError, match=r'mask.png has \(48, 64\) pixels.*3 times its frame .*frame.png are \(72, 96'):
        packed(info, 3)


def test_gray_frames_without_masks():
    enlarge = TRANSFORMS.build(dict(type='EnlargeFrame', scale_factor=3))
    result = enlarge(dict(img=np.array([[1, 2]], np.uint8), img_shape=(1, 2), ori_shape=(1, 2)))
    assert result['img'].tolist() == [[1, 1, 1, 2, 2, 2]] * 3
    assert result['img_shape'] == result['ori_shape'] == (3, 6)
