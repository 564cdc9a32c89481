"""The estimator: canvas outside, reduced crop inside; training-only parts; other networks; what it refuses."""

import copy

import numpy as np
import pytest
import torch
from mmpose.registry import MODELS
from torch import nn
from toy_pose import CANVAS, KEYPOINTS, batch, build, codec_cfg, head_cfg, keypoints, losses, model_cfg, sr_aux_cfg


def changed(cfg, **keys):
    """A config with some keys, dots between levels as __, replaced."""
    cfg = copy.deepcopy(cfg)
    for key, value in keys.items():
        *levels, last = key.split('__')
        part = cfg
        for level in levels:
            part = part[level]
        part[last] = value
    return cfg


class TestCanvas:
    def test_baseline_is_the_stock_estimator_on_the_reduced_crop(self):
        baseline = build(model_cfg(dsrl=False)).eval()
        stock = build(model_cfg(dsrl=False, type='TopdownPoseEstimator')).eval()
        inputs = torch.randn(1, 3, *CANVAS[::-1])
        reduced = nn.functional.avg_pool2d(inputs, 2)
        assert torch.equal(baseline(inputs, None), stock(reduced, None))

    @pytest.mark.parametrize('flip_test', [False, True])
    def test_keypoints_are_in_pixels_of_the_image(self, flip_test, monkeypatch):
        """Heatmaps as the pipeline draws them, decoded: crops are twice as large as in their images."""
        codec = codec_cfg(kind='UDPHeatmap')
        model = build(model_cfg(head=head_cfg(decoder=codec), test_cfg=dict(flip_test=flip_test)))
        data = batch(codec)
        truth = torch.stack([sample.gt_fields.heatmaps for sample in data['data_samples']])
        mirrored = truth[:, [1, 0, 2]].flip(-1)
        made = iter([truth, mirrored])
        monkeypatch.setattr(model.head, 'forward', lambda feats: next(made))
        got = keypoints(model, data)
        rng = np.random.default_rng(0)
        for i, found in enumerate(got):
            expected = rng.uniform(0.2, 0.8, (KEYPOINTS, 2)) * CANVAS  # those of batch()
            rng.integers(256, size=(3, *CANVAS[::-1]), dtype=np.uint8)
            expected = expected / 2 + (100 + i, 120) - np.array(CANVAS) / 4
            # UDP's decoder gives W / (W - 1) of the crop's coordinates, for TopdownAffine(use_udp=True) to undo.
            assert np.abs(found - expected).max() < 0.6


class TestTrainingOnlyParts:
    def test_losses(self):
        assert set(losses(build(model_cfg()), batch())) == {'loss_kpt', 'acc_pose', 'sr.loss_sisr', 'sr.loss_fa'}
        assert set(losses(build(model_cfg(sr_aux=sr_aux_cfg(fa=None))), batch())) == {
            'loss_kpt',
            'acc_pose',
            'sr.loss_sisr',
        }
        assert set(losses(build(model_cfg(sr_aux=None)), batch())) == {'loss_kpt', 'acc_pose'}
        baseline = build(model_cfg(dsrl=False, sr_aux=sr_aux_cfg(fa=None)))
        assert set(losses(baseline, batch(baseline_codec()))) == {'loss_kpt', 'acc_pose', 'sr.loss_sisr'}

    @pytest.mark.parametrize('fa_on', ['features', 'outputs'])
    def test_step_reaches_every_parameter(self, fa_on):
        model = build(model_cfg(sr_aux=sr_aux_cfg(fa_on=fa_on)))
        nn.init.normal_(model.head.upsampler.predict.weight)  # starts at zero, and passes no gradient on
        total, _ = model.parse_losses(losses(model, batch()))
        total.backward()
        dead = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
        # HRNet's last stage gives its finest branch alone, but its ReLUs may be silent on one batch.
        assert not {name for name in dead if not name.startswith('backbone.')}

    def test_prediction_without_them_is_bit_for_bit_the_same(self):
        whole = build(model_cfg(test_cfg=dict(flip_test=True)))
        losses(whole, batch())  # moves running statistics
        deployed = build(model_cfg(test_cfg=dict(flip_test=True), sr_aux=None), seed=1)
        left = deployed.load_state_dict(whole.state_dict(), strict=False)
        assert not left.missing_keys
        assert {name.split('.')[0] for name in left.unexpected_keys} == {'sr_aux'}
        assert np.array_equal(keypoints(deployed, batch()), keypoints(whole, batch()))
        inputs = torch.randn(1, 3, *CANVAS[::-1])
        assert torch.equal(deployed.eval()(inputs, None), whole.eval()(inputs, None))

    def test_auxiliary_losses_leave_the_keypoint_loss_alone(self):
        with_aux, without = build(model_cfg()), build(model_cfg(sr_aux=None))
        without.load_state_dict(with_aux.state_dict(), strict=False)
        assert losses(with_aux, batch())['loss_kpt'] == losses(without, batch())['loss_kpt']


def baseline_codec():
    return codec_cfg(8)


def simple_baseline():
    """ResNet and three deconvolutions, as MMPose's ResNet-50."""
    backbone = dict(type='ResNet', depth=18, base_channels=4, stem_channels=4, out_indices=(0, 3))
    head = head_cfg(in_channels=32, deconv_out_channels=(6, 6, 6), deconv_kernel_sizes=(4, 4, 4))
    return backbone, None, head, dict(in_channels=(4, 32), in_index=(0, 1), upscale_factor=8)


def lite_hrnet():
    stages = dict(
        num_modules=(1, 1, 1),
        num_branches=(2, 3, 4),
        num_blocks=(1, 1, 1),
        module_type=('LITE',) * 3,
        with_fuse=(True,) * 3,
        reduce_ratios=(2,) * 3,
        num_channels=((8, 16), (8, 16, 32), (8, 16, 32, 64)),
    )
    extra = dict(
        stem=dict(stem_channels=8, out_channels=8, expand_ratio=1), num_stages=3, stages_spec=stages, with_head=True
    )
    return (
        dict(type='LiteHRNet', in_channels=3, extra=extra),
        None,
        head_cfg(in_channels=8),
        dict(in_channels=8, upscale_factor=8),
    )


@MODELS.register_module(force=True)
class _TinyViT(nn.Module):
    """Patches of 16 pixels, one layer of attention, a feature map: what ViTPose's heads read."""

    def __init__(self, init_cfg=None):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 16, 16)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x):
        x = self.patches(x)
        return (self.layer(x.flatten(2).transpose(1, 2)).transpose(1, 2).view_as(x),)


def vitpose():
    head = head_cfg(in_channels=8, deconv_out_channels=(6, 6), deconv_kernel_sizes=(4, 4))
    return dict(type='_TinyViT'), None, head, dict(in_channels=8, upscale_factor=32)


def vitpose_simple():
    neck = dict(type='FeatureMapProcessor', scale_factor=4.0, apply_relu=True)
    head = head_cfg(
        in_channels=8, deconv_out_channels=[], deconv_kernel_sizes=[], final_layer=dict(kernel_size=3, padding=1)
    )
    return dict(type='_TinyViT'), neck, head, dict(in_channels=8, upscale_factor=32)


@pytest.mark.parametrize('network', [simple_baseline, lite_hrnet, vitpose, vitpose_simple])
def test_other_networks_take_it_by_config(network):
    backbone, neck, head, sisr = network()
    sr_aux = changed(sr_aux_cfg(), head=dict(type='SISRAuxHead', channels=5, **sisr))
    model = build(model_cfg(backbone=backbone, neck=neck, head=head, sr_aux=sr_aux, test_cfg=dict(flip_test=True)))
    got = losses(model, batch())
    assert set(got) == {'loss_kpt', 'acc_pose', 'sr.loss_sisr', 'sr.loss_fa'}
    assert all(torch.as_tensor(value).isfinite() for value in got.values())
    assert keypoints(model, batch()).shape == (2, KEYPOINTS, 2)


@MODELS.register_module()
class _TwoStages(nn.Module):
    """A feature map of 4 channels and stride 4 for each of two stages, as hourglass networks give them."""

    def __init__(self, init_cfg=None):
        super().__init__()
        self.stages = nn.ModuleList(nn.Conv2d(3, 4, 4, 4) for _ in range(2))

    def forward(self, x):
        return [stage(x) for stage in self.stages]


def two_stages(cells: int) -> nn.Module:
    """A baseline whose head predicts by its last stage, and gives a list."""
    head = head_cfg(False, type='CPMHead', num_stages=2, decoder=codec_cfg(cells))
    return build(model_cfg(False, backbone=dict(type='_TwoStages'), head=head))


def test_baselines_may_have_heads_of_several_stages():
    data = batch(codec_cfg(8))
    model = two_stages(8)
    assert losses(model, data)['loss_kpt'].isfinite()
    assert keypoints(model, data).shape == (2, KEYPOINTS, 2)
    with pytest.raises(ValueError, match=r'CPMHead makes heatmaps of \(8, 16\) cells'):
        two_stages(4)


class TestRefuses:
    def test_a_canvas_it_does_not_divide(self):
        with pytest.raises(ValueError, match=r'scale_factor=3 does not divide crops of \(64, 128\) pixels'):
            build(model_cfg(scale_factor=3))

    def test_a_canvas_the_network_cannot_read(self):
        head = head_cfg(decoder=dict(type='MSRAHeatmap', input_size=(64, 96), heatmap_size=(16, 24), sigma=2))
        with pytest.raises(ValueError, match=r'cannot read a canvas of \(64, 96\).*multiples of 32'):
            build(model_cfg(head=head))

    @pytest.mark.parametrize(('dsrl', 'makes', 'said'), [(True, '16, 32', '8, 16'), (False, '8, 16', '16, 32')])
    def test_a_codec_of_another_grid(self, dsrl, makes, said):
        head = head_cfg(dsrl, decoder=codec_cfg(8 if dsrl else 4))
        with pytest.raises(ValueError) as error:
            build(model_cfg(dsrl, head=head))
        message = str(error.value)
        assert f'makes heatmaps of ({makes}) cells' in message and f'heatmap_size is ({said})' in message
        assert 'model.head.decoder' in message and 'GenerateTarget' in message

    def test_checking_leaves_the_mode(self):
        assert build(model_cfg()).training

    @pytest.mark.parametrize(('cells', 'fits'), [((8, 16), True), ((16, 8), True), ((4, 8), False)])
    def test_features_of_another_size_than_a_simcc_head_takes(self, cells, fits):
        """It flattens them, so that their order does not matter."""
        codec = dict(type='SimCCLabel', input_size=CANVAS, sigma=4.0, simcc_split_ratio=2.0)
        head = dict(type='SimCCHead', in_channels=4, out_channels=KEYPOINTS, input_size=CANVAS, decoder=codec)
        head |= dict(in_featuremap_size=cells, deconv_out_channels=None, simcc_split_ratio=2.0)
        cfg = model_cfg(dsrl=False, head=head)
        if fits:
            build(cfg)
            return
        with pytest.raises(ValueError, match=r'makes features of \(8, 16\) cells .* canvas of \(64, 128\).*=\(8, 16\)'):
            build(cfg)

    def test_targets_of_another_grid(self):
        with pytest.raises(ValueError, match=r'GenerateTarget draws heatmaps of \(8, 16\).*makes \(16, 32\)'):
            losses(build(model_cfg()), batch(baseline_codec()))

    def test_targets_without_heatmaps(self):
        data = batch(codec_cfg())
        for sample in data['data_samples']:
            del sample.gt_fields
        with pytest.raises(ValueError, match='GenerateTarget draws none.*model.head.decoder: MSRAHeatmap'):
            losses(build(model_cfg()), data)

    @pytest.mark.parametrize('step', [losses, keypoints])
    def test_crops_of_another_size(self, step):
        other = dict(type='MSRAHeatmap', input_size=(128, 128), heatmap_size=(32, 32), sigma=2)
        with pytest.raises(ValueError, match=r'crops persons to \(128, 128\).*input_size=\(64, 128\)'):
            step(build(model_cfg()), batch(other))


def test_features_that_the_head_cannot_read_are_named():
    cfg = model_cfg()
    cfg['head']['in_channels'] = 7
    cfg['sr_aux'] = None
    with pytest.raises(ValueError, match='features of 4 channels.*model.head.in_channels'):
        build(cfg)
