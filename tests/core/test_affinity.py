"""FA against hand-worked numbers, and against the naive N x N formula of the paper."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from dsrl_mm.core import FALoss, affinity, affinity_loss

from .naive_affinity import features, loss_and_gradients, naive_affinities, naive_affinity_loss, positions


# Two positions. seg: (3, 4), (4, 3); sr: (1, 0), (0, 1).
# S^seg = [[1, .96], [.96, 1]], S^sr = I, |D| = [[0, .96], [.96, 0]].
#   q = 1: 2 * .96 / 4 = .48;  q = 2: 2 * .96^2 / 4 = .4608.
@pytest.mark.parametrize(('q', 'expected'), [(1, 0.48), (2, 0.4608)])
def test_two_positions_by_hand(q, expected):
    seg, sr = positions((3.0, 4.0), (4.0, 3.0)), positions((1.0, 0.0), (0.0, 1.0))
    assert affinity_loss(seg, sr, q).item() == pytest.approx(expected, rel=1e-5)


def test_gradient_by_hand():
    # seg: (1, 0) and (cos t, sin t) = (.6, .8); sr: orthogonal. L = 2 cos t / 4, dL/dt = -sin t / 2 = -.4, and t grows
    # along (-sin t, cos t) = (-.8, .6): the gradient at the second position is (.32, -.24); at the first, along which
    # t shrinks in (0, 1): (0, .4).
    seg, sr = positions((1.0, 0.0), (0.6, 0.8)).requires_grad_(), positions((1.0, 0.0), (0.0, 1.0))
    affinity_loss(seg, sr).backward()
    torch.testing.assert_close(seg.grad, positions((0.0, 0.4), (0.32, -0.24)))


@pytest.mark.parametrize('q', [1, 2])
@pytest.mark.parametrize(
    ('batch', 'seg_channels', 'sr_channels', 'height', 'width', 'tile'),
    [(1, 4, 4, 6, 8, 512), (2, 7, 3, 5, 9, 512), (8, 3, 5, 7, 3, 4), (1, 16, 1, 11, 1, 3), (2, 2, 6, 4, 4, 16)],
)
def test_equals_naive(monkeypatch, q, batch, seg_channels, sr_channels, height, width, tile):
    monkeypatch.setattr(affinity, 'tile_side', lambda device: tile)
    feats = features(batch, seg_channels, height, width), features(batch, sr_channels, height, width, seed=1)
    expected = loss_and_gradients(partial(naive_affinity_loss, q=q), *feats)
    got = loss_and_gradients(partial(affinity_loss, q=q), *feats)
    torch.testing.assert_close(got[0], expected[0], rtol=1e-5, atol=0)
    for gradient, naive in zip(got[1:], expected[1:]):
        torch.testing.assert_close(gradient, naive, rtol=1e-4, atol=1e-6)
    # Where nothing needs a gradient the sum is formed in another way.
    without_graph = affinity_loss(*(feat.detach() for feat in feats), q)
    torch.testing.assert_close(without_graph, expected[0], rtol=1e-5, atol=0)


@pytest.mark.parametrize('cache', [2**19, 2**20, 2**21, None])
def test_tiles_fill_the_cache(monkeypatch, cache):
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: dict(l2_cache_size=cache), raising=False)
    affinity._cpu_tile_side.cache_clear()
    side = affinity.tile_side(torch.device('cpu'))
    affinity._cpu_tile_side.cache_clear()
    assert 0.7 < 4 * side**2 / (cache or 2**20) <= 1
    assert side & (side - 1)  # no power of two


@pytest.mark.parametrize('q', [1, 2])
def test_gradcheck(monkeypatch, q):
    monkeypatch.setattr(affinity, 'tile_side', lambda device: 5)
    seg, sr = features(2, 3, 3, 4, dtype=torch.float64), features(2, 4, 3, 4, seed=1, dtype=torch.float64)
    # |D| has a kink at 0: no pair may be near it. Each position's pair with itself is there always, since
    # D_ii = 1 - 1; but it stays there whatever the features are, so what it adds is along them and is projected out.
    difference = naive_affinities(seg) - naive_affinities(sr) + torch.eye(12)
    assert difference.abs().min() > 1e-4
    assert torch.autograd.gradcheck(partial(affinity_loss, q=q), (seg, sr))
    assert torch.autograd.gradcheck(lambda seg: affinity_loss(seg, sr.detach(), q), (seg,))
    assert torch.autograd.gradcheck(lambda sr: affinity_loss(seg.detach(), sr, q), (sr,))


@pytest.mark.parametrize('q', [1, 2])
def test_equal_features_cost_nothing(q):
    feat = features(2, 8, 9, 7)
    loss, gradient = loss_and_gradients(lambda feat: affinity_loss(feat, feat.detach(), q=q), feat)
    assert abs(loss) < 1e-7
    # For q = 1 this is the kink: rounding decides the signs, and the mean of all pairs keeps what they add small.
    assert gradient.abs().max() < (1e-2 if q == 1 else 1e-7)


def test_small_differences_keep_their_precision():
    # Near the optimum both sums are differences of large numbers.
    feat = features(1, 16, 16, 16, dtype=torch.float64, grad=False)
    near = feat + 1e-3 * features(1, 16, 16, 16, seed=1, dtype=torch.float64, grad=False)
    for q in (1, 2):
        loss = affinity_loss(feat.float().requires_grad_(), near.float(), q=q)
        assert loss.item() == pytest.approx(naive_affinity_loss(feat, near, q=q).item(), rel=1e-3)


@pytest.mark.parametrize(
    ('seg', 'expected'),
    [
        # (0, 0), (1, 0) against two equal vectors: S^seg = [[0, 0], [0, 1]], S^sr = 1 everywhere.
        (((0.0, 0.0), (1.0, 0.0)), {1: 3 / 4, 2: 3 / 4}),
        # A tenth of eps becomes a vector of length 0.1: |D| = [[.99, .9], [.9, 0]].
        (((1e-7, 0.0), (1.0, 0.0)), {1: 2.79 / 4, 2: (0.99**2 + 2 * 0.9**2) / 4}),
    ],
)
@pytest.mark.parametrize('q', [1, 2])
def test_zero_and_tiny_vectors(seg, expected, q):
    seg, sr = positions(*seg).requires_grad_(), positions((1.0, 0.0), (1.0, 0.0)).requires_grad_()
    loss, *gradients = loss_and_gradients(partial(affinity_loss, q=q), seg, sr)
    assert loss.item() == pytest.approx(expected[q], rel=1e-5)
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(
    'layout',
    [
        lambda feat: feat.contiguous(memory_format=torch.channels_last),
        lambda feat: feat.transpose(2, 3).contiguous().transpose(2, 3),
        lambda feat: torch.cat([feat, feat], dim=3)[..., : feat.shape[3]],
        lambda feat: feat.repeat_interleave(2, dim=1)[:, ::2],
    ],
)
def test_memory_layout_changes_nothing(layout):
    feats = features(2, 4, 6, 5), features(2, 3, 6, 5, seed=1)
    assert not layout(feats[0]).is_contiguous()
    expected = loss_and_gradients(affinity_loss, *feats)
    got = loss_and_gradients(lambda *feats: affinity_loss(*map(layout, feats)), *feats)
    for value, reference in zip(got, expected):
        torch.testing.assert_close(value, reference)


class LargestTensor(TorchDispatchMode):
    """Records the most elements of any tensor that an operator returns."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.numel = max(self.numel, *(t.numel() for t in tree_leaves(out) if isinstance(t, torch.Tensor)), 0)
        return out


@pytest.mark.parametrize('q', [1, 2])
@pytest.mark.parametrize('grad', [True, False])
def test_nothing_as_large_as_the_pairs_exists(monkeypatch, q, grad):
    monkeypatch.setattr(affinity, 'tile_side', lambda device: 64)
    feats = features(2, 4, 32, 40, grad=grad), features(2, 6, 32, 40, seed=1, grad=grad)
    with LargestTensor() as largest:
        loss = affinity_loss(*feats, q=q)
        if grad:
            loss.backward()
    assert 0 < largest.numel <= 2 * (4 + 6) * 1280  # of 2 * 1280^2 pairs


def test_only_what_learns_is_paid_for(monkeypatch):
    # 12 positions in tiles of 6: a triangle of 3 tile pairs, D of width 4 + 2 for each. R takes one product on the
    # diagonal (2 pairs) and two off it (1 pair), of the width of what learns.
    monkeypatch.setattr(affinity, 'tile_side', lambda device: 6)
    multiply_adds = []

    def counted(x, y):
        multiply_adds.append(len(x) * len(y) * x.shape[1])
        return x @ y.T

    monkeypatch.setattr(affinity, 'matrix_product', counted)
    for learns, width in (((True, True), 6), ((True, False), 4), ((False, True), 2), ((False, False), 0)):
        feats = [features(1, channels, 3, 4, seed=channels, grad=grad) for channels, grad in zip((4, 2), learns)]
        multiply_adds.clear()
        affinity_loss(*feats)
        assert sum(multiply_adds) == 6 * 6 * (3 * 6 + 4 * width)


@pytest.mark.skipif(not affinity._has_onednn(torch.ones(1)), reason='this PyTorch has no oneDNN')
def test_products_are_the_same_with_onednn_and_without(monkeypatch):
    x, y = torch.randn(2, 70, 33, generator=torch.Generator().manual_seed(0))
    for left, right in ((x, y), (x[::2], y[:5]), (x.T, y.T), (x[:, 3:7], y[:, 3:7])):
        torch.testing.assert_close(affinity.matrix_product(left, right), left @ right.T, rtol=1e-5, atol=1e-5)
    seg, sr = features(1, 4, 9, 9), features(1, 6, 9, 9, seed=1)
    with_onednn = loss_and_gradients(affinity_loss, seg, sr)
    monkeypatch.setattr(affinity, '_has_onednn', lambda x: False)
    for got, expected in zip(with_onednn, loss_and_gradients(affinity_loss, seg, sr)):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize('other', [(2, 3, 4, 5), (3, 3, 4, 4), (2, 3, 2, 8)])
def test_refuses_features_of_other_positions_or_images(other):
    with pytest.raises(ValueError, match='same positions of the same images'):
        affinity_loss(torch.ones(2, 3, 4, 4), torch.ones(other))


def test_onednn_can_be_switched_off():
    with torch.backends.mkldnn.flags(enabled=False):
        assert not affinity._has_onednn(torch.ones(1))


def test_no_graph_when_nothing_requires_grad():
    feats = features(1, 4, 5, 5), features(1, 4, 5, 5, seed=1)
    for q in (1, 2):
        assert not affinity_loss(*(feat.detach() for feat in feats), q=q).requires_grad
        with torch.no_grad():
            assert not affinity_loss(*feats, q=q).requires_grad


def test_backward_twice_through_a_retained_graph():
    seg, sr = features(1, 4, 5, 6), features(1, 3, 5, 6, seed=1)
    loss = affinity_loss(seg, sr)
    loss.backward(retain_graph=True)
    first = seg.grad.clone()
    (2 * loss).backward()
    torch.testing.assert_close(seg.grad, 3 * first)


def test_second_derivative_is_refused_rather_than_wrong():
    seg, sr = features(1, 4, 5, 6), features(1, 3, 5, 6, seed=1)
    with pytest.raises(RuntimeError, match='only once'):
        torch.autograd.grad(affinity_loss(seg, sr), seg, create_graph=True)


def test_second_derivative_for_q_2():
    feats = features(1, 2, 2, 3, dtype=torch.float64), features(1, 3, 2, 3, seed=1, dtype=torch.float64)
    assert torch.autograd.gradgradcheck(partial(affinity_loss, q=2), feats)


@pytest.mark.parametrize('q', [1, 2])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(monkeypatch, q, dtype):
    # oneDNN's product is the same under autocast; torch's is not.
    monkeypatch.setattr(affinity, '_has_onednn', lambda x: False)
    # float16 holds 10 bits: sums of 400 x 400 cosines in it would be off by percents, or infinite.
    fa = FALoss(q=q, subsample=1)
    seg, sr = features(2, 8, 20, 20, grad=False).to(dtype), features(2, 8, 20, 20, seed=1, grad=False).to(dtype)
    expected = loss_and_gradients(fa, seg.float().requires_grad_(), sr.float().requires_grad_())
    seg.requires_grad_()
    sr.requires_grad_()
    with torch.autocast('cpu', dtype=dtype):
        loss, *gradients = loss_and_gradients(fa, seg, sr)
        plain = affinity_loss(seg.detach().float(), sr.detach().float(), q=q)
        pooled = FALoss(q=q, subsample=4)(seg, sr)
    assert loss.dtype == plain.dtype == torch.float32
    torch.testing.assert_close(loss, expected[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(plain, expected[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(pooled, FALoss(q=q, subsample=4)(seg.float(), sr.float()), rtol=1e-6, atol=0)
    for gradient, reference in zip(gradients, expected[1:]):
        assert gradient.dtype == dtype
        torch.testing.assert_close(gradient, reference.to(dtype))


def test_mixed_dtypes():
    seg, sr = features(1, 4, 8, 8, grad=False).half(), features(1, 4, 8, 8, seed=1, dtype=torch.float64, grad=False)
    loss = FALoss(subsample=2)(seg, sr)
    assert loss.dtype == torch.float64
    torch.testing.assert_close(loss, FALoss(subsample=2)(seg.double(), sr))


def test_compile_and_gradient_checkpointing_give_the_same_gradients():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.seg, self.sr, self.fa = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 5, 1), FALoss(subsample=2)

        def forward(self, x):
            return self.fa(self.seg(x), self.sr(x)) * 2

    torch.manual_seed(0)
    model, x = Branches(), torch.randn(2, 3, 8, 8)
    calls = {
        'plain': model,
        'compiled': torch.compile(model, backend='eager'),
        'reentrant': partial(checkpoint, model, use_reentrant=True),
        'checkpointed': partial(checkpoint, model, use_reentrant=False),
    }
    results = {}
    for name, call in calls.items():
        model.zero_grad()
        loss = call(x.clone().requires_grad_())
        loss.backward()
        results[name] = [loss.detach(), *(p.grad.clone() for p in model.parameters())]
    assert results['plain'][1].abs().max() > 1e-3
    for name in ('compiled', 'reentrant', 'checkpointed'):
        torch.testing.assert_close(results[name], results['plain'], msg=name)


def test_compilers_see_no_loop_over_tiles(monkeypatch):
    monkeypatch.setattr(affinity, 'tile_side', lambda device: 4)
    monkeypatch.setattr(affinity, '_has_onednn', lambda x: False)  # compilers do not look into this query
    nodes = []

    def count(graph, _):
        nodes.extend(node for part in graph.modules() for node in getattr(getattr(part, 'graph', None), 'nodes', []))
        return graph

    feats = features(1, 3, 8, 8), features(1, 3, 8, 8, seed=1)
    loss = torch.compile(FALoss(subsample=1), backend=count)(*feats)
    torch.testing.assert_close(loss, naive_affinity_loss(*feats))
    assert 0 < len(nodes) < 100  # of 136 tiles
