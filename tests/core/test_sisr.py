import pytest
import torch
from mmengine.model import Sequential
from torch import nn
from torch.nn.functional import interpolate

from dsrl_mm.core import SISRAuxHead

#: Read by heads with ``residual`` alone.
REDUCED = torch.zeros(1, 1, 1, 1)


def backbone_outputs(*shapes, batch=2):
    torch.manual_seed(0)
    return [torch.randn(batch, *shape) for shape in shapes]


def test_reads_the_last_stage_by_default():
    feats = backbone_outputs((4, 16, 16), (8, 4, 6))
    head = SISRAuxHead(in_channels=8, upscale_factor=8, channels=16)
    hidden, image = head(feats)
    assert hidden.shape == (2, 16, 4, 6)
    assert image.shape == (2, 3, 32, 48)
    hidden_of_others, _ = head([torch.zeros_like(feats[0]), feats[1]])
    torch.testing.assert_close(hidden_of_others, hidden)


def test_stages_meet_on_the_finest_grid():
    # Squeezing and adding is one 1x1 convolution on the concatenation of the enlarged maps.
    feats = backbone_outputs((4, 7, 5), (6, 4, 3), (8, 2, 2))
    head = SISRAuxHead(in_channels=(8, 4, 6), in_index=(2, 0, 1), upscale_factor=4, channels=16)
    merged = []
    head.merge.register_forward_pre_hook(lambda _, args: merged.append(args[0].clone()))
    hidden, image = head(feats)
    assert hidden.shape == (2, 16, 7, 5)
    assert image.shape == (2, 3, 28, 20)
    enlarged = torch.cat([interpolate(feats[i], (7, 5), mode='bilinear') for i in (2, 0, 1)], dim=1)
    weight = torch.cat([squeeze.weight for squeeze in head.squeeze], dim=1)
    torch.testing.assert_close(merged[0], nn.functional.conv2d(enlarged, weight), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    'arguments',
    [
        dict(in_channels=8, in_index=2),
        dict(in_channels=8, in_index=-3),
        dict(in_channels=4, in_index=1),
        dict(in_channels=(4, 9), in_index=(0, 1)),
    ],
)
def test_features_that_do_not_exist(arguments):
    head = SISRAuxHead(**arguments, upscale_factor=4)
    with pytest.raises(ValueError, match=r"2 feature maps of \[4, 8\] channels. Set sr_aux.head's in_index and in_ch"):
        head(backbone_outputs((4, 8, 8), (8, 4, 4)))


def test_channels_are_the_images():
    """One channel would train by broadcasting."""
    head = SISRAuxHead(in_channels=8, upscale_factor=4, out_channels=1)
    with pytest.raises(ValueError, match='=1, but the images have 3 channels. Set sr_aux.head.out_channels=3'):
        head.loss_by_feat(torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 8, 8))


def test_weights_are_checked():
    with pytest.raises(ValueError, match='SISRAuxHead: loss_weight must be a number of at least 0, got -1'):
        SISRAuxHead(in_channels=8, upscale_factor=4, loss_weight=-1)


@pytest.mark.parametrize('channels', [0, -8, 16.0, '16'])
def test_channels_are_checked(channels):
    with pytest.raises(ValueError, match=f'channels must be an integer of at least 1, got {channels!r}'):
        SISRAuxHead(in_channels=8, upscale_factor=4, channels=channels)


def test_two_convolutions_of_3x3_see_two_cells_around():
    head = SISRAuxHead(in_channels=8, upscale_factor=4).eval()
    (feat,) = backbone_outputs((8, 7, 9), batch=1)
    changed = feat.clone()
    changed[..., 3, 4] += 10
    differ = (head([changed])[1] != head([feat])[1]).any(1)[0].nonzero()
    assert (differ.amin(0).tolist(), differ.amax(0).tolist()) == ([4 * 1, 4 * 2], [4 * 6 - 1, 4 * 7 - 1])
    assert head.channels == 64


def test_indices_and_channels_must_pair():
    with pytest.raises(ValueError, match=r'in_channels=\(4, 8\) and in_index=-1 must be equally long'):
        SISRAuxHead(in_channels=(4, 8), upscale_factor=4)


def test_rebuilding_cuts_the_bottom_and_the_right():
    head = SISRAuxHead(in_channels=8, upscale_factor=4)
    image = torch.arange(64.0).view(1, 1, 8, 8)
    assert head.rebuild(image, REDUCED, (8, 8)).equal(image)
    assert head.rebuild(image, REDUCED, (5, 7)).equal(image[..., :5, :7])


def test_rebuilding_repeats_the_border_of_networks_that_round_down():
    head = SISRAuxHead(in_channels=8, upscale_factor=4)
    image = torch.arange(64.0).view(1, 1, 8, 8)
    rebuilt = head.rebuild(image, REDUCED, (9, 11))
    assert rebuilt[..., :8, :8].equal(image)
    assert rebuilt[0, 0, 8].tolist() == [*range(56, 64), 63, 63, 63]
    assert rebuilt[0, 0, :8, 10].tolist() == image[0, 0, :, 7].tolist()


@pytest.mark.parametrize('canvas', [(4, 8), (8, 4), (12, 8), (8, 12), (16, 16)])
def test_rebuilding_refuses_more_than_rounding(canvas):
    # A canvas of 5 to 8 pixels gives 2 cells of 4, so 8 pixels; one of 8 to 11 does in networks that round down.
    head = SISRAuxHead(in_channels=8, upscale_factor=4)
    with pytest.raises(ValueError, match='upscale_factor=4 makes') as error:
        head.rebuild(torch.zeros(1, 3, 8, 8), REDUCED, canvas)
    assert str(canvas) in str(error.value)


def test_loss_is_the_weighted_mean_square_by_hand():
    # Errors 2, 0, 0, 4 on the canvas: mean square (4 + 16) / 4 = 5. The last column lies outside the canvas.
    head = SISRAuxHead(in_channels=8, upscale_factor=4, out_channels=1, loss_weight=0.1)
    image = torch.tensor([[[[2.0, 1.0, 99.0], [1.0, 5.0, 99.0]]]])
    losses = head.loss_by_feat(image, REDUCED, torch.tensor([[[[0.0, 1.0], [1.0, 1.0]]]]))
    assert set(losses) == {'loss_sisr'}
    assert losses['loss_sisr'].item() == pytest.approx(0.5)


@pytest.mark.parametrize(('pixel_loss', 'expected'), [('torch.nn.L1Loss', 1.5), ('torch.nn.HuberLoss', 1.25)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_other_pixel_losses(pixel_loss, expected, dtype):
    # Errors 2, 0, 0, 4. L1: 6 / 4. Huber, linear beyond 1: (2 - 1/2 + 4 - 1/2) / 4.
    head = SISRAuxHead(8, 4, out_channels=1, loss_weight=1, pixel_loss=dict(type=pixel_loss))
    image = torch.tensor([[[[2.0, 1.0], [1.0, 5.0]]]], dtype=dtype, requires_grad=True)
    losses = head.loss_by_feat(image, REDUCED, torch.tensor([[[[0.0, 1.0], [1.0, 1.0]]]]))
    losses['loss_sisr'].backward()
    assert losses['loss_sisr'].item() == pytest.approx(expected)
    assert image.grad.tolist() == [[[[0.25, 0], [0, 0.25]]]]


def test_loss_is_in_float32_under_autocast():
    head = SISRAuxHead(in_channels=8, upscale_factor=4)
    target = torch.randn(2, 3, 16, 16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        image = head(backbone_outputs((8, 4, 4)))[1]
        loss = head.loss_by_feat(image, REDUCED, target)['loss_sisr']
    assert image.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, 0.1 * (image.float() - target).square().mean())


@pytest.mark.parametrize('canvas', [(16, 24), (15, 23)])
def test_residual_is_added_to_the_enlarged_image(canvas):
    head = SISRAuxHead(in_channels=8, upscale_factor=4, residual=True)
    torch.manual_seed(0)
    predicted, reduced, target = torch.randn(2, 3, 16, 24), torch.randn(2, 3, 8, 12), torch.randn(2, 3, *canvas)
    cut = (..., slice(canvas[0]), slice(canvas[1]))
    expected = predicted[cut] + interpolate(reduced, (16, 24), mode='bilinear')[cut]
    torch.testing.assert_close(head.rebuild(predicted, reduced, canvas), expected)
    loss = head.loss_by_feat(predicted, reduced, target)['loss_sisr']
    torch.testing.assert_close(loss, 0.1 * (expected - target).square().mean())


@pytest.mark.parametrize('init', [False, True])
def test_residual_starts_from_the_enlarged_image_and_learns(init):
    head = SISRAuxHead(in_channels=8, upscale_factor=4, residual=True)
    if init:  # by a model whose own init_cfg covers every convolution
        Sequential(head, init_cfg=dict(type='Kaiming', layer='Conv2d')).init_weights()
    torch.manual_seed(0)
    feats, reduced, target = backbone_outputs((8, 4, 6)), torch.randn(2, 3, 8, 12), torch.randn(2, 3, 16, 24)
    image = head(feats)[1]
    assert head.rebuild(image, reduced, (16, 24)).equal(interpolate(reduced, (16, 24), mode='bilinear'))
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        losses.append(head.loss_by_feat(head(feats)[1], reduced, target)['loss_sisr'])
        losses[-1].backward()
        optimizer.step()
    assert losses[0] > losses[1] > losses[2]
    assert all(p.grad.any() for p in head.parameters())
