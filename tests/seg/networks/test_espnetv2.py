from functools import cache
from math import ceil, floor
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmseg.registry import MODELS
from torch import nn
from toy import NUM_CLASSES, batch, build, losses, model_cfg, spread_weights

from dsrl_mm.engine.complexity import measure_complexity
from dsrl_mm.seg.conversion import build_for_shapes
from dsrl_mm.seg.networks.espnetv2 import EESP, EESPUnit, ESPNetv2, StridedEESPUnit, conv_norm_act
from dsrl_mm.seg.networks.espnetv2_head import EfficientPyramidPool, ESPNetv2Head

BN, GN, PRELU = dict(type='BN'), dict(type='GN', num_groups=8), dict(type='PReLU')


def level_channels(width):
    return [min(32, int(32 * width)), *(int(32 * width) * 2**level for level in range(1, 5))]


def head_cfg(width, channels=4, num_classes=NUM_CLASSES, **overrides):
    cfg = dict(type='ESPNetv2Head', in_channels=level_channels(width)[:4], channels=channels, num_classes=num_classes)
    return cfg | dict(dropout_ratio=0) | overrides


def network_cfg(dsrl=False, width=0.5, norm_cfg=BN, act_cfg=PRELU, **head_overrides):
    """A segmentor of the smallest width, or its DSRL twin."""
    head = head_cfg(width, norm_cfg=norm_cfg, act_cfg=act_cfg, **head_overrides)
    backbone = dict(type='ESPNetv2', widen_factor=width, norm_cfg=norm_cfg, act_cfg=act_cfg)
    cfg = model_cfg(dsrl=dsrl, head=head, backbone=backbone)
    if dsrl:
        cfg['sr_aux']['head'].update(in_channels=(16, 128), upscale_factor=4)
    return cfg


class Classifier(nn.Module):
    """The paper's ImageNet network, for its counts alone."""

    def __init__(self, width):
        super().__init__()
        channels, hidden = level_channels(width)[-1], 1024 if width <= 1.5 else 1280
        self.backbone = ESPNetv2(width, out_indices=(4,))
        self.expand = nn.Sequential(
            conv_norm_act(channels, channels, 3, BN, PRELU, groups=channels),
            conv_norm_act(channels, hidden, 1, BN, PRELU, groups=4),
        )
        self.classifier = nn.Linear(hidden, 1000)

    def forward(self, x, data_samples=None, mode='tensor'):
        return self.classifier(self.expand(self.backbone(x)[0]).mean((2, 3)))


def counts(width):
    with torch.device('meta'):
        return measure_complexity(Classifier(width), (224, 224))


@cache
def segmentor(channels, classes):
    """The authors' network, for its counts alone."""
    return build_for_shapes(ConfigDict(network_cfg(width=2.0, channels=channels, num_classes=classes)), 'meta')


def unused_parameters(channels):
    """What the authors' modules hold, but never run: a PReLU in each strided unit, and level 4's reinforcement."""
    slopes = channels[-1] - channels[0]  # the sum of what each strided unit adds
    # 3x3 and 1x1 convolutions with batch norm, the first with PReLU.
    reinforcement = 3 * 3 * 9 + 3 * 2 + 3 + 3 * channels[4] + 2 * channels[4] if len(channels) == 5 else 0
    return slopes + reinforcement


def truncated(number):
    return floor(number * 100) / 100


class TestCounts:
    # Of https://github.com/sacmehta/ESPNetv2/tree/master/imagenet, in millions, not rounded but cut off.
    @pytest.mark.parametrize(
        ('width', 'macs', 'params'),
        [
            (0.5, 28.37, 1.24),
            (2.0, 284.80, 3.49),
        ],
    )
    def test_of_the_imagenet_networks(self, width, macs, params):
        counted = counts(width)
        in_linear_layer = 1000 * (1024 if width <= 1.5 else 1280)  # the authors count convolutions alone
        assert truncated((counted.macs - in_linear_layer) / 1e6) == macs
        assert truncated((counted.params + unused_parameters(level_channels(width))) / 1e6) == params
        assert counted.params / 1e6 == pytest.approx(params, rel=0.002)

    def test_of_the_paper_s_sixth_imagenet_network(self):
        # The paper has 224 M multiply-adds between those of widths 1.5 and 2.0.
        counted = counts(1.75)
        assert round((counted.macs - 1000 * 1280) / 1e6) == 224

    # Of https://github.com/sacmehta/EdgeNets/tree/master/model/segmentation/model_zoo; the paper rounds them to 2.70 G
    # and 0.76 G. The authors' Cityscapes has 20 classes.
    @pytest.mark.parametrize(
        ('classes', 'channels', 'size', 'macs'),
        [
            (20, 10, (512, 1024), 2699.05),
            (21, 10, (384, 384), 759.52),
        ],
    )
    def test_of_the_segmentation_networks(self, classes, channels, size, macs):
        counted = measure_complexity(segmentor(channels, classes), tuple(2 * side for side in size))
        # The authors count half a multiply-add for the addition of a bias.
        biases = classes * size[0] // 2 * size[1] // 2
        assert round((counted.macs + biases / 2) / 1e6, 2) == macs
        assert round((counted.params + unused_parameters(level_channels(2.0)[:4])) / 1e6, 2) == 0.79
        assert round(counted.params / 1e6, 2) == 0.79

    def test_of_the_dsrl_paper(self):
        # CamVid's, at 368x480; of a head for 20 classes.
        counted = measure_complexity(segmentor(10, 20), (2 * 368, 2 * 480))
        assert round((counted.flops + 20 * 184 * 240) / 1e9, 2) == 1.82

    def test_of_the_shipped_base(self):
        root = Path(__file__).parents[3]
        cfg = Config.fromfile(root / 'configs/_base_/models/espnetv2.py').model
        counted = measure_complexity(build_for_shapes(cfg, 'meta'), (1024, 2048))
        assert counted.flops / 1e9 == pytest.approx(5.40, rel=0.006)


def plain_conv(x, conv):
    """A convolution as the sum over taps of shifted images, one group after the other."""
    dilation, stride, (_, _, kernel, _) = conv.dilation[0], conv.stride[0], conv.weight.shape
    reach = dilation * (kernel // 2)
    height, width = x.shape[2:]
    padded = nn.functional.pad(x, (reach,) * 4)
    outs = []
    for weight, part in zip(conv.weight.chunk(conv.groups), padded.chunk(conv.groups, dim=1)):
        out = 0
        for i in range(kernel):
            for j in range(kernel):
                shifted = part[:, :, i * dilation : i * dilation + height, j * dilation : j * dilation + width]
                out = out + torch.einsum('oc,nchw->nohw', weight[:, :, i, j], shifted[:, :, ::stride, ::stride])
        outs.append(out)
    return torch.cat(outs, dim=1)


def plain_norm(x, norm):
    mean, var, weight, bias = (
        t.view(1, -1, 1, 1) for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (x - mean) / (var + norm.eps).sqrt() * weight + bias


def plain_prelu(x, act):
    return torch.where(x > 0, x, act.weight.view(1, -1, 1, 1) * x)


def plain_eesp(x, eesp):
    """Fig. 1c: reduce, transform, fuse hierarchically, concatenate, expand."""
    x = plain_prelu(plain_norm(plain_conv(x, eesp.reduce.conv), eesp.reduce.bn), eesp.reduce.activate)
    y = [plain_conv(x, conv) for conv in eesp.branches]
    fused = torch.cat([y[0], y[0] + y[1], y[0] + y[1] + y[2], y[0] + y[1] + y[2] + y[3]], dim=1)
    fused = plain_prelu(plain_norm(fused, eesp.norm_act[0]), eesp.norm_act[1])
    return plain_norm(plain_conv(fused, eesp.expand.conv), eesp.expand.bn)


class TestUnits:
    @torch.no_grad()
    @pytest.mark.parametrize('dilations', [(1, 2, 3, 4), (1, 1, 2, 3)])
    def test_eesp_unit_is_the_papers(self, dilations):
        unit = spread_weights(EESPUnit(32, dilations, BN, PRELU)).eval()
        x = torch.randn(2, 32, 7, 10)
        torch.testing.assert_close(unit(x), plain_prelu(plain_eesp(x, unit.eesp) + x, unit.act))

    @torch.no_grad()
    @pytest.mark.parametrize('size', [(8, 12), (7, 9)])
    def test_strided_unit_is_the_papers(self, size):
        unit = spread_weights(StridedEESPUnit(16, 32, (1, 2, 3, 4), 3, BN, PRELU)).eval()
        x, image = torch.randn(2, 16, *size), torch.randn(2, 3, *(ceil(side / 2) for side in size))
        mean = nn.Conv2d(16, 16, 3, stride=2, groups=16)
        mean.weight.fill_(1 / 9)
        first, second = unit.reinforce
        shortcut = plain_prelu(plain_norm(plain_conv(image, first.conv), first.bn), first.activate)
        shortcut = plain_norm(plain_conv(shortcut, second.conv), second.bn)
        expected = torch.cat([plain_conv(x, mean), plain_eesp(x, unit.eesp)], dim=1) + shortcut
        torch.testing.assert_close(unit(x, image), plain_prelu(expected, unit.act))

    def test_eesp_needs_groups_that_divide(self):
        with pytest.raises(ValueError, match='divisible by groups'):
            EESP(16, 24, (1, 2, 3, 4), BN, PRELU)


class TestBackbone:
    @pytest.mark.parametrize('width', [0.5, 2.0])
    def test_strides_and_channels(self, width):
        with torch.device('meta'):
            outs = ESPNetv2(width, out_indices=range(5))(torch.zeros(2, 3, 64, 96))
        assert [out.shape for out in outs] == [
            (2, channels, 32 >> level, 48 >> level) for level, channels in enumerate(level_channels(width))
        ]

    @pytest.mark.parametrize('size', [(65, 97), (37, 50), (31, 33)])
    def test_sides_are_halved_and_rounded_up(self, size):
        outs = ESPNetv2(0.5).eval()(torch.zeros(1, 3, *size))
        for level, out in enumerate(outs, 1):
            assert out.shape[2:] == tuple(ceil(side / 2**level) for side in size)

    def test_kernels_are_smaller_the_coarser_the_level(self):
        def dilations(limit):
            # Of kernels of 3, 5, 7 and 9 pixels; those that exceed the limit become 3x3.
            return sorted((side if side <= limit else 3) // 2 for side in (3, 5, 7, 9))

        def of(unit):
            return [conv.dilation[0] for conv in unit.eesp.branches]

        levels = ESPNetv2(0.5, out_indices=(4,)).levels
        assert [of(level.down) for level in levels] == [dilations(limit) for limit in (13, 11, 9, 7)]
        assert [[of(unit) for unit in level.units] for level in levels] == [
            [],
            [dilations(9)] * 3,
            [dilations(7)] * 7,
            [dilations(5)] * 3,
        ]

    def test_the_image_reinforces_all_levels_but_the_last(self):
        backbone = ESPNetv2(0.5, out_indices=range(5))
        assert [level.down.reinforce is not None for level in backbone.levels] == [True, True, True, False]

    def test_builds_no_level_that_it_does_not_return(self):
        assert len(ESPNetv2(0.5, out_indices=(0, 2)).levels) == 2
        image = torch.randn(1, 3, 32, 32)
        backbone = spread_weights(ESPNetv2(0.5)).eval()
        some = ESPNetv2(0.5, out_indices=(0, 2)).eval()
        some.load_state_dict(backbone.state_dict(), strict=False)
        expected = backbone(image)
        assert all(torch.equal(*pair) for pair in zip(some(image), (expected[0], expected[2]), strict=True))

    @pytest.mark.parametrize('width', [0.25, 0.75, 3.0])
    def test_refuses_other_widths(self, width):
        with pytest.raises(ValueError, match=rf'widen_factor must be one of .*2\.0.*got {width}'):
            ESPNetv2(width)

    @pytest.mark.parametrize('out_indices', [(0, 5), (-1,), ()])
    def test_refuses_levels_that_do_not_exist(self, out_indices):
        with pytest.raises(ValueError, match='out_indices must be some of 0 to 4'):
            ESPNetv2(out_indices=out_indices)

    def test_one_slope_can_be_shared(self):
        backbone = ESPNetv2(0.5, act_cfg=dict(type='PReLU', num_parameters=1))
        assert {act.num_parameters for act in backbone.modules() if isinstance(act, nn.PReLU)} == {1}

    def test_layers_are_configurable(self):
        backbone = ESPNetv2(0.5, norm_cfg=dict(type='GN', num_groups=32), act_cfg=dict(type='ReLU'))
        kinds = {type(module) for module in backbone.modules() if not list(module.children())}
        assert kinds == {nn.Conv2d, nn.GroupNorm, nn.ReLU, nn.Sequential}  # level 1 has no units
        assert {norm.num_groups for norm in backbone.modules() if isinstance(norm, nn.GroupNorm)} == {1, 4, 8, 16, 32}

    def test_initializes_as_the_authors(self):
        backbone = ESPNetv2(2.0)
        backbone.init_weights()
        conv = backbone.levels[1].units[0].eesp.branches[3]
        # Kaiming's for the outputs, as if they were not grouped.
        assert conv.weight.std().item() == pytest.approx((2 / (9 * conv.out_channels)) ** 0.5, rel=0.1)


#: Names of the authors' parameters, by ours; of https://github.com/sacmehta/ESPNetv2/blob/master/imagenet/Model.py.
OFFICIAL_NAMES = {
    'stem.conv.weight': 'level1.conv.weight',
    'stem.bn.running_var': 'level1.bn.running_var',
    'stem.activate.weight': 'level1.act.weight',
    'levels.0.down.eesp.reduce.conv.weight': 'level2_0.eesp.proj_1x1.conv.weight',
    'levels.1.down.eesp.branches.3.weight': 'level3_0.eesp.spp_dw.3.conv.weight',
    'levels.1.down.reinforce.0.activate.weight': 'level3_0.inp_reinf.0.act.weight',
    'levels.2.down.reinforce.1.bn.bias': 'level4_0.inp_reinf.1.bn.bias',
    'levels.2.down.act.weight': 'level4_0.act.weight',
    'levels.1.units.2.eesp.norm_act.0.running_mean': 'level3.2.br_after_cat.bn.running_mean',
    'levels.1.units.2.eesp.norm_act.1.weight': 'level3.2.br_after_cat.act.weight',
    'levels.2.units.6.eesp.expand.bn.weight': 'level4.6.conv_1x1_exp.bn.weight',
    'levels.2.units.6.eesp.reduce.activate.weight': 'level4.6.proj_1x1.act.weight',
    'levels.2.units.6.act.weight': 'level4.6.module_act.weight',
}


def official_name(name):
    first, *rest = name.split('.')
    if first == 'stem':
        prefix = 'level1'
    else:
        level, part, *rest = rest
        prefix = f'level{int(level) + 2}' + ('_0' if part == 'down' else f'.{rest.pop(0)}')
        if part == 'units':
            rest = rest[1:] if rest[0] == 'eesp' else ['module_act', *rest[1:]]
    rest = '.'.join(rest)
    if 'branches' in rest:
        rest = rest.replace('branches', 'spp_dw').replace('.weight', '.conv.weight')
    for own, theirs in [
        ('reinforce', 'inp_reinf'),
        ('reduce', 'proj_1x1'),
        ('expand', 'conv_1x1_exp'),
        ('norm_act.0', 'br_after_cat.bn'),
        ('norm_act.1', 'br_after_cat.act'),
        ('activate', 'act'),
    ]:
        rest = rest.replace(own, theirs)
    return f'{prefix}.{rest}'


class TestOfficialCheckpoint:
    @pytest.fixture
    def trained(self):
        return spread_weights(ESPNetv2(0.5))

    @pytest.fixture
    def official(self, trained):
        """The state dict as the authors save it, with layers that only the classifier has or that never run."""
        state = {official_name(name): tensor for name, tensor in trained.state_dict().items()}
        unused = ('level2_0.eesp.module_act.weight', 'level5_0.act.weight', 'level5.4.conv.weight', 'classifier.bias')
        return state | {name: torch.zeros(3) for name in unused}

    def test_names_are_the_authors(self):
        assert {name: official_name(name) for name in OFFICIAL_NAMES} == OFFICIAL_NAMES
        assert set(OFFICIAL_NAMES) <= set(ESPNetv2(0.5).state_dict())

    def test_loads_as_pretrained_weights(self, trained, official, tmp_path):
        path = tmp_path / 'espnetv2_s_0.5.pth'
        torch.save({f'module.{name}': tensor for name, tensor in official.items()}, path)
        backbone = ESPNetv2(0.5, init_cfg=dict(type='Pretrained', checkpoint=str(path)))
        backbone.init_weights()
        expected = trained.state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in backbone.state_dict().items())

    def test_loads_strictly_inside_a_segmentor(self, trained, official):
        part = nn.ModuleDict(dict(backbone=ESPNetv2(0.5)))
        part.load_state_dict({f'backbone.{name}': tensor for name, tensor in official.items()})
        image = torch.randn(1, 3, 32, 32)
        assert torch.equal(part.eval().backbone(image)[3], trained.eval()(image)[3])

    def test_own_checkpoints_load_as_ever(self, trained):
        backbone = ESPNetv2(0.5)
        backbone.load_state_dict(trained.state_dict())
        state = trained.state_dict()
        state['stray'] = torch.zeros(1)
        with pytest.raises(RuntimeError, match='stray'):
            backbone.load_state_dict(state)


class TestPyramidPool:
    def pool(self, **overrides):
        return EfficientPyramidPool(**dict(in_channels=6, channels=6, norm_cfg=BN, act_cfg=PRELU) | overrides).eval()

    @torch.no_grad()
    @pytest.mark.parametrize('align_corners', [False, True])
    def test_by_the_authors_steps(self, align_corners):
        # Their scales are concatenated and then shuffled, so that each channel's come together.
        pool = spread_weights(self.pool(align_corners=align_corners))
        x = torch.randn(1, 6, 20, 30)
        y = pool.project(x)

        def resize(y, size):
            return nn.functional.interpolate(y, size, mode='bilinear', align_corners=align_corners)

        average = nn.functional.adaptive_avg_pool2d
        scales = [
            average(pool.convs[0](resize(y, (40, 60))), (20, 30)),
            average(pool.convs[1](resize(y, (30, 45))), (20, 30)),
            pool.convs[2](y),
            resize(pool.convs[3](average(y, (10, 15))), (20, 30)),
            resize(pool.convs[4](average(y, (5, 5))), (20, 30)),
        ]
        shuffled = torch.cat(scales, dim=1).view(1, 5, 6, 20, 30).transpose(1, 2).reshape(1, 30, 20, 30)
        assert torch.equal(pool(x), pool.merge(pool.norm_act(shuffled)))


class TestHead:
    @torch.no_grad()
    @pytest.mark.parametrize('align_corners', [False, True])
    def test_by_the_authors_steps(self, align_corners):
        head = spread_weights(MODELS.build(head_cfg(0.5, align_corners=align_corners))).eval()
        outs = ESPNetv2(0.5).eval()(torch.randn(2, 3, 70, 100))
        x = outs[3]
        for merge, level in zip(head.merges, outs[2::-1], strict=True):
            x = merge.expand(merge.pool(x))
            x = nn.functional.interpolate(x, level.shape[2:], mode='bilinear', align_corners=align_corners)
            gate = torch.sigmoid(plain_conv(level.mean((2, 3), keepdim=True), merge.skip.gate.conv))
            conv = merge.skip.conv
            skip = gate * plain_prelu(plain_norm(plain_conv(level, conv.conv), conv.bn), conv.activate)
            x = plain_prelu(plain_norm(x + skip, merge.norm_act[0]), merge.norm_act[1])
        torch.testing.assert_close(
            head(outs), plain_conv(head.pool(x), head.conv_seg) + head.conv_seg.bias.view(-1, 1, 1)
        )

    def test_levels_can_be_fewer(self):
        outs = ESPNetv2(0.5).eval()(torch.randn(1, 3, 64, 96))
        cfg = head_cfg(0.5, in_channels=(32, 64), in_index=(1, 2), decoder_channels=(24,))
        assert MODELS.build(cfg).eval()(outs).shape == (1, NUM_CLASSES, 16, 24)

    def test_refuses_channels_that_do_not_fit_the_levels(self):
        with pytest.raises(ValueError, match=r'one number per level but the coarsest, 3, got \(64, 48\)'):
            ESPNetv2Head(**{**head_cfg(0.5, decoder_channels=(64, 48)), 'type': None})

    def test_drops_out_what_enters_conv_seg(self):
        head = spread_weights(MODELS.build(head_cfg(0.5, dropout_ratio=0.5)))
        for module in (head.merges, head.pool):
            module.eval()
        outs = ESPNetv2(0.5).eval()(torch.randn(1, 3, 64, 96))
        assert not torch.equal(head(outs), head(outs))


class TestSegmentor:
    def test_training_reaches_every_parameter(self):
        model = spread_weights(build(network_cfg(dsrl=True, norm_cfg=GN)))
        sum(value for name, value in losses(model, batch()).items() if 'loss' in name).backward()
        parameters = dict(model.named_parameters())
        assert not [name for name, p in parameters.items() if p.grad is None or not p.grad.any()]
