from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from torch import nn
from toy import batch, build, head_cfg, losses, model_cfg, spread_weights

from dsrl_mm.engine.complexity import measure_complexity
from dsrl_mm.seg.networks.dabnet import DABModule, DABNet

CONFIG = Path(__file__).parents[3] / 'configs/_base_/models/dabnet.py'
BN, GN = dict(type='BN'), dict(type='GN', num_groups=1)
#: Outputs of 9, 15 and 27 channels.
SMALL = dict(type='DABNet', channels=(6, 6, 12), dilations=((2,), (1, 3)))
#: Of a canvas of 1024x2048, the network reads 512x1024.
CANVAS = (1024, 2048)


def paper_model() -> nn.Module:
    """The shipped config; operations are counted without any data."""
    with torch.device('meta'):
        return revert_sync_batchnorm(MODELS.build(Config.fromfile(CONFIG).model))


class TestCountsOfThePaper:
    @pytest.fixture(scope='class')
    def complexity(self):
        return measure_complexity(paper_model(), CANVAS)

    def test_parameters(self, complexity):
        # 0.76 M (abstract). The authors' classifier has no bias: https://github.com/Reagan1311/DABNet, model/DABNet.py.
        assert complexity.params == 756_643 + 19
        assert round(complexity.params / 1e6, 2) == 0.76

    def test_operations(self, complexity):
        # DSRL's paper prints 20.44 GFLOPs at 512x1024: two per multiply-add.
        assert round(complexity.flops / 1e9, 2) == 20.44

    def test_operations_line_by_line(self, complexity):
        def convs(stride: int, *weights: int) -> int:
            return 512 * 1024 // stride**2 * sum(weights)

        def module(c: int) -> int:
            h = c // 2
            return 9 * c * h + 2 * 2 * 3 * h + h * c

        macs = (
            convs(2, 9 * 3 * 32, 9 * 32 * 32, 9 * 32 * 32)
            + convs(4, 9 * 35 * (64 - 35), *[module(64)] * 3)
            + convs(8, 9 * 131 * 128, *[module(128)] * 6)
            + convs(8, 259 * 19)
        )
        assert complexity.macs == macs

    def test_normalization_and_activation_make_the_rest_of_the_published_multiply_adds(self):
        # 10.4 G is printed too: with one operation more for each value of a norm and of an activation.
        model, values = paper_model(), []
        for module in model.modules():
            if isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.PReLU)):
                module.register_forward_hook(lambda module, args, out: values.append(out.numel()))
        macs = measure_complexity(model, CANVAS).macs
        assert round(macs / 1e9, 2) == 10.22
        assert round((macs + sum(values)) / 1e9, 1) == 10.4

    def test_dilations(self):
        modules = [m for m in DABNet().modules() if isinstance(m, DABModule)]
        vertical, horizontal = zip(*[(m.context[0].dilation, m.context[2].dilation) for m in modules])
        assert vertical == horizontal == tuple((d, d) for d in (2, 2, 2, 4, 4, 8, 8, 16, 16))


def norm_prelu(x, pair):
    norm, act = pair
    mean, var, weight, bias, slope = (
        t.view(-1, 1, 1) for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias, act.weight)
    )
    x = (x - mean) / (var + norm.eps).sqrt() * weight + bias
    return x.clamp(min=0) + slope * x.clamp(max=0)


def depthwise(x, weight, dim, dilation):
    """Three taps along a dimension, ``dilation`` apart, with zeros outside: by shifting."""
    length = x.shape[dim]
    out = torch.zeros_like(x)
    for tap, offset in enumerate((-dilation, 0, dilation)):
        to = slice(max(0, -offset), min(length, length - offset))
        of = slice(max(0, offset), min(length, length + offset))
        taps = weight.flatten(1)[:, tap].view(-1, 1, 1)
        if dim == 2:
            out[:, :, to] += taps * x[:, :, of]
        else:
            out[..., to] += taps * x[..., of]
    return out


def plain_dab(module, x, dilation):
    """The paper's Sec. 3.1, step by step, without any of the module's own."""
    y = F.conv2d(norm_prelu(x, module.reduce[0]), module.reduce[1].weight, padding=1)
    y = norm_prelu(y, module.reduce[2])
    total = 0
    for branch, d in ((module.local, 1), (module.context, dilation)):
        z = norm_prelu(depthwise(y, branch[0].weight, 2, d), branch[1])
        total = total + norm_prelu(depthwise(z, branch[2].weight, 3, d), branch[3])
    total = norm_prelu(total, module.expand[0])
    return x + torch.einsum('oi,bihw->bohw', module.expand[1].weight[..., 0, 0], total)


class TestDABModule:
    @pytest.mark.parametrize('dilation', [1, 2, 4])
    def test_equals_the_plain_computation(self, dilation):
        module = spread_weights(DABModule(6, dilation).double()).eval()
        x = torch.randn(2, 6, 7, 9, dtype=torch.float64)
        with torch.no_grad():
            assert torch.allclose(module(x), plain_dab(module, x, dilation), atol=1e-12)

    def test_odd_channels_are_refused(self):
        with pytest.raises(ValueError, match='even, got 7'):
            DABModule(7)


class TestOutputs:
    @pytest.mark.parametrize('size', [(64, 96), (33, 47), (7, 9), (180, 241)])
    def test_shapes(self, size):
        outs = DABNet(channels=(4, 8, 16), dilations=((2,), (4,))).eval()(torch.randn(1, 3, *size))
        sides = [tuple(-(-side // stride) for side in size) for stride in (2, 4, 8)]
        assert [tuple(out.shape) for out in outs] == [(1, c, *s) for c, s in zip((7, 19, 35), sides)]

    def test_default_channels(self):
        assert [out.shape[1] for out in DABNet().eval()(torch.randn(1, 3, 16, 16))] == [35, 131, 259]

    def test_end_in_the_image_pooled_to_their_grids(self):
        # A fresh norm divides by sqrt(1 + eps), and PReLU keeps what is positive.
        image = torch.rand(1, 3, 33, 47)
        for out in DABNet(norm_cfg=dict(type='BN', eps=0.0)).eval()(image):
            image = F.avg_pool2d(image, 3, stride=2, padding=1)
            assert torch.allclose(out[:, -3:], image)

    def test_carry_what_enters_and_what_leaves_the_modules(self):
        net = build(dict(SMALL)).eval()
        x = torch.randn(1, 3, 32, 32)
        outs = list(net(x)[1:])
        for module in net.modules():
            if isinstance(module, DABModule):
                nn.init.zeros_(module.expand[1].weight)  # the residual
        for before, after, c in zip(outs, net(x)[1:], (6, 12)):
            assert torch.equal(after[:, :c], after[:, c : 2 * c])
            assert not torch.equal(before[:, :c], before[:, c : 2 * c])
        # The first stage's input is the same as before: it comes after what the modules made of it.
        assert torch.equal(outs[0][:, 6:], net(x)[1][:, 6:])

    def test_first_downsampling_pools_beside_its_convolution(self):
        first, second = DABNet().downsamplings
        x = torch.rand(1, 35, 6, 8)
        nn.init.zeros_(first.conv.weight)
        out = first.eval()(x)
        assert not out[:, :29].any()
        assert torch.allclose(out[:, 29:], F.max_pool2d(x, 2), atol=1e-3)
        assert second.conv.out_channels == 128 and second.pool is None

    def test_channels_and_dilations_that_do_not_fit_are_refused(self):
        with pytest.raises(ValueError, match='those of 2 stages'):
            DABNet(channels=(8, 16), dilations=((1,), (2,)))


class TestLayers:
    @pytest.mark.parametrize('norm_cfg', [BN, GN])
    def test_norm_is_the_one_asked_for(self, norm_cfg):
        names = {type(m).__name__ for m in build(dict(SMALL, norm_cfg=norm_cfg)).modules() if 'Norm' in str(type(m))}
        assert names == {dict(BN='BatchNorm2d', GN='GroupNorm')[norm_cfg['type']]}

    def test_activation_is_the_one_asked_for(self):
        net = build(dict(SMALL, act_cfg=dict(type='ReLU')))
        assert not any(isinstance(m, nn.PReLU) for m in net.modules())
        assert net(torch.randn(2, 3, 16, 16))[-1].min() == 0

    def test_group_norm_fits_every_layer(self):
        net = DABNet(norm_cfg=dict(type='GN', num_groups=16))
        norms = [module for module in net.modules() if isinstance(module, nn.GroupNorm)]
        assert {norm.num_groups for norm in norms} == {1, 16}
        assert all(norm.num_channels % norm.num_groups == 0 for norm in norms)

    def test_one_slope_can_be_shared(self):
        net = build(dict(SMALL, act_cfg=dict(type='PReLU', num_parameters=1)))
        assert {m.num_parameters for m in net.modules() if isinstance(m, nn.PReLU)} == {1}

    def test_slopes_can_be_exempt_from_weight_decay(self):
        net = build(dict(SMALL))
        paramwise = dict(custom_keys={'.act.': dict(decay_mult=0.0)})
        wrapper = build_optim_wrapper(
            net, dict(optimizer=dict(type='SGD', lr=0.1, weight_decay=1e-4), paramwise_cfg=paramwise)
        )
        spared = {id(p) for group in wrapper.param_groups if not group['weight_decay'] for p in group['params']}
        assert spared == {id(m.weight) for m in net.modules() if isinstance(m, nn.PReLU)}


class TestWeights:
    def test_start_as_the_authors_do(self):
        net = DABNet()
        net.init_weights()
        weight = net.blocks[1][0].reduce[1].weight
        assert weight.std().item() == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.02)

    def test_can_be_loaded(self, tmp_path):
        source = spread_weights(build(dict(SMALL)))
        torch.save(dict(state_dict=source.state_dict()), tmp_path / 'weights.pth')
        init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth'))
        net = build(dict(SMALL, init_cfg=init_cfg), seed=1)
        net.init_weights()
        assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), source.state_dict().values()))


def test_gradient_reaches_every_parameter_of_a_segmentor():
    head = head_cfg('FCNHead', GN, in_channels=27, channels=27, in_index=2, num_convs=0, concat_input=False)
    auxiliary = head_cfg('FCNHead', GN, in_channels=15, in_index=1)
    cfg = model_cfg(head=head, norm_cfg=GN, backbone=dict(SMALL, norm_cfg=GN), auxiliary_head=auxiliary)
    # The initial block has stride 2 on the reduced image, so 4 on the canvas.
    cfg['sr_aux']['head'].update(in_channels=(9, 27), in_index=(0, 2), upscale_factor=4)
    model = build(cfg)
    nn.init.normal_(model.decode_head.upsampler.predict.weight)  # starts at zero, and would pass nothing on
    sum(value for name, value in losses(model, batch((50, 71))).items() if 'loss' in name).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
