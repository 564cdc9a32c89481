"""The Cityscapes configs read Cityscapes' own folder layout, shown on one shrunken frame."""

import numpy as np
import pytest
import toy_data
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

pytestmark = pytest.mark.needs('CITYSCAPES_ROOT')  # Cityscapes, or one frame in its layout


def test_validation_set_is_found_and_read():
    cfg = Config.fromfile(toy_data.REPO / 'configs/dsrl/pspnet_r101_cityscapes.py')
    init_default_scope('mmseg')
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    assert len(dataset) >= 1
    sample = dataset[0]
    assert sample['inputs'].shape == (3, 1024, 2048)
    label = sample['data_samples'].gt_sem_seg.data
    # Labels keep their original size; metrics compare at that size.
    assert label.shape[-2:] == sample['data_samples'].ori_shape
    assert set(np.unique(label)) <= {*range(19), 255}
