import pytest
import torch
import torch.nn.functional as F
from torch import nn
from toy import spread_weights

from dsrl_mm.uhr import RelationAwareFusion

GN = dict(type='GN', num_groups=1)


def fusion(*args, **kwargs):
    return spread_weights(RelationAwareFusion(*args, **kwargs)).eval()


def count(shallow_channels):
    with torch.device('meta'):
        return sum(p.numel() for p in RelationAwareFusion(shallow_channels).parameters())


def test_parameters_are_those_of_the_authors_code():
    # Per fusion, with C = 128: four 3x3 convolutions of C channels, one of the shallow channels, two 1x1 convolutions,
    # each with batch norm; two times two linear layers; two scales.
    by_hand = [
        9 * 128 * (shallow + 4 * 128) - 9 * 128 * 128 + 4 * 256 + 2 * (128 * 128 + 256)
        + 2 * (256 * 128 + 128 + 128 * 128 + 128) + 2
        for shallow in (256, 512)
    ]  # fmt: skip
    assert [count(256), count(512)] == by_hand == [870_402, 1_165_314]


def identity(conv: nn.Conv2d) -> None:
    """Make a convolution pass its first channels on."""
    nn.init.zeros_(conv.weight)
    middle = conv.kernel_size[0] // 2
    for i in range(conv.out_channels):
        conv.weight.data[i, i % conv.in_channels, middle, middle] = 1


def transparent(**kwargs):
    """A fusion of 4 channels in 2 groups whose convolutions pass their inputs on and whose norms do nothing."""
    module = RelationAwareFusion(4, channels=4, groups=2, norm_cfg=dict(type='BN', eps=0), **kwargs).eval()
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            identity(layer)
    return module


class TestByHand:
    S, C = torch.tensor([1.0, 2, 3, 4]), torch.tensor([4.0, 3, 2, 1])

    def run(self, module):
        maps = [values.view(1, 4, 1, 1).expand(1, 4, *size) for values, size in ((self.S, (4, 4)), (self.C, (2, 2)))]
        with torch.no_grad():
            deep, fused = module(*maps)
        # Everything is constant over the image.
        assert all(torch.allclose(out, out[..., :1, :1].expand_as(out)) for out in (deep, fused))
        assert deep.shape == fused.shape == (1, 4, 4, 4)
        return deep[0, :, 0, 0], fused[0, :, 0, 0]

    def test_add(self):
        deep, fused = self.run(transparent(channel_weights=False, relations=()))
        assert torch.equal(deep, self.C) and torch.equal(fused, torch.full((4,), 5.0))

    def test_cat(self):
        # The convolution after the concatenation passes the first half on: the shallow features.
        _, fused = self.run(transparent(channel_weights=False, relations=(), merge='cat'))
        assert torch.equal(fused, self.S)

    def test_channel_weights(self):
        deep, fused = self.run(transparent(relations=()))
        torch.testing.assert_close(deep, self.C * self.C.sigmoid())
        torch.testing.assert_close(fused, self.S * self.S.sigmoid() + self.C * self.C.sigmoid())

    def test_relations_start_at_the_channel_weights(self):
        torch.testing.assert_close(self.run(transparent())[1], self.run(transparent(relations=()))[1])

    @pytest.mark.parametrize('branches', [('shallow',), ('deep',), ('shallow', 'deep')])
    def test_relations(self, branches):
        module = transparent(relations=branches)
        # Groups (1, 2), (3, 4) and (4, 3), (2, 1): their products 1*4+2*3, 1*2+2*1, 3*4+4*3, 3*2+4*1 are 10, 4, 24, 10.
        for gate in module.gates:
            if gate.relate is not None:
                for linear, bias in ((gate.relate[0], 0.0), (gate.relate[2], -5.0)):
                    linear.weight.data, linear.bias.data = torch.eye(4), torch.full((4,), bias)
                nn.init.constant_(gate.scale, -0.1)
        related = torch.tensor([5.0, 0, 19, 5])  # less 5, and a ReLU
        s, c = self.S * self.S.sigmoid(), self.C * self.C.sigmoid()
        if 'shallow' in branches:
            s = self.S * (self.S - 0.1 * related).sigmoid()
        if 'deep' in branches:
            c = self.C * (self.C - 0.1 * related).sigmoid()
        torch.testing.assert_close(self.run(module)[1], s + c)


def test_equals_the_steps_of_the_paper():
    module = fusion(6, channels=8, groups=4)
    for gate in module.gates:
        nn.init.constant_(gate.scale, 0.3)
    shallow, deep = torch.randn(2, 6, 6, 8), torch.randn(2, 8, 3, 4)
    with torch.no_grad():
        s, c = module.shallow(shallow), module.deep(deep)
        a = [gate.describe(F.adaptive_avg_pool2d(x, 1)).flatten(1) for gate, x in zip(module.gates, (s, c))]
        products = torch.stack([(a[0][:, 2 * i : 2 * i + 2] * a[1][:, 2 * j : 2 * j + 2]).sum(1)
                                for i in range(4) for j in range(4)], 1)  # fmt: skip
        weights = [torch.sigmoid(x + 0.3 * gate.relate(products)) for x, gate in zip(a, module.gates)]
        c = F.interpolate(c * weights[1][..., None, None], (6, 8), mode='bilinear')
        c = module.enlarged(c)
        expected = module.fused(s * weights[0][..., None, None] + c)
        got = module(shallow, deep)
    torch.testing.assert_close(got[0], c)
    torch.testing.assert_close(got[1], expected)
    assert got[0].min() == 0 and expected.min() < 0  # a ReLU, and none


class TestBatchOfOne:
    def test_batch_norm_of_pooled_features_needs_two_images(self):
        module = RelationAwareFusion(4, channels=4, groups=2)
        with pytest.raises(ValueError, match='more than 1 value per channel'):
            module(torch.randn(1, 4, 4, 4), torch.randn(1, 4, 2, 2))

    def test_another_norm_takes_one(self):
        module = RelationAwareFusion(4, channels=4, groups=2, pool_norm_cfg=GN)
        norms = [type(gate.describe.norm).__name__ for gate in module.gates]
        assert norms == ['GroupNorm'] * 2 and isinstance(module.fused.norm, nn.BatchNorm2d)
        module(torch.randn(1, 4, 4, 4), torch.randn(1, 4, 2, 2))[1].sum().backward()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(groups=3), 'groups=3 must divide channels=128'),
        (dict(groups=-2), 'groups=-2 must divide'),
        (dict(merge='mul'), "merge must be 'add' or 'cat', got 'mul'"),
        (dict(relations='deep'), "relations are of 'shallow' and 'deep', got 'deep'"),
        (dict(relations=('light',)), "relations are of 'shallow' and 'deep'"),
        (dict(channel_weights=False), r'set relations=\(\), too'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        RelationAwareFusion(256, **options)
