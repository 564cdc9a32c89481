import copy
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn
from toy import (
    CHANNELS,
    HEADS,
    MEAN,
    NUM_CLASSES,
    SIZE,
    STD,
    auxiliary_head_cfg,
    batch,
    build,
    head_cfg,
    losses,
    model_cfg,
    preprocessor_cfg,
    spread_weights,
    sr_aux_cfg,
)

GN = dict(type='GN', num_groups=2)
MIT = dict(
    backbone=dict(
        type='MixVisionTransformer',
        embed_dims=8,
        num_layers=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 2],
        sr_ratios=[4, 2, 1, 1],
        drop_path_rate=0.0,
    ),
    head=head_cfg('SegformerHead', in_channels=(8, 16, 16, 16)),
)
NETWORKS = {name: dict(head=name) for name in HEADS} | {'MiT + SegformerHead': MIT}


def network_cfg(name, dsrl=True, **overrides):
    cfg = model_cfg(dsrl, **NETWORKS[name], **overrides)
    if dsrl and name == 'MiT + SegformerHead':
        cfg['sr_aux']['head']['in_channels'] = (8, 16)
    return cfg


def trained(cfg, seed=0):
    """A model in eval mode whose weights are spread as training does."""
    return spread_weights(build(cfg), seed).eval()


def normalize(image):
    """What the preprocessor makes of one uint8 BGR image, as a batch of one."""
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (MEAN, STD))
    return ((image.flip(0).float() - mean) / std)[None]


def logits_of(samples):
    return torch.stack([sample.seg_logits.data for sample in samples])


def learned_labels(model, data, monkeypatch):
    """The labels, (1, H, W) each, that a training step compares a decode head's logits with."""
    head, seen = getattr(model.decode_head, 'decode_head', model.decode_head), []
    stock = head.loss_by_feat
    monkeypatch.setattr(head, 'loss_by_feat', lambda logits, samples: seen.extend(samples) or stock(logits, samples))
    losses(model, data)
    return [sample.gt_sem_seg.data for sample in seen]


class TestModes:
    @pytest.mark.parametrize('dsrl', [True, False], ids=['dsrl', 'baseline'])
    @pytest.mark.parametrize('name', NETWORKS)
    def test_loss_predict_and_tensor(self, name, dsrl):
        model = build(network_cfg(name, dsrl))
        values = losses(model, batch())
        sr = {'sr.loss_sisr', 'sr.loss_fa'} if dsrl else set()
        assert set(values) == {'decode.loss_ce', 'decode.acc_seg'} | sr
        assert all(torch.isfinite(value) and value > 0 for value in values.values())

        model.eval()
        data = model.data_preprocessor(batch())
        torch.manual_seed(0)  # LightHamHead draws its bases
        logits = model(**data, mode='tensor')
        assert logits.shape == (2, NUM_CLASSES, *SIZE)
        torch.manual_seed(0)
        results = model(**data, mode='predict')
        assert torch.equal(logits_of(results), logits)
        for result, one in zip(results, logits):
            assert torch.equal(result.pred_sem_seg.data, one.argmax(0, keepdim=True))

    def test_train_step_sums_and_logs_the_losses(self):
        model = build(model_cfg(auxiliary_head=auxiliary_head_cfg()))
        before = {name: weight.clone() for name, weight in model.named_parameters()}
        wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.1)))
        log = model.train_step(batch(), wrapper)
        parts = {'decode.loss_ce', 'aux.loss_ce', 'sr.loss_sisr', 'sr.loss_fa'}
        assert set(log) == {'loss', 'decode.acc_seg', 'aux.acc_seg'} | parts
        torch.testing.assert_close(log['loss'], sum(log[part] for part in parts))
        moved = {
            name.split('.')[0] for name, weight in model.named_parameters() if not torch.equal(before[name], weight)
        }
        assert moved == {'backbone', 'decode_head', 'auxiliary_head', 'sr_aux'}

    def test_a_baseline_may_learn_to_rebuild_but_not_affinity(self):
        values = losses(build(model_cfg(dsrl=False, sr_aux=sr_aux_cfg(fa=None))), batch())
        assert 'sr.loss_sisr' in values
        with pytest.raises(ValueError, match='plain head'):
            build(model_cfg(dsrl=False, sr_aux=sr_aux_cfg()))

    @pytest.mark.parametrize(
        ('dsrl', 'factor', 'least'), [(True, 1, 2), (True, 2.0, 2), (False, 0, 1), (False, True, 1)]
    )
    def test_scale_factor_is_an_integer_that_leaves_something_to_super_resolve(self, dsrl, factor, least):
        with pytest.raises(ValueError, match=f'scale_factor must be an integer of at least {least}'):
            build(model_cfg(dsrl) | dict(scale_factor=factor))


@pytest.mark.parametrize('old', ['lr_input', 'lr_labels'])
def test_old_names_are_refused_with_the_new_one(old):
    with pytest.raises(TypeError, match=f'no option {old}, which is now called {old.replace("lr", "low_res")}$'):
        build(model_cfg(**{old: False}))


def test_a_scale_factor_of_1_is_the_stock_segmentor():
    cfg = model_cfg(dsrl=False, scale_factor=1, low_res_labels=True)
    full_size = build(cfg)
    cfg = {key: value for key, value in cfg.items() if key not in ('scale_factor', 'low_res_labels')}
    stock = build(cfg | dict(type='EncoderDecoder'))
    for got, expected in zip(losses(full_size, batch()).values(), losses(stock, batch()).values(), strict=True):
        torch.testing.assert_close(got, expected)
    got, expected = (model.eval().val_step(batch(n=1))[0].seg_logits.data for model in (full_size, stock))
    torch.testing.assert_close(got, expected)


class TestLearning:
    @pytest.mark.parametrize('name', NETWORKS)
    def test_every_parameter_gets_a_gradient_and_is_in_the_optimizer(self, name):
        model = spread_weights(build(network_cfg(name)))  # spread: at a residual of 0 the stack has no gradient yet
        wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.1)))
        sum(value for key, value in losses(model, batch()).items() if 'loss' in key).backward()
        trained = {id(p) for group in wrapper.optimizer.param_groups for p in group['params']}
        for name, parameter in model.named_parameters():
            assert id(parameter) in trained, name
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            # A bias in front of a batch norm has none but rounding errors; all else has more.
            assert parameter.grad.abs().max() > 0, name

    def test_accumulated_gradients_are_the_large_batchs(self):
        data = batch(n=2)
        halves = [{key: value[i : i + 1] for key, value in copy.deepcopy(data).items()} for i in range(2)]
        cfg = model_cfg(norm_cfg=GN, auxiliary_head=auxiliary_head_cfg(norm_cfg=GN))
        optimizer = dict(optimizer=dict(type='SGD', lr=0.1))
        whole, parts = build(cfg), build(cfg)
        start = copy.deepcopy(whole.state_dict())
        whole.train_step(data, build_optim_wrapper(whole, optimizer))
        wrapper = build_optim_wrapper(parts, optimizer | dict(accumulative_counts=2))
        wrapper.initialize_count_status(parts, 0, 2)
        for i, half in enumerate(halves):
            assert all(torch.equal(start[name], value) for name, value in parts.state_dict().items()), i
            parts.train_step(half, wrapper)
        for name, value in whole.state_dict().items():
            torch.testing.assert_close(parts.state_dict()[name], value, rtol=1e-4, atol=1e-6, msg=name)
        assert not torch.equal(start['backbone.stem.0.weight'], whole.state_dict()['backbone.stem.0.weight'])


class TestWhatTheNetworkReads:
    @pytest.mark.parametrize('factor', [2, 3, 4])
    def test_is_the_mean_of_each_block(self, factor):
        model = trained(model_cfg(scale_factor=factor))
        seen = []
        model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        image = torch.randn(1, 3, 4 * factor, 5 * factor)
        model(image)
        expected = image.numpy().reshape(1, 3, 4, factor, 5, factor).mean((3, 5))
        np.testing.assert_allclose(seen[0], expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize('factor', [2, 3, 4])
    def test_canvases_that_nothing_divides(self, factor):
        size = (97, 131)
        model = build(model_cfg(scale_factor=factor))
        values = losses(model, batch(size))
        assert all(torch.isfinite(value) for value in values.values())
        model.eval()
        result = model.val_step(batch(size, n=1))[0]
        assert result.seg_logits.data.shape == (NUM_CLASSES, *size)
        # The prediction is that of the image with its border repeated, cut back.
        wide = F.pad(normalize(batch(size, n=1)['inputs'][0]), (0, -131 % factor, 0, -97 % factor), mode='replicate')
        assert torch.equal(model(wide)[0, :, :97, :131], result.seg_logits.data)

    def test_padded_labels_are_ignored(self):
        # A 47x63 canvas trains as the 48x64 one with a repeated border and void labels there.
        odd = batch((47, 63))
        even = batch((47, 63))
        even['inputs'] = [F.pad(x[None].float(), (0, 1, 0, 1), mode='replicate')[0].byte() for x in even['inputs']]
        for sample in even['data_samples']:
            label = sample.gt_sem_seg.data
            sample.gt_sem_seg = PixelData(data=F.pad(label, (0, 1, 0, 1), value=255))
        cfg = model_cfg(sr_aux=None, data_preprocessor=preprocessor_cfg(size=(1, 1)))
        model = build(cfg)
        assert losses(model, odd) == losses(model, even)

    def test_padded_labels_repeat_where_nothing_is_ignored(self, monkeypatch):
        data = batch((47, 63))
        for sample in data['data_samples']:
            sample.gt_sem_seg.data.clamp_(max=NUM_CLASSES - 1)
        head = head_cfg(ignore_index=None, loss_decode=dict(type='DiceLoss', ignore_index=None))
        model = build(model_cfg(head=head, data_preprocessor=preprocessor_cfg(size=(1, 1))))
        label = learned_labels(model, data, monkeypatch)[0]
        assert label.shape == (1, 48, 64) and label.dtype == torch.int64
        assert torch.equal(label[..., :-1, :-1], data['data_samples'][0].gt_sem_seg.data)
        assert torch.equal(label[..., -1, :], label[..., -2, :])


@pytest.mark.parametrize('overrides', [{}, dict(dsrl=False, low_res_labels=True)])
@pytest.mark.parametrize('size', [SIZE, (47, 63)])
def test_loss_leaves_its_samples_alone(size, overrides):
    model = build(model_cfg(data_preprocessor=preprocessor_cfg(size=(1, 1)), norm_cfg=GN, **overrides))
    data = model.data_preprocessor(batch(size), True)
    before = copy.deepcopy(data['data_samples'])
    first, second = (model(**data, mode='loss') for _ in range(2))
    assert first == second
    for sample, kept in zip(data['data_samples'], before, strict=True):
        assert sample.keys() == kept.keys() and sample.metainfo == kept.metainfo
        assert torch.equal(sample.gt_sem_seg.data, kept.gt_sem_seg.data)


class TestLRLabels:
    def test_the_stock_head_learns_one_label_of_each_block(self):
        model = build(model_cfg(dsrl=False, low_res_labels=True))
        data = model.data_preprocessor(batch(), True)
        small = [
            SegDataSample(gt_sem_seg=PixelData(data=sample.gt_sem_seg.data[..., 1::2, 1::2]))
            for sample in data['data_samples']
        ]
        values = model(**data, mode='loss')
        # As stock MMSegmentation learns the reduced image with the reduced label.
        logits = model.decode_head(model.backbone(model.network_input(data['inputs'])))
        expected = model.decode_head.loss_by_feat(logits, small)
        assert values['decode.loss_ce'] == expected['loss_ce'] and values['decode.acc_seg'] == expected['acc_seg']
        on_the_canvas = losses(build(model_cfg(dsrl=False)), batch())
        assert values['decode.loss_ce'] != on_the_canvas['decode.loss_ce']

    def test_of_a_canvas_that_nothing_divides(self, monkeypatch):
        model = build(model_cfg(dsrl=False, low_res_labels=True, data_preprocessor=preprocessor_cfg(size=(1, 1))))
        data = batch((47, 63))
        reduced = learned_labels(model, data, monkeypatch)[0]
        assert reduced.shape == (1, 24, 32)
        assert torch.equal(reduced[..., :-1, :-1], data['data_samples'][0].gt_sem_seg.data[..., 1::2, 1::2])
        assert (reduced[..., -1, :] == 255).all() and (reduced[..., -1] == 255).all()

    def test_is_not_for_an_sssr_head(self):
        with pytest.raises(ValueError, match='low_res_labels=True trains on reduced labels'):
            build(model_cfg(low_res_labels=True))


def test_labels_can_guide_affinity():
    model = build(model_cfg(sr_aux=dict(sr_aux_cfg(), fa_on='labels')))
    data = model.data_preprocessor(batch(), True)
    before = model(**data, mode='loss')['sr.loss_fa']
    for sample in data['data_samples']:
        sample.gt_sem_seg.data.fill_(255)
    assert before > 0 and model(**data, mode='loss')['sr.loss_fa'] == 0


def test_channels_last_is_a_layout_only():
    cfg = model_cfg()
    plain, other = build(cfg), build(dict(cfg, channels_last=True))
    reference, got = losses(plain, batch()), losses(other, batch())
    for name, value in reference.items():
        torch.testing.assert_close(got[name], value, rtol=1e-4, atol=1e-5)
    inputs = other.data_preprocessor(batch(), True)['inputs']
    for model, expected in ((plain, False), (other, True)):
        features = model.extract_feat(inputs)[-1]
        assert features.is_contiguous(memory_format=torch.channels_last) is expected


class TestSizes:
    def test_padding_of_the_preprocessor_is_cut_off(self):
        cfg = model_cfg(data_preprocessor=preprocessor_cfg(test_cfg=dict(size_divisor=32)))
        model = trained(cfg)
        data = batch((40, 50), n=1)
        padded = F.pad(normalize(data['inputs'][0]), (0, 14, 0, 24))
        result = model.val_step(data)[0]
        assert torch.equal(result.seg_logits.data, model(padded)[0, :, :40, :50])

    def test_padding_in_training_is_void(self):
        # The lower right of the canvas is the preprocessor's: what the network says there must not matter.
        cfg = model_cfg(sr_aux=None, data_preprocessor=preprocessor_cfg(size=(64, 80)), norm_cfg=GN)
        model = build(cfg)
        data = batch(n=2)
        images, samples = model.data_preprocessor(copy.deepcopy(data), True).values()
        assert images.shape[-2:] == (64, 80)
        logits = model.eval()(images)[..., : SIZE[0], : SIZE[1]]
        label = torch.cat([sample.gt_sem_seg.data for sample in data['data_samples']])
        # The stock cross entropy divides by all pixels, padding and void included.
        expected = F.cross_entropy(logits, label, ignore_index=255, reduction='sum') / (2 * 64 * 80)
        torch.testing.assert_close(losses(model, data)['decode.loss_ce'], expected)

    def test_prediction_has_the_size_of_the_file(self):
        model = trained(model_cfg())
        data = batch(n=1)
        data['data_samples'][0].set_metainfo(dict(ori_shape=(90, 100)))
        expected = F.interpolate(model(normalize(data['inputs'][0])), (90, 100), mode='bilinear')
        assert torch.equal(model.val_step(data)[0].seg_logits.data, expected[0])

    @pytest.mark.parametrize('low_res_input', [False, True])
    def test_without_samples(self, low_res_input):
        model = trained(model_cfg(low_res_input=low_res_input))
        image = normalize(batch((47, 63), n=1)['inputs'][0])
        result = model(image, mode='predict')[0]
        assert torch.equal(result.seg_logits.data, model(image)[0])


class TestSlidingWindows:
    def test_windows_are_averaged(self):
        model = trained(model_cfg(test_cfg=dict(mode='slide', crop_size=(47, 63), stride=(47, 40))))
        data = batch((47, 103), n=1)
        image = normalize(data['inputs'][0])
        total = torch.zeros(NUM_CLASSES, 47, 103)
        for left in (0, 40):
            total[..., left : left + 63] += model(image[..., left : left + 63])[0]
        total[..., 40:63] /= 2
        torch.testing.assert_close(model.val_step(data)[0].seg_logits.data, total)


class TestLabels:
    def test_binary_with_one_channel(self):
        loss_decode = dict(type='CrossEntropyLoss', use_sigmoid=True)
        binary = head_cfg('FCNHead', num_classes=2, out_channels=1, threshold=0.55, loss_decode=loss_decode)
        model = build(model_cfg(head=binary, norm_cfg=GN, sr_aux=sr_aux_cfg(fa_on='outputs')))
        data = batch(classes=2)
        label = torch.cat([sample.gt_sem_seg.data for sample in data['data_samples']])
        inputs = model.eval().data_preprocessor(batch())['inputs']
        logits = model(inputs)
        assert logits.shape == (2, 1, *SIZE)
        expected = F.binary_cross_entropy_with_logits(logits[:, 0], label.clamp(max=1).float(), reduction='none')
        valid = label != 255
        torch.testing.assert_close(losses(model, data)['decode.loss_ce'], expected[valid].sum() / valid.numel())
        # A mask where the sigmoid exceeds the threshold, on both sides of which there are pixels.
        with torch.no_grad():
            model.decode_head.decode_head.conv_seg.bias.add_(0.2007 - logits.median())
        probability = model(inputs).sigmoid()
        results = model.val_step(batch())
        mask = torch.stack([result.pred_sem_seg.data for result in results])
        assert torch.equal(mask, (probability > 0.55).float())
        assert 0 < mask.mean() < 1


class TestTrainingOnlyParts:
    def test_the_sisr_head_reads_what_is_before_the_neck(self):
        neck = dict(type='FPN', in_channels=list(CHANNELS), out_channels=16, num_outs=4)
        head = head_cfg('FPNHead', in_channels=[16] * 4, in_index=[0, 1, 2, 3], feature_strides=[4, 8, 8, 8])
        auxiliary = auxiliary_head_cfg() | dict(in_channels=16)  # reads what is after it
        model = build(model_cfg(head=head, neck=neck, auxiliary_head=auxiliary))
        seen = {}
        model.backbone.register_forward_hook(lambda _, args, feats: seen.update(backbone=feats))
        model.sr_aux.head.register_forward_pre_hook(lambda _, args: seen.update(sisr=args[0]))
        losses(model, batch())
        assert seen['sisr'] is seen['backbone']

    def test_affinities_of_padding_are_left_out(self):
        model = build(model_cfg(data_preprocessor=preprocessor_cfg(size=(48, 96))))
        seen = []
        model.sr_aux.fa.register_forward_pre_hook(lambda _, feats: seen.extend(feats))
        data = batch((48, 64))
        for sample in data['data_samples']:  # of files twice as large
            sample.set_metainfo(dict(ori_shape=(96, 128)))
        losses(model, data)
        assert len(seen) == 2
        for feat in seen:
            width = feat.shape[-1] * 64 // 96
            assert feat[..., :width].any() and not feat[..., width:].any()


class TestLRInput:
    """The second entrance: frames of 24x32 pixels, masks of 48x64."""

    @staticmethod
    def frames(size=(24, 32), n=2):
        return batch(size, n)

    def pair(self, factor=2, **overrides):
        canvas = trained(model_cfg(scale_factor=factor, **overrides))
        frames = build(model_cfg(scale_factor=factor, low_res_input=True, **overrides)).eval()
        frames.load_state_dict(canvas.state_dict())
        return canvas, frames

    @pytest.mark.parametrize('factor', [2, 4])
    @pytest.mark.parametrize('size', [(24, 32), (23, 33)])
    def test_equals_the_canvas_whose_reduction_the_frame_is(self, factor, size):
        canvas, frames = self.pair(factor)
        small, large = self.frames(size), self.frames(size)
        large['inputs'] = [x.repeat_interleave(factor, 1).repeat_interleave(factor, 2) for x in large['inputs']]
        big = tuple(side * factor for side in size)
        for sample in large['data_samples']:
            sample.set_metainfo(dict(ori_shape=big, img_shape=big))
        ours = logits_of(frames.test_step(small))
        assert ours.shape == (2, NUM_CLASSES, *big)
        torch.testing.assert_close(ours, logits_of(canvas.test_step(large)))
        assert torch.equal(frames(frames.data_preprocessor(self.frames(size))['inputs']), ours)

    @pytest.mark.parametrize('key', ['img_padding_size', 'padding_size'])
    def test_metas_are_the_canvas_s_and_the_callers_samples_are_left_alone(self, key):
        # A 30x41 file, resized to 24x32, padded to 32x32 by the preprocessor.
        preprocessor = preprocessor_cfg(test_cfg=dict(size_divisor=16))
        _, model = self.pair(data_preprocessor=preprocessor)
        data = self.frames(n=1)
        data['data_samples'][0].set_metainfo(dict(ori_shape=(30, 41), img_shape=(24, 32)))
        padded = model.data_preprocessor(data)
        padded['data_samples'][0].set_metainfo({key: padded['data_samples'][0].pop('img_padding_size')})
        first, second = (model(**padded, mode='predict')[0] for _ in range(2))
        assert (first.ori_shape, first.img_shape, first.pad_shape) == ((60, 82), (48, 64), (64, 64))
        assert first.img_path == '0.png' and 'gt_sem_seg' in first
        assert data['data_samples'][0].ori_shape == (30, 41)
        expected = F.interpolate(model(padded['inputs'])[..., :48, :64], (60, 82), mode='bilinear')
        assert torch.equal(first.seg_logits.data, expected[0])
        assert torch.equal(second.seg_logits.data, expected[0])

    def test_flipped_frames(self):
        _, model = self.pair()
        data = self.frames(n=1)
        data['data_samples'][0].set_metainfo(dict(flip=True, flip_direction='horizontal'))
        expected = model(normalize(data['inputs'][0])).flip(3)
        assert torch.equal(logits_of(model.test_step(data)), expected)

    def test_refuses_sliding_windows(self):
        with pytest.raises(ValueError, match='low_res_input=True takes whole LR frames'):
            build(model_cfg(low_res_input=True, test_cfg=dict(mode='slide', crop_size=SIZE, stride=SIZE)))

    def test_refuses_to_train(self):
        model = build(model_cfg(low_res_input=True))
        with pytest.raises(RuntimeError, match='low_res_input=True is for inference'):
            losses(model, batch())

    def test_rebuilds_the_canvas(self):
        _, model = self.pair(test_cfg=dict(mode='whole', with_sr=True))
        assert model.test_step(self.frames(n=1))[0].sr_img.data.shape == (3, *SIZE)


class TestRebuiltImage:
    def model(self, value, **overrides):
        """A model whose SISR branch says ``value``, in the network's units, everywhere."""
        model = trained(model_cfg(test_cfg=dict(mode='whole', with_sr=True), **overrides))
        conv = model.sr_aux.head.upsampler.predict[0]
        with torch.no_grad():
            conv.weight.zero_()
            conv.bias.fill_(value)
        return model

    @pytest.mark.parametrize(('size', 'swap'), [(SIZE, 'bgr_to_rgb'), ((47, 61), 'bgr_to_rgb'), (SIZE, 'rgb_to_bgr')])
    def test_has_the_units_and_channel_order_of_the_file(self, size, swap):
        # 0.5 means half a standard deviation above the mean: (150, 135, 120), in the other order than the file's.
        preprocessor = preprocessor_cfg(bgr_to_rgb=False) | {swap: True}
        image = self.model(0.5, data_preprocessor=preprocessor).test_step(batch(size, n=1))[0].sr_img.data
        assert image.shape == (3, *size)
        torch.testing.assert_close(image, torch.tensor([120.0, 135.0, 150.0]).view(3, 1, 1).expand_as(image))

    def test_without_normalization(self):
        preprocessor = dict(type='SegDataPreProcessor', size=SIZE)
        image = self.model(77.0, data_preprocessor=preprocessor).test_step(batch(n=1))[0].sr_img.data
        assert torch.equal(image, torch.full_like(image, 77.0))

    def test_is_left_out_by_default(self):
        assert 'sr_img' not in trained(model_cfg()).test_step(batch(n=1))[0]

    @pytest.mark.parametrize('low_res_input', [False, True])
    def test_costs_no_second_run_of_the_backbone(self, low_res_input):
        model = self.model(0.5, low_res_input=low_res_input)
        runs = []
        model.backbone.register_forward_hook(lambda *_: runs.append(1))
        model.test_step(batch(n=1))
        assert len(runs) == 1

    def test_of_sliding_windows_is_that_of_the_whole(self):
        cfg = model_cfg(test_cfg=dict(mode='whole', with_sr=True))
        whole = trained(cfg)
        slide = trained(cfg | dict(test_cfg=dict(mode='slide', crop_size=(32, 40), stride=(16, 24), with_sr=True)))
        images = [model.test_step(batch(n=1))[0].sr_img.data for model in (whole, slide)]
        assert torch.equal(*images)

    def test_needs_the_sisr_branch(self):
        model = trained(model_cfg(sr_aux=None, test_cfg=dict(mode='whole', with_sr=True)))
        with pytest.raises(RuntimeError, match='no SISR branch'):
            model.test_step(batch(n=1))

    @pytest.mark.parametrize('residual', [False, True])
    def test_is_what_training_compares_with_the_canvas(self, residual):
        # Its squared error in units of the standard deviation is the loss over its weight.
        sr_aux = sr_aux_cfg()
        sr_aux['head']['residual'] = residual
        model = trained(model_cfg(sr_aux=sr_aux, test_cfg=dict(mode='whole', with_sr=True)))
        data = batch(n=1)
        image = model.test_step(copy.deepcopy(data))[0].sr_img.data
        std = torch.tensor(STD).flip(0).view(3, 1, 1)
        expected = 0.1 * ((image - data['inputs'][0]) / std).square().mean()
        torch.testing.assert_close(losses(model, data)['sr.loss_sisr'], expected)


class TestErrors:
    """In the user's terms: canvas, scale_factor, batch_size."""

    @staticmethod
    def network_that_pools(kernel):
        model = build(model_cfg(dsrl=False, norm_cfg=GN))
        model.backbone.stem.append(nn.AvgPool2d(kernel))
        return model

    @pytest.mark.parametrize('mode', ['loss', 'predict'])
    def test_a_canvas_too_small(self, mode):
        # The network reads 16x20 pixels, its stem makes 8x10 of them.
        data = batch((31, 39))
        model = self.network_that_pools(9)
        message = (
            r'Images of 31x39 pixels are too small for this network, which reads 16x20 of them \(scale_factor=2.*'
            'Output size is too small.*crop_size.*a smaller scale_factor'
        )
        with pytest.raises(ValueError, match=message):
            model(**model.data_preprocessor(data), mode=mode)

    def test_a_canvas_just_large_enough(self):
        model = self.network_that_pools(8).eval()
        assert model.val_step(batch((31, 39), n=1))[0].pred_sem_seg.data.shape == (1, 31, 39)

    def test_even_one_pixel_is_a_canvas_for_a_network_that_takes_it(self):
        assert trained(model_cfg()).val_step(batch((1, 1), n=1))[0].pred_sem_seg.data.shape == (1, 1, 1)

    def test_an_lr_frame_too_small(self):
        model = build(model_cfg(low_res_input=True)).eval()
        model.backbone.stem.append(nn.AvgPool2d(9))
        with pytest.raises(ValueError, match='Images of 16x20 pixels .* reads 16x20 of them'):
            model.test_step(batch((16, 20), n=1))

    @pytest.mark.parametrize('layer', [nn.Conv2d(8, 8, 30), nn.ReflectionPad2d(20), nn.InstanceNorm2d(8)])
    def test_other_layers_that_need_room(self, layer):
        model = build(model_cfg(dsrl=False, data_preprocessor=preprocessor_cfg(size=(1, 1))))
        model.backbone.stem.append(layer)
        with pytest.raises(ValueError, match='Images of 2x2 pixels are too small for this network'):
            losses(model, batch((2, 2)))

    def test_a_network_of_multiples(self):
        head = head_cfg('FCNHead', in_channels=4, in_index=4)
        model = build(model_cfg(dsrl=False, head=head) | dict(backbone=dict(type='UNet', base_channels=4)))
        message = r'reads 25x32 of images of 50x64 pixels .* multiples of 16: sides of images must be multiples of 32\.'
        with pytest.raises(ValueError, match=message):
            losses(model, batch((50, 64)))

    @pytest.mark.parametrize('head', ['PSPHead', 'DepthwiseSeparableASPPHead'])
    def test_batch_norm_on_one_pixel_of_one_image(self, head):
        model = build(model_cfg(head=head))
        with pytest.raises(
            ValueError, match=r'A batch of one image of 48x64 pixels .*batch_size to at least 2.*SyncBN'
        ):
            losses(model, batch(n=1))
        losses(model, batch(n=2))
        losses(build(model_cfg(head=head, norm_cfg=GN)), batch(n=1))  # the remedy

    def test_other_errors_pass_untouched(self):
        model = build(model_cfg(dsrl=False, head=head_cfg('FCNHead', in_channels=63)))
        with pytest.raises(RuntimeError, match='expected input.* to have 63 channels') as error:
            losses(model, batch())
        assert 'scale_factor' not in str(error.value)


def test_samples_need_no_labels_to_be_predicted():
    model = trained(model_cfg())
    data = batch(n=1)
    data['data_samples'] = [SegDataSample(metainfo=data['data_samples'][0].metainfo)]
    assert torch.equal(logits_of(model.test_step(data)), logits_of(model.test_step(batch(n=1))))


class TestExport:
    """A graph gives what the model gives: masks of the canvas's size, whatever that is."""

    def model(self, low_res_input, skip):
        cfg = model_cfg(sr_aux=None, low_res_input=low_res_input)
        if skip:
            cfg['decode_head']['skip'] = dict(in_index=0, in_channels=CHANNELS[0])
            cfg['decode_head']['decode_head']['in_index'] = 2  # of the others
        return trained(cfg)

    @pytest.mark.parametrize('low_res_input', [False, True])
    @pytest.mark.parametrize('skip', [False, True])
    def test_a_traced_graph_takes_other_sizes_and_batches(self, low_res_input, skip):
        model = self.model(low_res_input, skip)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of Python decisions in MMSegmentation
            graph = torch.jit.trace(model, torch.rand(1, 3, *SIZE), check_trace=False)
            for n, height, width in ((1, 47, 63), (3, 48, 64), (2, 61, 50)):
                inputs = torch.rand(n, 3, height, width)
                torch.testing.assert_close(graph(inputs), model(inputs))
