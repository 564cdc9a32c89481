import pytest
import torch

from dsrl_mm.core import area_downsample, check_scale_factor, nearest_downsample, pad_to_multiple
from dsrl_mm.core.resample import check_weight


@pytest.mark.parametrize('scale_factor', [2, 3, 8])
def test_good_scale_factors(scale_factor):
    assert check_scale_factor(scale_factor) == scale_factor


@pytest.mark.parametrize('scale_factor', [1, 0, -2, 2.0, 1.5, True, '2', None])
def test_bad_scale_factors(scale_factor):
    with pytest.raises(ValueError, match=f'at least 2, got {scale_factor!r}'):
        check_scale_factor(scale_factor)


def test_the_least_scale_factor_may_be_1():
    assert check_scale_factor(1, least=1) == 1
    for other in (0, True):
        with pytest.raises(ValueError, match=f'at least 1, got {other}'):
            check_scale_factor(other, least=1)


def test_good_weights():
    assert [check_weight('Loss', weight) for weight in (0, 0.5, 3)] == [0, 0.5, 3]


@pytest.mark.parametrize('weight', [-1, '0.1', True, float('nan'), float('inf'), None])
def test_bad_weights(weight):
    with pytest.raises(ValueError, match=f'Loss: loss_weight must be a number of at least 0, got {weight!r}'):
        check_weight('Loss', weight)


def test_pad_repeats_the_bottom_and_right_border():
    x = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    assert pad_to_multiple(x, 2).tolist() == [[[[1, 2, 3, 3], [1, 2, 3, 3]]]]
    assert pad_to_multiple(x, 4).tolist() == [[[[1, 2, 3, 3]] * 4]]


def test_pad_with_a_constant():
    labels = torch.tensor([[[[1, 2, 3]]]], dtype=torch.uint8)
    padded = pad_to_multiple(labels, 2, 255)
    assert padded.dtype == torch.uint8
    assert padded.tolist() == [[[[1, 2, 3, 255], [255] * 4]]]
    assert pad_to_multiple(labels, 2, 0).tolist() == [[[[1, 2, 3, 0], [0] * 4]]]


def test_pad_leaves_a_divisible_size_alone():
    x = torch.randn(1, 2, 4, 6)
    assert pad_to_multiple(x, 2) is x
    assert pad_to_multiple(x, 1, 0) is x


@pytest.mark.parametrize(('multiple', 'size'), [(2, (6, 8)), (3, (6, 9)), (16, (16, 16)), (5, (5, 10)), (7, (7, 7))])
def test_padded_sizes(multiple, size):
    padded = pad_to_multiple(torch.randn(2, 3, 5, 7), multiple)
    assert padded.shape == (2, 3, *size)


def test_area_average_by_hand():
    x = torch.tensor([[[[1.0, 3.0, 0.0, 4.0], [5.0, 7.0, 0.0, 0.0]]]])
    assert area_downsample(x, 2).tolist() == [[[[4.0, 1.0]]]]


def test_area_average_of_rows_and_columns():
    # Means of 3 x 3 blocks of 10 y + x.
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(9.0), indexing='ij')
    assert area_downsample((10 * y + x)[None, None], 3).tolist() == [[[[11, 14, 17], [41, 44, 47]]]]


def test_nearest_takes_the_middle_of_each_block():
    labels = torch.arange(36).view(1, 6, 6)
    assert nearest_downsample(labels, 2).tolist() == [[[7, 9, 11], [19, 21, 23], [31, 33, 35]]]
    assert nearest_downsample(labels, 3).tolist() == [[[7, 10], [25, 28]]]


def test_constant_image_stays_constant_whatever_its_size():
    x = torch.full((1, 3, 5, 7), 0.3)
    torch.testing.assert_close(area_downsample(pad_to_multiple(x, 4), 4), torch.full((1, 3, 2, 2), 0.3))
