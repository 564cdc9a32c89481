import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.structures import PixelData
from torch.nn.modules.batchnorm import _BatchNorm
from toy import NUM_CLASSES, auxiliary_head_cfg, batch, build, head_cfg, losses, spread_weights
from toy import model_cfg as dsrl_cfg

from dsrl_mm.apis import build_deploy_model, deploy_config
from dsrl_mm.uhr import ISDSRDecoder
from dsrl_mm.uhr.pyramid import LaplacianPyramid, enlarge_by_two

from .toy_isd import GN, isd_cfg, sr_aux_cfg

PARTS = {f'{name}.loss_ce' for name in ('decode', 'deep', 'deep_16', 'deep_8')}
SR = {'sr.loss_sisr', 'sr.loss_structure'}
MIT = dict(
    type='MixVisionTransformer',
    embed_dims=8,
    num_layers=[1, 1, 1, 1],
    num_heads=[1, 2, 2, 2],
    sr_ratios=[4, 2, 1, 1],
    drop_path_rate=0.0,
)


def loss_names(values: dict) -> set[str]:
    return {name for name in values if 'loss' in name}


def trained(cfg, seed=0):
    """A model in eval mode whose weights are spread as training does."""
    return spread_weights(build(cfg), seed).eval()


def trains_everything(model, data) -> dict:
    values = losses(spread_weights(model), data)
    sum(value for name, value in values.items() if 'loss' in name).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without
    assert all(p.grad.isfinite().all() for p in model.parameters())
    return values


class TestNetworks:
    """The deep network may be any backbone with any stock head."""

    def test_a_transformer(self):
        head = head_cfg('SegformerHead', in_channels=(8, 16, 16, 16))
        # The head's grid is 1/4 of the input, so 1/16 of the canvas at a quarter of its size.
        model = build(isd_cfg(head, scale_factor=4, backbone=MIT))
        assert loss_names(trains_everything(model, batch((64, 96)))) == PARTS | SR

    def test_auxiliary_heads_and_a_neck(self):
        neck = dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=8, num_outs=4)
        head = head_cfg('FCNHead', in_channels=8)
        model = build(isd_cfg(head, neck=neck, auxiliary_head=auxiliary_head_cfg() | dict(in_channels=8)))
        assert 'aux.loss_ce' in losses(model, batch())


class TestInputs:
    """The canvas is 64x96; the deep network reads a half or a quarter, the shallow one everything."""

    CANVAS = torch.randn(1, 3, 64, 96)

    def inputs(self, **overrides):
        return build(isd_cfg(**overrides)).network_inputs(self.CANVAS)

    @pytest.mark.parametrize('factor', [2, 4])
    def test_area(self, factor):
        blocks = self.CANVAS.numpy().reshape(1, 3, 64 // factor, factor, 96 // factor, factor)
        np.testing.assert_allclose(self.inputs(scale_factor=factor)[0], blocks.mean((3, 5)), atol=1e-6)
        alone = build(isd_cfg(scale_factor=factor)).network_input(self.CANVAS)
        np.testing.assert_allclose(alone, blocks.mean((3, 5)), atol=1e-6)

    def test_nearest_is_interpolates_default(self):
        reduced = self.inputs(scale_factor=4, deep_input='nearest')[0]
        assert torch.equal(reduced, F.interpolate(self.CANVAS, (16, 24)))

    @pytest.mark.parametrize(('factor', 'level'), [(2, 1), (4, 2)])
    def test_a_level_of_the_pyramid(self, factor, level):
        reduced = self.inputs(scale_factor=factor, deep_input='pyramid')[0]
        assert torch.equal(reduced, LaplacianPyramid(2)(self.CANVAS)[1][level])

    def test_high_frequencies_and_the_low_pass_are_the_canvas(self):
        reduced, frequencies = self.inputs(levels=1, deep_input='pyramid')
        torch.testing.assert_close(frequencies + enlarge_by_two(reduced, (64, 96)), self.CANVAS)

    def test_without_levels_the_shallow_network_reads_the_canvas(self):
        model = build(isd_cfg(levels=0))
        assert model.network_inputs(self.CANVAS)[1] is self.CANVAS
        assert model.shallow.stages[0].conv.in_channels == 3

    def test_channels_of_the_shallow_network_follow_the_levels_and_the_image(self):
        backbone = dict(isd_cfg()['backbone'], in_channels=4)
        model = build(isd_cfg(levels=3, backbone=backbone, sr_aux=None))
        assert model.shallow.stages[0].conv.in_channels == 12
        assert model.eval()(torch.randn(1, 4, 48, 64)).shape == (1, NUM_CLASSES, 48, 64)

    def test_channels_last_is_a_layout_only(self):
        plain, other = build(isd_cfg()), build(isd_cfg(channels_last=True))
        reference = losses(plain, batch())
        for name, value in losses(other, batch()).items():
            torch.testing.assert_close(value, reference[name], rtol=1e-3, atol=1e-5)
        assert all(x.is_contiguous(memory_format=torch.channels_last) for x in other.network_inputs(self.CANVAS))


class TestOptions:
    """Rows of the paper's Tables 6 and 7."""

    @pytest.mark.parametrize(
        ('options', 'expected'),
        [
            ({'model.sr_aux.sr': None, 'model.sr_aux.structure': None, 'model.levels': 0}, PARTS),
            ({'model.sr_aux.structure': None, 'model.levels': 0}, PARTS | {'sr.loss_sisr'}),
            ({'model.levels': 0}, PARTS | SR),
            ({}, PARTS | SR),
            ({'model.sr_aux': None}, {'decode.loss_ce'}),
            ({'model.sr_aux.sr.target': 'frequencies', 'model.sr_aux.structure.per_channel': True}, PARTS | SR),
            ({'model.decode_head.fusion.relations': (), 'model.decode_head.fusion.channel_weights': False}, PARTS | SR),
            ({'model.decode_head.fusion.relations': ('shallow',)}, PARTS | SR),
        ],
    )
    def test_are_options_of_one_config(self, options, expected):
        cfg = Config(dict(model=isd_cfg()))
        cfg.merge_from_dict(options)
        assert loss_names(trains_everything(build(cfg.model), batch())) == expected

    @pytest.mark.parametrize(
        ('head', 'wrapped', 'fusion', 'expected'),
        [
            ({}, GN, {}, ['GroupNorm', 'GroupNorm']),
            ({}, None, {}, ['BatchNorm2d', 'BatchNorm2d']),
            (dict(norm_cfg=GN), dict(type='BN'), {}, ['GroupNorm', 'GroupNorm']),
            ({}, dict(type='BN'), dict(norm_cfg=GN), ['BatchNorm2d', 'GroupNorm']),
        ],
    )
    def test_normalization_is_the_wrapped_heads_unless_set(self, head, wrapped, fusion, expected):
        cfg = isd_cfg(head_cfg('FCNHead', wrapped))
        cfg['decode_head'] |= head | dict(fusion=cfg['decode_head']['fusion'] | fusion)
        head = build(cfg).decode_head
        assert [type(layer.norm).__name__ for layer in (head.classifier.conv, head.fuse_8.fused)] == expected

    def test_structure_distillation_needs_the_branch(self):
        with pytest.raises(ValueError, match=r'needs the super-resolution branch, sr_aux\.sr'):
            build(isd_cfg(sr_aux=sr_aux_cfg(sr=None)))


class TestLosses:
    @pytest.mark.parametrize('target', ['image', 'frequencies'])
    def test_target_of_the_branch(self, monkeypatch, target):
        model = build(isd_cfg(sr_aux=sr_aux_cfg(sr=dict(sr_aux_cfg()['sr'], target=target))))
        seen, stock = [], model.sr_aux.sr.loss_by_feat
        monkeypatch.setattr(model.sr_aux.sr, 'loss_by_feat', lambda *args: seen.extend(args) or stock(*args))
        canvas = model.data_preprocessor(batch(), True)['inputs']
        losses(model, batch())
        fine, coarse = LaplacianPyramid(2)(canvas)[0]
        expected = canvas if target == 'image' else fine + F.interpolate(coarse, canvas.shape[2:], mode='bilinear')
        torch.testing.assert_close(seen[1], expected)
        # From 1/16 of the canvas, four times as large, to 1/4 of it.
        assert seen[0].shape == (2, 3, 12, 16)

    def test_squared_error_by_hand(self):
        sr = ISDSRDecoder(4, 4, (2,))
        # Of an image of ones, 3 everywhere is missed by 2: 0.1 x 4.
        got = sr.loss_by_feat(torch.full((1, 3, 2, 2), 3.0), torch.ones(1, 3, 4, 4))
        assert got['loss_sisr'].item() == pytest.approx(0.4)
        image, target = torch.randn(1, 3, 4, 4).bfloat16(), torch.randn(1, 3, 8, 8).bfloat16()
        expected = sr.loss_by_feat(image.float(), target.float())  # half precision is enlarged and compared in float32
        torch.testing.assert_close(sr.loss_by_feat(image, target), expected)
        assert sr.loss_by_feat(target, target)['loss_sisr'] == 0  # as large as the canvas

    def test_branch_from_a_thirty_second_of_the_canvas_to_a_half(self):
        guide, image = ISDSRDecoder()(torch.randn(1, 128, 2, 3))
        assert guide.shape == (1, 128, 32, 48) and image.shape == (1, 3, 32, 48)

    @pytest.mark.parametrize(
        ('name', 'expected'),
        [
            ('sr.loss_sisr', {'backbone', 'decode_head', 'sr_aux'}),
            ('sr.loss_structure', {'backbone', 'decode_head'}),  # compares the context with the detached guide
        ],
    )
    def test_branch_and_structure_teach_the_deep_network(self, name, expected):
        model = build(isd_cfg(decode_head=isd_cfg()['decode_head'] | dict(norm_cfg=GN)))
        losses(model, batch())[name].backward()
        moved = {name.split('.')[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        assert moved == expected
        assert not any(p.grad is not None and p.grad.any() for p in model.decode_head.fuse_16.parameters())

    def test_classifiers_start_as_mmsegmentations(self):
        model = build(isd_cfg(head_cfg('FCNHead', dropout_ratio=0.3)))
        model.init_weights()
        aux = model.sr_aux
        parts = (aux.deep_16, aux.deep_8, model.decode_head.classifier)
        for conv in (aux.deep[1], *(part.conv_seg for part in parts)):
            assert 0.005 < conv.weight.std() < 0.02 and not conv.bias.any()
        assert aux.deep[0].p == 0.3  # the wrapped head's

    def test_dropout_comes_before_the_classifier(self):
        cfg = isd_cfg(head_cfg('FCNHead', channels=8))
        del cfg['decode_head']['dropout_ratio']
        head = build(cfg).decode_head
        assert head.dropout.p == 0.1 and head.reduce is None  # the deep features have the fusion's channels
        head.dropout.p = 1.0
        fused = torch.randn(2, 8, 3, 4)
        assert torch.equal(head.classify(fused), head.classifier(torch.zeros_like(fused)))

    def test_auxiliary_classifiers_read_the_weighted_deep_features(self):
        model = build(isd_cfg())
        seen = {}
        for name in ('deep_16', 'deep_8'):
            getattr(model.sr_aux, name).register_forward_pre_hook(lambda _, args, n=name: seen.setdefault(n, args[0]))
        returned = []
        for fuse in (model.decode_head.fuse_16, model.decode_head.fuse_8):
            fuse.register_forward_hook(lambda _, args, out: returned.append(out[0]))
        losses(model, batch())
        assert [seen['deep_16'].shape[2:], seen['deep_8'].shape[2:]] == [(3, 4), (6, 8)]
        assert seen['deep_16'] is returned[0] and seen['deep_8'] is returned[1]

    def test_deep_logits_are_those_of_the_stock_head(self):
        """With the stock network's weights, the deep classifier computes the stock loss of the reduced canvas."""
        stock, model = build(dsrl_cfg(dsrl=False, head='FCNHead')), build(isd_cfg())
        state = {
            name.replace('decode_head.conv_seg', 'sr_aux.deep.1').replace('decode_head.', 'decode_head.decode_head.'): x
            for name, x in stock.state_dict().items()
        }
        left = model.load_state_dict(state, strict=False)
        assert not left.unexpected_keys
        assert losses(model, batch())['deep.loss_ce'] == losses(stock, batch())['decode.loss_ce']

    def test_factors_that_exceed_the_canvas(self):
        sr = dict(sr_aux_cfg()['sr'], factors=(8, 4))
        with pytest.raises(ValueError, match=r'factors=\(8, 4\) make \(96, 128\) pixels of a canvas of \(48, 64\)'):
            losses(build(isd_cfg(sr_aux=sr_aux_cfg(sr=sr))), batch())

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            (dict(target='edges'), "target must be 'image' or 'frequencies', got 'edges'"),
            (dict(factors=()), 'factors must be positive integers'),
            (dict(factors=(2, 0)), 'factors must be positive integers'),
            (dict(loss_weight=-1), 'ISDSRDecoder: loss_weight must be a number'),
        ],
    )
    def test_bad_options_of_the_branch(self, options, message):
        with pytest.raises(ValueError, match=message):
            build(isd_cfg(sr_aux=sr_aux_cfg(sr=dict(sr_aux_cfg()['sr'], **options))))

    def test_image_channels_must_fit(self):
        model = build(isd_cfg(sr_aux=sr_aux_cfg(sr=dict(sr_aux_cfg()['sr'], out_channels=1))))
        with pytest.raises(ValueError, match=r'images have 3 channels. Set sr_aux\.sr\.out_channels=3'):
            losses(model, batch())


class TestSizes:
    @pytest.mark.parametrize('factor', [2, 3, 4])
    @pytest.mark.parametrize('size', [(47, 63), (97, 131)])
    def test_canvases_that_nothing_divides(self, size, factor):
        model = build(isd_cfg(scale_factor=factor))
        values = losses(model, batch(size))
        assert all(torch.isfinite(value) for value in values.values())
        result = model.eval().val_step(batch(size, n=1))[0]
        assert result.seg_logits.data.shape == (NUM_CLASSES, *size)

    def test_prediction_is_that_of_the_canvas_with_its_border_repeated(self):
        model = trained(isd_cfg())
        canvas = torch.randn(1, 3, 41, 50)
        wide = F.pad(canvas, (0, 14, 0, 7), mode='replicate')
        assert torch.equal(model(canvas), model(wide)[..., :41, :50])

    def test_border_of_labels_is_void(self):
        model = build(isd_cfg())
        data = model.data_preprocessor(batch((49, 65)), True)
        expected = model(**data, mode='loss')
        border = (0, 15, 0, 15)  # to 64x80
        data['inputs'] = F.pad(data['inputs'], border, mode='replicate')
        for sample in data['data_samples']:
            label = F.pad(sample.gt_sem_seg.data, border, value=255)
            del sample.gt_sem_seg
            sample.gt_sem_seg = PixelData(data=label)
        torch.testing.assert_close(model(**data, mode='loss'), expected)

    def test_grids_of_both_networks_coincide(self):
        model = build(isd_cfg(scale_factor=4)).eval()
        assert model.multiple == 32
        assert [build(isd_cfg(scale_factor=factor)).multiple for factor in (2, 3)] == [16, 48]
        default = isd_cfg()
        del default['scale_factor']
        assert build(default).scale_factor == 4
        deep, shallow = model.extract_feat(torch.randn(1, 3, 360 // 4, 480 // 4))  # 96x128 padded
        assert [feat.shape[2:] for feat in shallow] == [(12, 16), (6, 8)]
        assert deep[-1].shape[2:] == (3, 4)

    def test_one_image(self):
        data, model = batch(n=1), build(isd_cfg(norm_cfg=GN))
        assert not any(isinstance(module, _BatchNorm) for module in model.modules())
        assert all(torch.isfinite(value) for value in losses(model, data).values())
        with pytest.raises(ValueError, match='A batch of one image .* norm_cfg=dict'):
            losses(build(isd_cfg()), data)

    def test_one_image_with_batch_norm_elsewhere(self):
        head = isd_cfg()['decode_head']
        head['fusion']['pool_norm_cfg'] = GN
        assert loss_names(losses(build(isd_cfg(decode_head=head)), batch(n=1))) == PARTS | SR


class TestTraining:
    def test_bfloat16(self):
        model = build(isd_cfg())
        reference = losses(model, batch())
        with torch.autocast('cpu', torch.bfloat16):
            values = losses(model, batch())
        for name in PARTS | SR:
            assert values[name].item() == pytest.approx(reference[name].item(), rel=0.1), name

    def test_samples_are_left_alone(self):
        model = build(isd_cfg())
        data = model.data_preprocessor(batch((47, 63)), True)
        before = copy.deepcopy(data['data_samples'])
        model(**data, mode='loss')
        for sample, kept in zip(data['data_samples'], before):
            assert torch.equal(sample.gt_sem_seg.data, kept.gt_sem_seg.data)


class TestInference:
    """Training-only parts leave no trace."""

    @pytest.fixture
    def run(self, tmp_path):
        cfg = Config(dict(model=isd_cfg(auxiliary_head=auxiliary_head_cfg())))
        model = trained(cfg.model.to_dict())
        torch.save(dict(state_dict=model.state_dict()), tmp_path / 'iter_1.pth')
        return cfg, tmp_path / 'iter_1.pth', model

    def test_deployed(self, run):
        cfg, checkpoint, model = run
        deployed = build_deploy_model(cfg, checkpoint)
        assert deployed.sr_aux is None and not deployed.with_auxiliary_head
        assert not [name for name, _ in deployed.named_parameters() if 'decode_head.decode_head.conv_seg' in name]
        image = torch.randn(1, 3, 47, 63)
        with torch.no_grad():
            assert torch.equal(deployed(image), model(image))

    def test_does_not_read_frames(self, run):
        with pytest.raises(ValueError, match="'ISDSegmentor', which reads the whole canvas: no low_res_input"):
            deploy_config(run[0], low_res_input=True)


@pytest.mark.parametrize(
    ('overrides', 'error', 'message'),
    [
        (dict(decode_head=head_cfg('FCNHead')), TypeError, 'decode_head is FCNHead, but it must be an ISDHead'),
        (dict(scale_factor=1), ValueError, 'scale_factor must be an integer of at least 2'),
        (dict(deep_input='bicubic'), ValueError, "deep_input must be 'area', 'pyramid' or 'nearest', got 'bicubic'"),
        (dict(scale_factor=3, deep_input='pyramid'), ValueError, 'levels=2 there is none'),
        (dict(scale_factor=4, levels=1, deep_input='pyramid'), ValueError, 'a level of 1/4 .* levels=1 there is none'),
        (dict(levels=1.5), ValueError, 'levels must be an integer'),
        (dict(test_cfg=dict(mode='whole', with_sr=True)), ValueError, 'rebuilds no images'),
        (
            dict(levels=0, sr_aux=sr_aux_cfg(sr=dict(sr_aux_cfg()['sr'], target='frequencies'))),
            ValueError,
            "target='frequencies' needs levels of at least 1",
        ),
    ],
)
def test_bad_options(overrides, error, message):
    with pytest.raises(error, match=message):
        build(isd_cfg(**overrides))


def test_heads_that_end_otherwise_are_refused():
    with pytest.raises(TypeError, match='ISDHead cannot wrap PointHead: it is a stage of a cascade'):
        build(isd_cfg(head_cfg('PointHead', in_channels=[64], in_index=[3])))


def test_stock_checkpoints_start_the_deep_network(log):
    stock = spread_weights(build(dict(dsrl_cfg(dsrl=False, head='FCNHead'))))
    model = build(isd_cfg())
    model.load_state_dict(stock.state_dict(), strict=False)
    own = model.state_dict()
    for name, value in stock.state_dict().items():
        if 'conv_seg' not in name:
            assert torch.equal(own[name.replace('decode_head.', 'decode_head.decode_head.')], value), name
    assert any("ISDHead: the checkpoint is a stock head's" in line for line in log)
