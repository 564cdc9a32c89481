"""Preprocessor, transforms and schedule of PGNet."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.structures import PixelData
from mmseg.registry import TRANSFORMS
from PIL import Image
from toy import MEAN, STD, batch, build

from dsrl_mm.uhr import LoadMask, MultiScalePreProcessor, RampedCosineLR, RandomBorderCrop
from dsrl_mm.uhr.pgnet.preprocessor import _resize


def preprocessor(sizes, **overrides) -> MultiScalePreProcessor:
    return build(dict(type='MultiScalePreProcessor', sizes=sizes, mean=MEAN, std=STD, **overrides))


def two_sizes() -> dict:
    small, large = batch((24, 32), n=1, classes=2), batch((48, 40), n=1, classes=2)
    return {key: small[key] + large[key] for key in small}


def test_batches_have_one_of_the_sizes():
    prepare = preprocessor([16, 32, (24, 40)])
    seen = set()
    for _ in range(30):
        data = prepare(two_sizes(), True)
        size = tuple(data['inputs'].shape[-2:])
        assert all(sample.gt_sem_seg.shape == size == sample.img_shape for sample in data['data_samples'])
        assert all(set(sample.gt_sem_seg.data.unique().tolist()) <= {0, 1, 255} for sample in data['data_samples'])
        seen.add(size)
    assert seen == {(16, 16), (32, 32), (24, 40)}


def test_images_and_soft_masks_are_resized_bilinearly():
    """Twice the size of (0, 100): 0, 25, 75, 100 (half-pixel centers)."""
    data = batch((1, 2), n=1, classes=2)
    data['inputs'] = [torch.tensor([0, 100], dtype=torch.uint8).expand(3, 1, 2).clone()]
    data['data_samples'][0].gt_sem_seg = PixelData(data=torch.tensor([[[0, 1]]]))
    data['data_samples'][0].gt_depth_map = PixelData(data=torch.tensor([[[0.0, 1.0]]]))
    out = build(dict(type='MultiScalePreProcessor', sizes=[(1, 4)]))(data, True)
    sample = out['data_samples'][0]
    assert out['inputs'][0, 0, 0].tolist() == [0, 25, 75, 100]
    assert sample.gt_depth_map.data[0, 0].tolist() == [0, 0.25, 0.75, 1]
    assert sample.gt_sem_seg.data[0, 0].tolist() == [0, 0, 1, 1]
    assert _resize(torch.tensor([[[0, 1, 2, 3]]]), (1, 2)).tolist() == [[[1, 3]]]  # ids by the nearest centers


def test_evaluation_resizes_nothing():
    assert preprocessor([16])(batch((24, 32), n=1), False)['inputs'].shape[-2:] == (24, 32)


def test_training_batches_are_padded_to_the_stock_size():
    assert preprocessor([16], size=(32, 48))(batch((24, 32), n=1), True)['inputs'].shape[-2:] == (32, 48)


@pytest.mark.parametrize('sizes', [(), (0,), ((16, 16, 3),)])
def test_bad_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match='sizes lists sides in pixels'):
        preprocessor(sizes)


@pytest.fixture
def mask(tmp_path):
    def write(values) -> dict:
        path = str(tmp_path / 'mask.png')
        cv2.imwrite(path, np.array(values, np.uint8))
        return dict(seg_map_path=path, seg_fields=[], reduce_zero_label=False)

    return write


def test_grey_masks_become_ids(mask):
    results = LoadMask()(mask([[0, 127, 128, 255]]))
    assert results['gt_seg_map'].tolist() == [[0, 0, 1, 1]] and results['seg_fields'] == ['gt_seg_map']
    assert LoadMask()(mask([[0, 0]]))['gt_seg_map'].tolist() == [[0, 0]]  # no object


def test_masks_of_three_channels_are_read_as_grey(mask):
    assert LoadMask()(mask([[[0, 0, 0], [255, 255, 255]]]))['gt_seg_map'].tolist() == [[0, 1]]


def test_soft_masks_come_with_the_ids(mask):
    results = LoadMask(soft=True)(mask([[0, 51, 204]]))
    assert results['gt_seg_map'].tolist() == [[0, 0, 1]]
    np.testing.assert_allclose(results['gt_depth_map'], [[0, 0.2, 0.8]], rtol=1e-6)


def test_ids_are_merged_to_the_object(mask):
    results = LoadMask(object_ids=(1, 2))(mask([[0, 1, 2, 3, 255]]))
    assert results['gt_seg_map'].tolist() == [[0, 1, 1, 0, 255]]


def test_ids_of_a_palette_are_no_colors(mask):
    results = mask([[0]])
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), 'P')
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(results['seg_map_path'])
    assert LoadMask(object_ids=(1,))(results)['gt_seg_map'].tolist() == [[0, 1, 0]]


def test_images_without_a_mask_pass():
    assert LoadMask()(dict(seg_fields=[])) == dict(seg_fields=[])


def test_soft_masks_pass_stock_pipelines(mask):
    gray = np.zeros((24, 32), np.uint8)
    gray[:, 16:] = 204
    results = mask(gray) | dict(img=np.repeat(gray[..., None], 3, 2), img_shape=(24, 32), ori_shape=(24, 32))
    steps = [
        dict(type='LoadMask', soft=True),
        dict(type='Resize', scale=(64, 48), keep_ratio=False),
        dict(type='RandomBorderCrop'),
        dict(type='RandomFlip', prob=1.0),
        dict(type='PackSegInputs'),
    ]
    for step in steps:
        results = TRANSFORMS.build(step)(results)
    image, sample = results['inputs'], results['data_samples']
    # All three went the same way: bright pixels of the image are the object.
    torch.testing.assert_close(sample.gt_depth_map.data, (sample.gt_sem_seg.data == 1) * 0.8)
    assert ((image[:1] > 102) == (sample.gt_sem_seg.data == 1)).float().mean() > 0.98
    assert 0.4 < (sample.gt_sem_seg.data == 1).float().mean() < 0.6


def test_a_mask_of_ids_is_not_taken_for_grey(mask):
    with pytest.raises(ValueError, match=r'mask.png holds values 0 and 1.*object_ids=\(1,\)'):
        LoadMask()(mask([[0, 1]]))


def test_a_mask_of_another_size_is_refused(mask):
    with pytest.raises(ValueError, match=r'mask.png: a mask of shape \(1, 2\) for an image of \(4, 2\)'):
        LoadMask()(mask([[0, 255]]) | dict(ori_shape=(4, 2)))


def test_grey_values_of_ids_are_refused():
    with pytest.raises(ValueError, match='Leave out one of them'):
        LoadMask(object_ids=(1,), soft=True)


def test_crops_take_at_most_an_eighth():
    np.random.seed(0)
    image = np.arange(40 * 64).reshape(40, 64, 1)
    shapes, starts = set(), set()
    for _ in range(300):
        results = dict(img=image, gt_seg_map=image[..., 0], seg_fields=['gt_seg_map'])
        results = RandomBorderCrop()(results)
        np.testing.assert_array_equal(results['img'][..., 0], results['gt_seg_map'])
        assert results['img_shape'] == results['gt_seg_map'].shape
        shapes.add(results['img_shape'])
        starts.add(divmod(int(results['gt_seg_map'][0, 0]), 64))
    assert {h for h, _ in shapes} == set(range(35, 41)) and {w for _, w in shapes} == set(range(56, 65))
    assert max(starts)[0] == 5 and {0, 1} < {y for y, _ in starts}


@pytest.mark.parametrize('ratio', [-0.1, 1])
def test_bad_ratios_are_refused(ratio):
    with pytest.raises(ValueError, match=r'ratio is a part of the side, in \[0, 1\)'):
        RandomBorderCrop(ratio)


#: Shares of the peak after some of 32 epochs, worked out from the authors' formula.
SHARES = {0: 0.0, 4: 0.0366, 8: 0.25, 12: 0.6402, 16: 1.0, 20: 0.8536, 24: 0.5, 28: 0.1464}


@pytest.mark.parametrize(('epoch_length', 'begin'), [(1, 0), (10, 0), (10, 3)])
def test_learning_rate_of_32_epochs(epoch_length, begin):
    fast, slow = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    groups = [dict(params=[fast]), dict(params=[slow], lr=0.003)]
    optimizer = OptimWrapper(torch.optim.SGD(groups, lr=0.03))
    cfg = dict(type='RampedCosineLR', optimizer=optimizer, begin=begin, end=begin + 32)
    cfg |= dict(convert_to_iter_based=True, by_epoch=True)
    schedule = PARAM_SCHEDULERS.build(cfg | dict(epoch_length=epoch_length))
    assert isinstance(schedule, RampedCosineLR) and not schedule.by_epoch
    shares = []
    for _ in range((begin + 32) * epoch_length):
        shares.append(tuple(group['lr'] / peak for group, peak in zip(optimizer.param_groups, (0.03, 0.003))))
        optimizer.step()
        schedule.step()
    for epoch, share in SHARES.items():
        assert shares[(begin + epoch) * epoch_length] == pytest.approx((share, share), abs=1e-4)


@pytest.mark.parametrize('peak', [0, 1, 1.5])
def test_a_peak_outside_the_training_is_refused(peak):
    with pytest.raises(ValueError, match=f'between 0 and 1, got {peak}'):
        RampedCosineLR(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), peak=peak, end=10)
