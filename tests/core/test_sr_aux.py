import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from torch import nn

from dsrl_mm.core import Shared, SRAux, affinity_loss
from dsrl_mm.core.sr_aux import _blank

HEAD = dict(type='SISRAuxHead', in_channels=8, upscale_factor=4, channels=16)


def batch():
    """A run of the backbone, what an SSSR head gives (6 feature channels, 3 classes), and the canvas."""
    torch.manual_seed(0)
    feats = [torch.randn(2, 8, 4, 6)]
    made = torch.randn(2, 6, 8, 12), torch.randn(2, 3, 16, 24)
    return Shared(torch.zeros(2, 3, 8, 12), feats), made, torch.randn(2, 3, 16, 24)


def test_without_fa():
    shared, _, canvas = batch()
    aux = SRAux(HEAD)
    losses = aux.loss(shared, canvas)
    image = aux.head(shared.feats)[1]
    assert set(losses) == {'loss_sisr'}
    torch.testing.assert_close(losses['loss_sisr'], 0.1 * (image - canvas).square().mean())
    # No feature transform: its parameters would never learn, which distributed training refuses.
    assert all(name.startswith('head.') for name, _ in aux.named_parameters())


@pytest.mark.parametrize('fa_on', ['features', 'outputs'])
def test_what_fa_compares(fa_on):
    shared, made, canvas = batch()
    aux = SRAux(HEAD, fa=dict(type='FALoss', loss_weight=0.5, subsample=1), fa_on=fa_on, stack_channels=(6, 3))
    losses = aux.loss(shared, canvas, made)
    assert set(losses) == {'loss_sisr', 'loss_fa'}
    hidden, image = aux.head(shared.feats)
    if fa_on == 'features':
        # The segmentation features lie on a grid twice as fine as the SISR features'.
        expected = affinity_loss(nn.functional.avg_pool2d(aux.transform(made[0]), 2), hidden)
    else:
        expected = affinity_loss(aux.transform(made[1]), image)
    torch.testing.assert_close(losses['loss_fa'], 0.5 * expected)


def test_labels_as_the_guide():
    shared, made, canvas = batch()
    aux = SRAux(HEAD, fa=dict(type='FALoss', subsample=1), fa_on='labels', stack_channels=(6, 3), num_classes=3)
    classes = torch.arange(3).repeat_interleave(8).expand(2, 16, 24)  # upright bands, 4 columns of features each
    labels = list(classes.clone())
    alike = (classes[:, ::2, ::2].flatten(1)[:, :, None] == classes[:, ::2, ::2].flatten(1)[:, None]).float()
    feat = nn.functional.normalize(aux.transform(made[0]).flatten(2), dim=1)
    expected = (feat.mT @ feat - alike).abs().mean()
    torch.testing.assert_close(aux.loss(shared, canvas, made, labels=labels)['loss_fa'], expected)
    # Pairs with pixels that are not labeled neither cost nor teach anything.
    for label, void in zip(labels, (255, -1)):
        label[:, 16:] = void
    feat, alike = (x.unflatten(-1, (8, 12))[..., :8].flatten(-2) for x in (feat, alike))
    alike = alike.mT.unflatten(-1, (8, 12))[..., :8].flatten(-2)
    expected = (feat.mT @ feat - alike).abs().sum() / (2 * 96**2)
    torch.testing.assert_close(aux.loss(shared, canvas, made, labels=labels)['loss_fa'], expected)


def test_fa_leaves_out_padding():
    shared, made, canvas = batch()
    aux = SRAux(HEAD, fa=dict(type='FALoss', subsample=1), stack_channels=(6, 3))
    valid = torch.ones(2, 1, 16, 24)
    valid[..., 16:] = 0  # the right third: columns 4 and 5 of the common grid of 4x6
    transformed = aux.transform(made[0])
    loss = aux.loss(shared, canvas, made, valid)['loss_fa']
    hidden = aux.head(shared.feats)[0]
    inside = affinity_loss(nn.functional.avg_pool2d(transformed, 2)[..., :4], hidden[..., :4])
    # Pairs with padding add 0 to a mean over all pairs: (16 / 24)^2 of them are inside.
    torch.testing.assert_close(loss, inside * (2 / 3) ** 2)
    assert aux.loss(shared, canvas, made)['loss_fa'] > loss


def test_cells_of_which_more_than_half_is_image_count():
    valid = torch.arange(20).view(1, 1, 1, 20) % 4 < torch.arange(5).repeat_interleave(4)  # 0 to 4 of 4 pixels
    assert _blank(torch.ones(1, 2, 1, 5), valid.float()).tolist() == [[[[0, 0, 0, 1, 1]]] * 2]


def test_feature_transform():
    # Conv 1x1, batch norm, ReLU, on the segmentation side: whatever enters is normalized by channel.
    _, made, _ = batch()
    aux = SRAux(HEAD, fa=dict(type='FALoss'), stack_channels=(6, 3))
    transformed, shifted = aux.transform(made[0]), aux.transform(100 * made[0] + 7)
    assert transformed.shape == (2, 16, 8, 12)
    assert transformed.min() == 0
    torch.testing.assert_close(shifted, transformed, rtol=1e-3, atol=1e-3)


def test_the_affinity_loss_has_the_name_that_is_configured():
    shared, made, canvas = batch()
    aux = SRAux(HEAD, fa=dict(type='FALoss', loss_name='loss_pairs'), stack_channels=(6, 3))
    assert set(aux.loss(shared, canvas, made)) == {'loss_sisr', 'loss_pairs'}


def test_every_parameter_learns_and_so_do_both_branches():
    shared, made, canvas = batch()
    leaves = [shared.feats[0].requires_grad_(), made[0].requires_grad_()]
    aux = SRAux(HEAD, fa=dict(type='FALoss', subsample=1), stack_channels=(6, 3))
    sum(aux.loss(shared, canvas, made).values()).backward()
    assert [name for name, p in aux.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert all(leaf.grad.any() for leaf in leaves)


def test_labels_need_classes():
    with pytest.raises(ValueError, match="fa_on='labels' needs the class of every pixel"):
        SRAux(HEAD, fa=dict(type='FALoss'), fa_on='labels', stack_channels=(6, 3))


def test_rebuilds_the_canvas_from_a_run_of_the_backbone():
    shared, _, canvas = batch()
    aux = SRAux(dict(HEAD, residual=True)).eval()
    shared = shared._replace(image=torch.randn(2, 3, 8, 12))
    rebuilt = aux.rebuild(shared, canvas.shape[-2:])
    torch.testing.assert_close(aux.loss(shared, canvas)['loss_sisr'], 0.1 * (rebuilt - canvas).square().mean())
    # A residual of 0 until it is trained.
    assert torch.equal(rebuilt, nn.functional.interpolate(shared.image, (16, 24), mode='bilinear'))


def test_fa_needs_a_super_resolution_head():
    with pytest.raises(ValueError, match='plain head.*sr_aux.fa=None'):
        SRAux(HEAD, fa=dict(type='FALoss'))


def test_bad_fa_on():
    with pytest.raises(ValueError, match="fa_on must be 'features', 'outputs' or 'labels', got 'logits'"):
        SRAux(HEAD, fa_on='logits')


def test_sync_batch_norm_can_be_reverted_for_a_cpu():
    norm_cfg = dict(type='SyncBN', requires_grad=True)
    aux = SRAux(dict(HEAD, norm_cfg=norm_cfg), fa=dict(type='FALoss'), stack_channels=(6, 3), norm_cfg=norm_cfg)
    assert sum(isinstance(m, nn.SyncBatchNorm) for m in aux.modules()) == 3
    shared, made, canvas = batch()
    losses = revert_sync_batchnorm(aux).loss(shared, canvas, made)
    assert all(loss.isfinite() for loss in losses.values())
