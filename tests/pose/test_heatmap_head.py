"""The stock heatmap head with the upsampling stack: where it starts, what it adds, what stays the stock's."""

import numpy as np
import pytest
import torch
from mmpose.registry import MODELS
from toy_pose import FLIP_INDICES, KEYPOINTS, batch, build, codec_cfg, head_cfg, keypoints, losses, model_cfg

UPSAMPLERS = [
    dict(type='DeconvUpsampler', channels=6),
    dict(type='DeconvUpsampler', channels=6, factors=(2, 2)),
    dict(type='SubPixelUpsampler', channels=6, factors=(2,)),
]
CODECS = ['MSRAHeatmap', 'UDPHeatmap']


def feats(n=2, size=(16, 8), channels=4):
    return (torch.randn(n, channels, *size),)


def spread(model):
    """Weights as after training: heatmaps with peaks, and running statistics other than 0 and 1."""
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.3 * torch.rand(tensor.shape))
    return model


def cells_of(codec: dict) -> tuple:
    """Canvas pixels at which a codec has the cells of its heatmap: x of every column, y of every row."""
    if codec['type'] == 'UDPHeatmap':
        steps = [(side - 1) / (cells - 1) for side, cells in zip(codec['input_size'], codec['heatmap_size'])]
    else:
        steps = [side / cells for side, cells in zip(codec['input_size'], codec['heatmap_size'])]
    return tuple(step * np.arange(cells) for step, cells in zip(steps, codec['heatmap_size']))


class TestStartsAtTheStockHead:
    @pytest.mark.parametrize('upsampler', UPSAMPLERS, ids=str)
    @pytest.mark.parametrize('kind', CODECS)
    def test_heatmaps_are_the_stock_heads_where_the_codec_has_its_cells(self, upsampler, kind):
        """A plane sampled by the coarse cells is the same plane, sampled by the fine ones, up to the borders."""
        factor = 4 if upsampler.get('factors') == (2, 2) else 2
        fine, coarse = codec_cfg(8 // factor, kind), codec_cfg(8, kind)
        head = MODELS.build(head_cfg(upsampler=upsampler, decoder=fine))

        def plane(codec):
            x, y = cells_of(codec)
            return torch.from_numpy(3 * x[None] - 2 * y[:, None]).float()[None, None]

        got, expected = head.enlarge(plane(coarse)), plane(fine)
        inner = (slice(None), slice(None), slice(0, 1 - factor), slice(0, 1 - factor))
        torch.testing.assert_close(got[inner], expected[inner], rtol=0, atol=1e-3)
        assert got.shape == expected.shape
        ones = torch.ones_like(plane(coarse))
        torch.testing.assert_close(head.enlarge(ones), torch.ones_like(expected))  # the border is repeated

    @pytest.mark.parametrize('upsampler', UPSAMPLERS, ids=str)
    def test_residual_is_zero_also_after_init_weights(self, upsampler):
        factor = 4 if upsampler.get('factors') == (2, 2) else 2
        head = MODELS.build(head_cfg(upsampler=upsampler, decoder=codec_cfg(8 // factor)))
        for _ in range(2):
            features = feats()
            stock, _, residual = head.parts(features)
            assert stock.any() and not residual.any()
            assert torch.equal(head(features), head.enlarge(stock))
            head.init_weights()

    @pytest.mark.parametrize('kind', CODECS)
    def test_keypoints_are_those_of_the_checkpoint(self, kind):
        baseline = build(model_cfg(dsrl=False, head=head_cfg(False, decoder=codec_cfg(8, kind))))
        spread(baseline)
        dsrl = build(model_cfg(head=head_cfg(decoder=codec_cfg(4, kind))), seed=1)
        dsrl.load_state_dict(baseline.state_dict(), strict=False)
        difference = np.abs(keypoints(dsrl, batch()) - keypoints(baseline, batch()))
        # Peaks lie on the same spots; what is refined around them differs, by less than a coarse cell: 4 image pixels.
        assert difference.max() < 4
        assert difference.mean() < 1.5


class TestResidual:
    def test_is_added(self):
        head = MODELS.build(head_cfg()).eval()
        features = feats()
        before = head(features)
        shift = torch.arange(KEYPOINTS) + 1.0
        with torch.no_grad():
            head.upsampler.predict.bias.copy_(shift)
        torch.testing.assert_close(head(features), before + shift.view(1, -1, 1, 1))

    def test_reads_what_enters_the_final_layer(self):
        head = MODELS.build(head_cfg(conv_out_channels=(7,), conv_kernel_sizes=(3,)))
        assert head.upsampler.body[0].conv.in_channels == head.final_layer.in_channels == 7
        entered = []
        head.final_layer.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
        head.upsampler.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
        head(feats())
        assert entered[0] is entered[1]

    def test_needs_a_final_layer(self):
        with pytest.raises(ValueError, match='SSSRHeatmapHead: final_layer=None.*final_layer=dict'):
            MODELS.build(head_cfg(in_channels=KEYPOINTS, final_layer=None))

    @pytest.mark.parametrize('kind', ['SimCCLabel', 'RegressionLabel'])
    def test_needs_a_codec_with_heatmaps(self, kind):
        with pytest.raises(ValueError, match=f'SSSRHeatmapHead: the codec {kind} .*has no heatmaps.*MSRAHeatmap'):
            MODELS.build(head_cfg(decoder=dict(type=kind, input_size=(64, 64))))

    def test_has_no_early_feature_map(self):
        with pytest.raises(ValueError, match=r'Remove head.upsampler.skip_channels; .* skip=dict\(in_index=...,'):
            MODELS.build(head_cfg(upsampler=dict(type='DeconvUpsampler', skip_channels=8)))


class TestIsAStockHead:
    def test_loss_and_accuracy_are_the_stock_heads(self):
        """Of the same heatmaps; made once."""
        model = build(model_cfg())
        data = model.data_preprocessor(batch(), True)
        head, calls = model.head, []
        head.final_layer.register_forward_hook(lambda *_: calls.append(1))
        features = model.extract_feat(data['inputs'])
        got, (hidden, heatmaps) = head.loss_and_features(features, data['data_samples'], {})
        assert len(calls) == 1
        target = torch.stack([sample.gt_fields.heatmaps for sample in data['data_samples']])
        assert got['loss_kpt'] == torch.nn.functional.mse_loss(heatmaps, target)
        assert set(got) == {'loss_kpt', 'acc_pose'}
        assert hidden.requires_grad and heatmaps.requires_grad  # FA teaches what it compares
        assert hidden.shape == (2, 6, 32, 16) and heatmaps.shape == (2, KEYPOINTS, 32, 16)
        assert head.loss(features, data['data_samples'], {}) == got

    def test_settings_of_the_loss_are_honoured(self):
        quiet = build(model_cfg(train_cfg=dict(compute_acc=False)))
        assert 'acc_pose' not in losses(quiet, batch())
        data = batch()
        for sample in data['data_samples']:
            sample.gt_instance_labels.keypoint_weights.zero_()
        assert losses(quiet, data)['loss_kpt'] == 0

    @pytest.mark.parametrize('kind', CODECS)
    def test_flip_test_mirrors_the_crop(self, kind):
        """Heatmaps of a crop and of its mirror image, averaged: the mirrored crop gives the mirrored keypoints."""
        udp = kind == 'UDPHeatmap'
        test_cfg = dict(flip_test=True, flip_mode='heatmap', shift_heatmap=not udp, output_heatmaps=True)
        model = spread(build(model_cfg(head=head_cfg(decoder=codec_cfg(4, kind)), test_cfg=test_cfg)))
        mirrored = batch()
        mirrored['inputs'] = [image.flip(-1) for image in mirrored['inputs']]
        straight, flipped = (
            torch.stack([sample.pred_fields.heatmaps for sample in model.test_step(data)])
            for data in (batch(), mirrored)
        )
        back = flipped[:, FLIP_INDICES].flip(-1)
        if not udp:  # shifted by the stock head's rule, one cell
            straight, back = straight[..., 2:-2], back[..., 1:-3]
        torch.testing.assert_close(straight, back)


class TestStockCheckpoint:
    @pytest.mark.parametrize('extra', [dict(), dict(deconv_out_channels=(5,), deconv_kernel_sizes=(4,))])
    def test_every_tensor_is_taken_under_its_name(self, extra):
        stock = MODELS.build(head_cfg(False, decoder=None, **extra))
        head = MODELS.build(head_cfg(decoder=None, **extra))
        result = head.load_state_dict(stock.state_dict(), strict=False)
        assert result.unexpected_keys == []
        assert {key.split('.')[0] for key in result.missing_keys} == {'upsampler'}
        for name, tensor in stock.state_dict().items():
            assert torch.equal(head.state_dict()[name], tensor), name

    def test_of_a_stock_estimator_and_what_is_new_is_said(self, log):
        stock = build(model_cfg(dsrl=False, type='TopdownPoseEstimator'), seed=1)
        model = build(model_cfg())
        model.load_state_dict(stock.state_dict(), strict=False)
        assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in stock.state_dict().items())
        (line,) = log
        assert 'left as initialized: head.upsampler, sr_aux.head, sr_aux.transform.' in line
        assert 'In it but not in the model: none' in line

    def test_of_another_backbone_is_refused(self):
        other = build(model_cfg(dsrl=False)).state_dict()
        other = {name.replace('stage', 'block'): tensor for name, tensor in other.items()}
        with pytest.raises(ValueError, match='belongs to another architecture.*HRNet backbone'):
            build(model_cfg()).load_state_dict(other, strict=False)
