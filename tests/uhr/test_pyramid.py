import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dsrl_mm.uhr.pyramid import LaplacianPyramid, enlarge_by_two, high_frequencies, reduce_by_two

SIZES = [(16, 24), (15, 24), (13, 17), (6, 5)]
KERNEL = torch.tensor([1.0, 4, 6, 4, 1], dtype=torch.float64) / 16


def image(*size):
    return torch.randn(2, 3, *size, dtype=torch.float64)


def blur(x, gain=1):
    """A plain 5x5 convolution of each channel, the border reflected."""
    kernel = (gain * torch.outer(KERNEL, KERNEL)).expand(x.shape[1], 1, 5, 5)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode='reflect'), kernel, groups=x.shape[1])


@pytest.mark.parametrize('size', SIZES)
def test_reduction_is_a_blur_and_every_second_pixel(size):
    x = image(*size)
    assert torch.allclose(reduce_by_two(x), blur(x)[..., ::2, ::2], atol=1e-12)


@pytest.mark.parametrize('size', SIZES)
def test_enlargement_is_a_blur_of_inserted_zeros(size):
    x = image(*[-(-side // 2) for side in size])
    zeros = torch.zeros(2, 3, *[2 * side for side in x.shape[-2:]], dtype=x.dtype)
    zeros[..., ::2, ::2] = x
    assert torch.allclose(enlarge_by_two(x, size), blur(zeros, gain=4)[..., : size[0], : size[1]], atol=1e-12)


def test_by_hand():
    # A row: 0 0 16 0 0 0 reduces to (16, 6 * 16, 16) / 16 ... reflected at the ends; the other axis is constant.
    row = torch.tensor([0.0, 0, 16, 0, 0, 0]).expand(1, 1, 4, 6)
    # Samples 0, 2, 4: taps (2, 1, 0, 1, 2), (0, 1, 2, 3, 4), (2, 3, 4, 5, 4).
    assert reduce_by_two(row)[0, 0].tolist() == [[2, 6, 1]] * 2
    small = torch.tensor([8.0, 0, 0]).expand(1, 1, 2, 3)
    # Even samples (1, 6, 1) / 8 of neighbors, odd ones their mean; the neighbor before the first is the second.
    assert enlarge_by_two(small, (4, 6))[0, 0].tolist() == [[6, 4, 1, 0, 0, 0]] * 4


@pytest.mark.parametrize('size', SIZES)
def test_every_level_is_reduced_and_every_residual_is_what_that_loses(size):
    x = image(*size)
    residuals, lows = LaplacianPyramid(2)(x)
    assert len(residuals) == 2 and len(lows) == 3 and lows[0] is x
    for residual, fine, coarse in zip(residuals, lows, lows[1:]):
        assert torch.equal(coarse, reduce_by_two(fine))
        assert torch.equal(residual, fine - enlarge_by_two(coarse, fine.shape[-2:]))


def test_high_frequencies_begin_with_the_finest_level():
    fine, coarse = image(8, 12), image(4, 6)
    joined = high_frequencies([fine, coarse])
    assert joined.shape == (2, 6, 8, 12)
    assert torch.equal(joined[:, :3], fine)
    # In the middle of four coarse pixels, bilinear weights of (1, 3, 3, 9) / 16.
    a, b, c, d = (coarse[:, :, y, x] for y in (1, 2) for x in (2, 3))
    assert torch.allclose(joined[:, 3:, 3, 5], (9 * a + 3 * b + 3 * c + d) / 16)


def test_autocast_does_not_round_residuals():
    x = image(16, 16).float()
    expected = LaplacianPyramid()(x)[0]
    with torch.autocast('cpu', torch.bfloat16):
        got = LaplacianPyramid()(x)[0]
    assert len(got) == 2 and all(torch.equal(a, b) for a, b in zip(got, expected))


def test_has_no_weights():
    assert not LaplacianPyramid().state_dict() and not list(LaplacianPyramid().parameters())


@pytest.mark.parametrize('levels', [-1, 1.0, True])
def test_levels_are_checked(levels):
    with pytest.raises(ValueError, match='levels must be an integer of at least 0'):
        LaplacianPyramid(levels)


def test_without_levels_nothing_is_split():
    x = image(3, 3)
    residuals, lows = LaplacianPyramid(0)(x)
    assert residuals == [] and len(lows) == 1 and np.shares_memory(lows[0].numpy(), x.numpy())
