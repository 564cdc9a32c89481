import pytest
import torch
from torch import nn

from dsrl_mm.core import DeconvUpsampler, SubPixelUpsampler

STACKS = [DeconvUpsampler, SubPixelUpsampler]


@pytest.mark.parametrize(('factors', 'r'), [((2,), 2), ((2, 2), 4), ((3,), 3), ((2, 3), 6), ((4,), 4)])
@pytest.mark.parametrize(('height', 'width'), [(4, 6), (5, 3), (1, 1)])
def test_shapes(factors, r, height, width):
    x = torch.randn(2, 5, height, width)
    feat, out = DeconvUpsampler(5, 3, channels=8, factors=factors)(x)
    assert feat.shape == (2, 8, r * height, r * width)
    assert out.shape == (2, 3, r * height, r * width)
    feat, out = SubPixelUpsampler(5, 3, channels=8, factors=factors, kernel_size=3)(x)
    assert feat.shape == (2, 8, height, width)
    assert out.shape == (2, 3, r * height, r * width)


@pytest.mark.parametrize('stack', STACKS)
def test_features_are_the_last_before_the_prediction(stack):
    upsampler = stack(5, 3, channels=8, factors=(2, 2))
    assert (upsampler.channels, upsampler.factor) == (8, 4)
    feat, out = upsampler(torch.randn(2, 5, 4, 4))
    torch.testing.assert_close(upsampler.predict(feat), out)
    assert feat.min() == 0  # they come out of a ReLU


@pytest.mark.parametrize('stack', STACKS)
def test_zero_prediction_can_be_learned(stack):
    torch.manual_seed(0)
    upsampler = stack(5, 3, channels=8, factors=(2,))
    x = torch.randn(2, 5, 6, 6)
    assert upsampler(x)[1].abs().min() > 0
    upsampler.start_at_zero()
    for scale in (1, 1e3):
        assert not upsampler(scale * x)[1].any()

    optimizer = torch.optim.SGD(upsampler.parameters(), lr=0.1)
    target = torch.randn(2, 3, 12, 12)
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        losses.append(nn.functional.mse_loss(upsampler(x)[1], target))
        losses[-1].backward()
        optimizer.step()
    # In the first step only the prediction layer can learn; from the second, everything does.
    assert losses[1] < losses[0]
    assert [name for name, p in upsampler.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize('factor', [2, 3])
def test_sub_pixel_prediction_starts_without_checkerboard(factor):
    _, out = SubPixelUpsampler(4, 3, channels=8, factors=(factor,))(torch.randn(2, 4, 5, 6))
    blocks = nn.functional.pixel_unshuffle(out, factor).view(2, 3, factor**2, 5, 6)
    torch.testing.assert_close(blocks, blocks[:, :, :1].expand_as(blocks))
    assert out.std() > 0.01  # across blocks and channels it does differ
    assert not torch.allclose(out[:, 0], out[:, 1])


@pytest.mark.parametrize('factor', [2, 3, 4, 5])
def test_deconvolution_covers_every_pixel_equally(factor):
    upsampler = DeconvUpsampler(1, 1, channels=1, factors=(factor,))
    (deconv,) = (m for m in upsampler.modules() if isinstance(m, nn.ConvTranspose2d))
    nn.init.ones_(deconv.weight)
    covered = deconv(torch.ones(1, 1, 6, 7))
    assert covered.shape[-2:] == (6 * factor, 7 * factor)
    assert (covered[..., factor:-factor, factor:-factor] == 4).all()  # 2 x 2 inputs


def test_sub_pixel_order():
    # Output pixel (r y + i, r x + j) of channel k is what channel k r^2 + i r + j of the convolution gives at (y, x).
    upsampler = SubPixelUpsampler(4, 2, channels=4, factors=(3,))
    feat, out = upsampler(torch.randn(1, 4, 5, 6))
    convolved = upsampler.predict[0](feat)
    for k, i, j, y, x in [(0, 0, 0, 0, 0), (0, 2, 1, 4, 5), (1, 0, 2, 3, 1), (1, 2, 2, 2, 0)]:
        assert out[0, k, 3 * y + i, 3 * x + j] == convolved[0, 9 * k + 3 * i + j, y, x]


@pytest.mark.parametrize('stack', STACKS)
@pytest.mark.parametrize('factors', [(1,), (2, 1), (0,), ()])
def test_factor_that_enlarges_nothing(stack, factors):
    with pytest.raises(ValueError, match=f'{stack.__name__}: factors must be numbers of at least 2, one or more'):
        stack(5, 3, factors=factors)


@pytest.mark.parametrize('stack', STACKS)
def test_norm_cfg_reaches_every_layer(stack):
    upsampler = stack(5, 3, channels=8, norm_cfg=dict(type='GN', num_groups=2, requires_grad=False))
    norms = [m for m in upsampler.modules() if isinstance(m, nn.GroupNorm)]
    assert len(norms) == (2 if stack is DeconvUpsampler else 1)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in upsampler.modules())
    assert not any(p.requires_grad for norm in norms for p in norm.parameters())


@pytest.mark.parametrize(('factors', 'size'), [((2, 2), (8, 12)), ((2, 2), (7, 11)), ((2, 2), (5, 9)), ((3,), (4, 7))])
def test_skip_is_added_on_its_own_grid(factors, size):
    torch.manual_seed(0)
    upsampler = DeconvUpsampler(5, 3, channels=8, factors=factors, skip_channels=6).eval()
    x, early = torch.randn(2, 5, 2, 3), torch.randn(2, 6, *size)
    feat, out = upsampler(x, early)
    assert feat.shape == (2, 8, *size) and out.shape == (2, 3, *size)
    torch.testing.assert_close(upsampler.predict(feat), out)
    assert feat.min() == 0  # they come out of a ReLU
    nearby = early.clone()
    nearby[0, :, 0, 0] += 1
    changed = (upsampler(x, nearby)[0] != feat).any(1)
    assert changed[0, 0, 0] and changed.sum() == 1  # an edge stays where it is


@pytest.mark.parametrize('size', [(4, 12), (12, 12), (8, 8), (8, 16)])
def test_skip_whose_grid_differs_by_more_than_rounding_is_refused(size):
    # 4 times 2x3 is 8x12, and odd sides are rounded up by less than 4.
    upsampler = DeconvUpsampler(5, 3, channels=8, factors=(2, 2), skip_channels=6)
    with pytest.raises(ValueError, match=r'enlarge the features to \(8, 12\), but the early feature map is'):
        upsampler(torch.randn(2, 5, 2, 3), torch.randn(2, 6, *size))


def test_a_skip_of_nothing_is_the_stack_without():
    torch.manual_seed(0)
    upsampler, plain = (DeconvUpsampler(5, 3, channels=8, skip_channels=n).eval() for n in (6, None))
    plain.load_state_dict(upsampler.state_dict(), strict=False)
    x = torch.randn(2, 5, 4, 4)
    for got, expected in zip(upsampler(x, torch.zeros(2, 6, 8, 8)), plain(x)):
        torch.testing.assert_close(got, expected)
