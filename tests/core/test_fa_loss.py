"""FALoss and StructureDistillationLoss: what they compare, and against what they are held."""

from itertools import combinations

import pytest
import torch

from dsrl_mm.core import FALoss, StructureDistillationLoss
from dsrl_mm.core.fa_loss import common_positions

from .naive_affinity import features, loss_and_gradients, naive_affinity_loss, naive_structure_distance, positions


def test_loss_weight_name_and_guide():
    fa = FALoss(loss_weight=0.1, subsample=1, detach_guide=True, loss_name='loss_affinity')
    assert fa.loss_name == 'loss_affinity'
    seg, sr = features(2, 4, 5, 5), features(2, 4, 5, 5, seed=1)
    loss = fa(seg, sr)
    loss.backward()
    expected, gradient, guide = loss_and_gradients(lambda *feats: 0.1 * naive_affinity_loss(*feats), seg, sr)
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(seg.grad, gradient, rtol=1e-4, atol=1e-6)
    assert sr.grad is None
    FALoss(loss_weight=0.1, subsample=1)(seg, sr).backward()
    torch.testing.assert_close(sr.grad, guide, rtol=1e-4, atol=1e-6)


def test_defaults_are_the_papers():
    fa, structure = FALoss(), StructureDistillationLoss()
    assert (fa.loss_name, fa.loss_weight, fa.q, fa.subsample, fa.sampling) == ('loss_fa', 1.0, 1, 8, 'pool')
    assert (structure.loss_name, structure.loss_weight) == ('loss_structure', 1.0)


@pytest.mark.parametrize(
    ('arguments', 'named'),
    [
        (dict(q=3), 'q must be 1 or 2, got 3'),
        (dict(q=0), 'q must be'),
        (dict(subsample=0), 'subsample must be'),
        (dict(subsample=2.0), 'subsample must be'),
        (dict(subsample=True), 'subsample must be'),
        (dict(sampling='max'), 'sampling must be one of'),
    ],
)
def test_bad_arguments(arguments, named):
    with pytest.raises(ValueError, match=named):
        FALoss(**arguments)


@pytest.mark.parametrize('shapes', [((2, 3, 4, 4), (1, 3, 4, 4)), ((2, 3, 4), (2, 3, 4, 4)), ((2, 3, 4, 4), (2, 3, 4))])
def test_bad_features(shapes):
    with pytest.raises(ValueError, match=r'same images, got shapes \(2, 3, 4'):
        FALoss()(*(torch.ones(shape) for shape in shapes))


@pytest.mark.parametrize(
    ('seg_size', 'sr_size', 'subsample', 'grid'),
    [
        ((64, 128), (64, 128), 8, (8, 16)),
        ((64, 128), (32, 64), 8, (8, 16)),  # 8 of the finer map's
        ((64, 128), (4, 8), 8, (4, 8)),  # no finer than the coarser
        ((45, 61), (45, 61), 8, (6, 8)),  # rounded up: no border is dropped
        ((45, 61), (23, 31), 8, (6, 8)),
        ((7, 5), (7, 5), 1, (7, 5)),
        ((7, 5), (9, 11), 1, (7, 5)),
        ((3, 3), (5, 2), 8, (1, 1)),
    ],
)
def test_common_grid(seg_size, sr_size, subsample, grid):
    seg, sr = torch.ones(2, 3, *seg_size), torch.ones(2, 4, *sr_size)
    for sampling in ('pool', 'stride'):
        *feats, population = common_positions(seg, sr, subsample, sampling)
        assert [tuple(feat.shape) for feat in feats] == [(2, 3, *grid), (2, 4, *grid)]
        assert all((feat == 1).all() for feat in feats)
        assert population == grid[0] * grid[1]
    *feats, population = common_positions(seg, sr, subsample, 'random')
    count = max(grid[0] * grid[1], 2)
    assert [tuple(feat.shape) for feat in feats] == [(2, 3, 1, count), (2, 4, 1, count)]
    assert population == min(seg_size[0], sr_size[0]) * min(seg_size[1], sr_size[1])


def test_one_position_has_the_same_affinity_in_both_maps():
    assert FALoss()(features(2, 3, 4, 5), features(2, 3, 4, 5, seed=1)).abs() < 1e-6


def test_pooling_by_hand():
    # 3 columns on a grid of 2: columns 0 and 1, columns 1 and 2. Nothing is dropped.
    feat = torch.tensor([[1.0, 2.0, 6.0], [3.0, 4.0, 8.0]])[None, None]
    pooled, same, _ = common_positions(feat, torch.zeros(1, 1, 1, 2), 1, 'pool')
    torch.testing.assert_close(pooled, torch.tensor([[[[2.5, 5.0]]]]))
    assert same.shape == (1, 1, 1, 2)


def test_striding_by_hand():
    # 6 columns on a grid of 2: the middles of columns 0 to 2, and of 3 to 5.
    feat = torch.arange(6.0)[None, None, None]
    strided, _, _ = common_positions(feat, feat, 3, 'stride')
    torch.testing.assert_close(strided, torch.tensor([[[[1.0, 4.0]]]]))


def test_random_positions_are_the_same_in_both_maps_and_follow_the_seed():
    index = torch.arange(48.0).view(1, 1, 6, 8)
    torch.manual_seed(0)
    seg, sr, _ = common_positions(index, -index, 2, 'random')
    assert (seg == -sr).all()
    assert seg.unique().numel() == 12  # without repetition
    torch.manual_seed(0)
    assert (common_positions(index, index, 2, 'random')[0] == seg).all()
    torch.manual_seed(1)
    assert (common_positions(index, index, 2, 'random')[0] != seg).any()


@pytest.mark.parametrize('q', [1, 2])
@pytest.mark.parametrize('center', [False, True])
def test_random_positions_are_unbiased(monkeypatch, q, center):
    # Every pair of 6 positions, one with a vector shorter than eps, is equally likely.
    seg, sr = (features(2, c, 2, 3, seed=c, dtype=torch.float64, grad=False) for c in (3, 4))
    seg[..., -1, -1] = 2e-7
    fa, losses = FALoss(q=q, subsample=2, sampling='random', center=center), []
    for pair in combinations(range(6), 2):
        monkeypatch.setattr(torch, 'randperm', lambda *_, pair=pair, **__: torch.tensor(pair))
        losses.append(fa(seg, sr))
    torch.testing.assert_close(torch.stack(losses).mean(), FALoss(q=q, subsample=1, center=center)(seg, sr))


def test_random_sampling_of_all_positions_is_the_whole_loss():
    seg, sr = features(2, 3, 4, 5), features(2, 3, 4, 5, seed=1)
    torch.testing.assert_close(FALoss(subsample=1, sampling='random')(seg, sr), FALoss(subsample=1)(seg, sr))


def test_structure_distillation_by_hand():
    # Products: seg [[25, 24], [24, 25]], sr I. Differences 24 everywhere: sqrt(4 * 24^2) / 2 = 24.
    seg, sr = positions((3.0, 4.0), (4.0, 3.0)), positions((1.0, 0.0), (0.0, 1.0))
    assert StructureDistillationLoss(loss_weight=0.5)(seg, sr).item() == pytest.approx(12)


def test_structure_distillation_equals_its_definition():
    seg, sr = features(3, 5, 6, 7), features(3, 2, 6, 7, seed=1)
    expected = loss_and_gradients(naive_structure_distance, seg, sr)
    loss = StructureDistillationLoss()(seg, sr)
    loss.backward()
    for ours, naive in zip((loss.detach(), seg.grad), expected):
        torch.testing.assert_close(ours, naive, rtol=1e-4, atol=1e-6)
    assert sr.grad is None  # the guide


def test_structure_distillation_of_equal_features_is_zero_without_nan():
    feat = features(2, 4, 3, 3)
    loss = StructureDistillationLoss()(feat, feat.detach())
    loss.backward()
    assert loss < 1e-3
    assert torch.isfinite(feat.grad).all()


def test_centered_affinities_are_correlations():
    torch.manual_seed(0)
    seg, sr = 5 + torch.rand(2, 6, 3, 4), 2 + torch.rand(2, 4, 3, 4)
    seg[:, 0, 0] = 0  # a channel that is not active everywhere
    feats = [feat - feat.mean((2, 3), keepdim=True) for feat in (seg, sr)]
    loss = FALoss(subsample=1, center=True)
    torch.testing.assert_close(loss(seg, sr), FALoss(subsample=1)(*feats))
    # A common offset, which makes all cosines alike, changes nothing.
    torch.testing.assert_close(loss(seg + 100, sr), loss(seg, sr), rtol=1e-3, atol=1e-5)
    assert FALoss(subsample=1)(seg + 100, sr + 100) < 0.01 * loss(seg, sr)


def test_padding_is_not_part_of_the_mean():
    torch.manual_seed(0)
    seg, sr = torch.rand(1, 6, 4, 4), torch.rand(1, 4, 4, 4)
    seg[..., 2:], sr[..., 2:] = 0, 0
    loss = FALoss(subsample=1, center=True)
    # Half of the positions: a quarter of the pairs.
    torch.testing.assert_close(loss(seg, sr), loss(seg[..., :2], sr[..., :2]) / 4)
    assert loss(torch.zeros_like(seg), torch.zeros_like(sr)) == 0


class TestStructureDistillationPerChannel:
    def test_by_hand(self):
        # Channels divided by their norms over positions: (3, 4) / 5 and (4, 3) / 5, and the identity. Products: seg
        # [[1, 0.96], [0.96, 1]], sr I. Mean difference 0.96 / 2.
        seg, sr = positions((3.0, 4.0), (4.0, 3.0)), positions((2.0, 0.0), (0.0, 7.0))
        loss = StructureDistillationLoss(loss_weight=0.5, per_channel=True)
        assert loss(seg, sr).item() == pytest.approx(0.24)

    def test_equals_its_definition(self):
        seg, sr = features(3, 5, 6, 7), features(3, 2, 6, 7, seed=1)
        loss = StructureDistillationLoss(per_channel=True)(seg, sr)
        loss.backward()
        plain = seg.detach().double().requires_grad_()
        a, b = ((feat.flatten(2) / feat.flatten(2).norm(dim=2, keepdim=True)) for feat in (plain, sr.detach().double()))
        expected = (a.transpose(1, 2) @ a - b.transpose(1, 2) @ b).abs().mean()
        expected.backward()
        torch.testing.assert_close(loss.detach().double(), expected.detach(), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(seg.grad.double(), plain.grad, rtol=1e-3, atol=1e-6)
        assert sr.grad is None  # the guide
