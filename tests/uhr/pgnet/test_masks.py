"""Masks of a batch, by hand."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from dsrl_mm.uhr.pgnet.masks import mask_of

IDS, SOFT = [0, 1, 255, 2], [0.25, 0.75, 0.5, 1.0]


def sample(soft: bool) -> SegDataSample:
    made = SegDataSample(gt_sem_seg=PixelData(data=torch.tensor([[IDS]])))
    if soft:
        made.gt_depth_map = PixelData(data=torch.tensor([[SOFT]]))
    return made


@pytest.mark.parametrize(
    ('soft', 'ignore_index', 'masks', 'valid'),
    [
        ((False, False), 255, [[0, 1, 0, 0]] * 2, [1, 1, 0, 1]),
        ((True, True), 255, [[0.25, 0.75, 0, 1]] * 2, [1, 1, 0, 1]),
        ((True, True), None, [SOFT] * 2, [1, 1, 1, 1]),
        ((True, False), 255, [[0, 1, 0, 0]] * 2, [1, 1, 0, 1]),  # not all are soft
    ],
)
def test_masks_and_where_they_are_labeled(soft, ignore_index, masks, valid):
    found = mask_of([sample(each) for each in soft], ignore_index)
    assert [part[:, 0, 0].tolist() for part in found] == [masks, [valid] * 2]
    assert all(part.shape == (2, 1, 1, 4) and part.dtype == torch.float for part in found)
