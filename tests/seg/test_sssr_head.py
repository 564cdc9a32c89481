import copy
import io
from math import prod

import pytest
import torch
import torch.nn.functional as F
from mmseg.models import FCNHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.utils import add_prefix
from toy import (
    CHANNELS,
    HEADS,
    NUM_CLASSES,
    batch,
    build,
    enlarged,
    head_cfg,
    losses,
    model_cfg,
    spread_weights,
)

from dsrl_mm.seg.head_wrapper import check_wrappable

UPSAMPLERS = [
    dict(type='DeconvUpsampler', channels=8),
    dict(type='DeconvUpsampler', channels=8, factors=(2, 2)),
    dict(type='SubPixelUpsampler', channels=8, factors=(4,)),
]


def sssr_cfg(head='PSPHead', upsampler=UPSAMPLERS[0], **overrides):
    return dict(type='SSSRHead', decode_head=head_cfg(head, **overrides), upsampler=upsampler)


def feats(size=(3, 4), n=2):
    """The backbone's outputs; the first stage is twice as fine as the others, as in the toy ResNet."""
    scales = (2, 1, 1, 1)
    return tuple(torch.randn(n, c, size[0] * s, size[1] * s) for c, s in zip(CHANNELS, scales))


def twins(head, upsampler=UPSAMPLERS[0], **overrides):
    """A baseline with weights as after training, and a DSRL model that took them."""
    cfg = head_cfg(head, **overrides)
    baseline = spread_weights(build(model_cfg(dsrl=False, head=cfg)))
    decode_head = dict(type='SSSRHead', decode_head=cfg, upsampler=upsampler)
    dsrl = build(model_cfg(head=cfg, decode_head=decode_head), seed=1)
    dsrl.load_state_dict(baseline.state_dict(), strict=False)
    return baseline, dsrl


def seeded(function, *args, **kwargs):
    """LightHamHead draws random bases, dropout random masks."""
    torch.manual_seed(0)
    return function(*args, **kwargs)


class TestStartsAtTheBaseline:
    @pytest.mark.parametrize('head', HEADS)
    def test_logits_are_the_baselines_enlarged(self, head):
        baseline, dsrl = twins(head)
        inputs = baseline.eval().data_preprocessor(batch())['inputs']
        expected = seeded(enlarged, baseline, inputs)
        assert expected.std() > 0
        assert torch.equal(seeded(dsrl.eval(), inputs), expected)

    @pytest.mark.parametrize('upsampler', UPSAMPLERS)
    @pytest.mark.parametrize('align_corners', [False, True])
    def test_whatever_the_stack(self, upsampler, align_corners):
        baseline, dsrl = twins('PSPHead', upsampler, align_corners=align_corners)
        inputs = baseline.eval().data_preprocessor(batch((50, 71)))['inputs']
        assert torch.equal(dsrl.eval()(inputs), enlarged(baseline, inputs, prod(upsampler.get('factors', (2,)))))

    @pytest.mark.parametrize('head', HEADS)
    def test_losses_are_of_the_baselines_logits(self, head):
        baseline, dsrl = twins(head, dropout_ratio=0.5)
        data = baseline.data_preprocessor(batch(), True)
        logits = seeded(enlarged, baseline, data['inputs'])
        expected = add_prefix(baseline.decode_head.loss_by_feat(logits, data['data_samples']), 'decode')
        got = seeded(dsrl, **data, mode='loss')
        assert expected == {name: got[name] for name in expected}

    def test_after_init_weights_too(self):
        head = MODELS.build(sssr_cfg())
        torch.nn.init.ones_(head.upsampler.predict.weight)
        head.init_weights()
        assert head.eval().parts(feats())[2].abs().max() == 0


class TestResidual:
    def test_is_added_to_the_baselines_logits(self):
        # Predicting a constant per class must shift the baseline's logits by it, on every pixel.
        baseline, dsrl = twins('FCNHead')
        shift = torch.arange(NUM_CLASSES) * 0.25
        with torch.no_grad():
            dsrl.decode_head.upsampler.predict.bias.copy_(shift)
        inputs = baseline.eval().data_preprocessor(batch())['inputs']
        torch.testing.assert_close(dsrl.eval()(inputs), enlarged(baseline, inputs) + shift.view(1, -1, 1, 1))

    def test_what_affinity_compares_is_what_enters_and_leaves_the_prediction_layer(self):
        head = spread_weights(MODELS.build(sssr_cfg())).eval()
        data = build(model_cfg(dsrl=False)).data_preprocessor(batch(), True)
        inputs = feats()
        _, (hidden, logits) = head.loss_and_features(inputs, data['data_samples'])
        base, _, residual = head.parts(inputs)
        assert torch.equal(head.upsampler.predict(hidden), residual)
        assert hidden.shape == (2, 8, 6, 8)
        assert hidden.requires_grad and logits.requires_grad  # it teaches what it compares
        assert torch.equal(logits, F.interpolate(base, (6, 8), mode='bilinear') + residual)

    def test_reads_features_before_dropout(self):
        # The base logits vary with the mask; the residual must not, or FA would compare noise.
        head = spread_weights(MODELS.build(sssr_cfg('FCNHead', dropout_ratio=0.5)))
        head.decode_head.convs.eval()
        inputs = feats()
        first, second = (head.parts(inputs) for _ in range(2))
        assert not torch.equal(first[0], second[0])
        assert torch.equal(first[1], second[1])


class TestInterface:
    def test_shows_what_others_read_off_a_decode_head(self):
        head = MODELS.build(sssr_cfg('FCNHead', align_corners=True, ignore_index=7))
        binary = MODELS.build(sssr_cfg('FCNHead', num_classes=2, out_channels=1, threshold=0.4))
        assert (head.num_classes, head.out_channels, head.align_corners, head.ignore_index) == (5, 5, True, 7)
        assert (binary.num_classes, binary.out_channels, binary.threshold) == (2, 1, 0.4)

    @pytest.mark.parametrize(
        'overrides',
        [
            dict(loss_decode=[dict(type='CrossEntropyLoss'), dict(type='DiceLoss', loss_name='loss_dice')]),
            dict(sampler=dict(type='OHEMPixelSampler', min_kept=20)),
            dict(ignore_index=3),
            dict(align_corners=True),
        ],
        ids=['two losses', 'pixel sampler', 'ignore_index', 'align_corners'],
    )
    def test_losses_and_label_handling_are_the_wrapped_heads(self, overrides):
        if 'ignore_index' in overrides:
            data = [batch(classes=3) for _ in range(2)]
            for samples in data:
                for sample in samples['data_samples']:
                    sample.gt_sem_seg.data[sample.gt_sem_seg.data == 255] = 3
        else:
            data = [batch(), batch()]
        baseline, dsrl = twins('FCNHead', **overrides)
        inputs = baseline.data_preprocessor(data[0], True)
        logits = enlarged(baseline, inputs['inputs'])
        expected = add_prefix(baseline.decode_head.loss_by_feat(logits, inputs['data_samples']), 'decode')
        got = losses(dsrl, data[1])
        assert expected == {name: got[name] for name in expected}
        assert expected != losses(twins('FCNHead')[0], batch())  # the setting does change them

    def test_loss_is_the_stock_interface(self):
        head = spread_weights(MODELS.build(sssr_cfg('FCNHead', ignore_index=255))).eval()
        samples = batch(n=1)['data_samples']
        features = feats(n=1)
        assert head.loss(features, samples, {}) == head.loss_and_features(features, samples)[0]

    def test_copies_and_pickles(self):
        head = spread_weights(MODELS.build(sssr_cfg())).eval()
        inputs = feats()
        file = io.BytesIO()
        torch.save(head, file)
        file.seek(0)
        for twin in (copy.deepcopy(head), torch.load(file, weights_only=False)):
            assert torch.equal(twin(inputs), head(inputs))
            # The copy is one: it must not write through to the original.
            with torch.no_grad():
                twin.upsampler.predict.bias.add_(1)
            assert not torch.equal(twin(inputs), head(inputs))


@MODELS.register_module()
class _TwoBranchHead(FCNHead):
    def forward(self, inputs):
        feat = self._forward_feature(inputs)
        return self.cls_seg(feat), feat


@MODELS.register_module()
class _LateConvHead(FCNHead):
    """Goes on after ``cls_seg``."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.after = torch.nn.Conv2d(self.channels, 3, 1)

    def forward(self, inputs):
        return self.after(super().forward(inputs))


class TestRefuses:
    @pytest.mark.parametrize(
        ('head', 'reason'),
        [
            (head_cfg('OCRHead', ocr_channels=8), 'a stage of a cascade'),
            (head_cfg('DAHead', pam_channels=8), 'loss_by_feat and a predict of its own'),
            (
                dict(
                    type='SegmenterMaskTransformerHead',
                    **dict(in_channels=64, channels=16, num_classes=5, num_layers=1, num_heads=1, embed_dims=16),
                ),
                'no conv_seg layer',
            ),
            (dict(type='CrossEntropyLoss'), 'no BaseDecodeHead'),
        ],
        ids=lambda x: x['type'] if isinstance(x, dict) else '',
    )
    def test_heads_that_do_not_end_in_cls_seg(self, head, reason):
        with pytest.raises(TypeError) as error:
            MODELS.build(dict(type='SSSRHead', decode_head=head))
        assert f'SSSRHead cannot wrap {head["type"]}: it ' in str(error.value)
        assert reason in str(error.value)
        assert 'model.decode_head.decode_head' in str(error.value)

    @pytest.mark.parametrize('step', ['cls_seg', 'loss', 'loss_by_feat', 'predict', 'predict_by_feat'])
    def test_steps_that_it_takes_over(self, step):
        with pytest.raises(TypeError, match=f'SSSRHead cannot wrap Own: it has a {step} of its own'):
            check_wrappable(type('Own', (FCNHead,), {step: lambda self: None}))

    def test_cascades(self):
        with pytest.raises(TypeError, match='SSSRHead cannot wrap Sequential: it is no BaseDecodeHead'):
            MODELS.build(dict(type='SSSRHead', decode_head=[head_cfg('FCNHead'), head_cfg('OCRHead', ocr_channels=8)]))

    @pytest.mark.parametrize(
        ('kind', 'got'), [('_TwoBranchHead', 'gives a tuple'), ('_LateConvHead', r'gives shape \(2, 3, 3, 4\)')]
    )
    def test_at_the_first_forward_what_only_shows_there(self, kind, got):
        cfg = head_cfg(kind, num_convs=1)
        model = build(model_cfg(head=cfg))
        with pytest.raises(TypeError, match=f'SSSRHead cannot wrap {kind}: its forward {got}'):
            losses(model, batch())


class TestStockCheckpoint:
    def test_every_tensor_goes_to_the_wrapped_head(self):
        stock = spread_weights(MODELS.build(head_cfg('PSPHead')))
        head = MODELS.build(sssr_cfg('PSPHead'))
        weights = stock.state_dict()
        keys = list(weights)
        result = head.load_state_dict(weights, strict=False)
        assert list(weights) == keys  # the caller's dictionary is left alone
        assert result.unexpected_keys == []
        assert all(name.startswith('upsampler.') for name in result.missing_keys)
        for name, tensor in stock.state_dict().items():
            assert torch.equal(head.decode_head.state_dict()[name], tensor), name

    def test_a_checkpoint_of_other_parts_is_no_stock_heads(self, log):
        MODELS.build(sssr_cfg()).adopt_stock_checkpoint({'backbone.weight': torch.zeros(1)}, 'decode_head.')
        assert log == []

    def test_a_checkpoint_of_its_own_is_taken_as_it_is(self):
        head, twin = (spread_weights(MODELS.build(sssr_cfg()), seed) for seed in (0, 1))
        twin.load_state_dict(head.state_dict())  # strict
        assert all(torch.equal(a, b) for a, b in zip(head.state_dict().values(), twin.state_dict().values()))


class TestSkip:
    CFG = dict(
        type='SSSRHead',
        upsampler=dict(type='DeconvUpsampler', channels=8),
        skip=dict(in_index=0, in_channels=CHANNELS[0]),
    )

    @pytest.mark.parametrize('kind', ['FCNHead', 'DepthwiseSeparableASPPHead'])
    def test_the_wrapped_head_does_not_see_the_early_features(self, kind):
        # The second head's first input is the one that it fuses, whatever its in_index.
        rest = dict(c1_in_channels=CHANNELS[1]) if kind != 'FCNHead' else {}
        stock = head_cfg(kind, in_index=2, **rest)
        head = MODELS.build(dict(self.CFG, decode_head=stock)).eval()
        inputs = feats()
        base, hidden, residual = head.parts(inputs)
        assert torch.equal(base, BaseDecodeHead.cls_seg(head.decode_head, head.decode_head(inputs[1:])))
        assert hidden.shape == (2, 8, 6, 8) and residual.shape == (2, NUM_CLASSES, 6, 8)
        assert not torch.equal(head.parts((inputs[0] + 1, *inputs[1:]))[1], hidden)

    @pytest.mark.parametrize(
        ('cfg', 'message'),
        [
            (dict(skip=dict(in_index=0)), 'in_channels'),
            (dict(upsampler=UPSAMPLERS[2]), 'SubPixelUpsampler.*skip_channels'),
        ],
    )
    def test_the_stack_must_be_able_to_read_them(self, cfg, message):
        with pytest.raises(TypeError, match=message):
            MODELS.build(dict(self.CFG, decode_head=head_cfg('FCNHead'), **cfg))

    @pytest.mark.parametrize('skip', [{}, dict(skip=None)])
    def test_the_stacks_own_option_is_refused_with_the_heads(self, skip):
        cfg = dict(type='SSSRHead', decode_head=head_cfg('FCNHead'), **skip)
        with pytest.raises(ValueError, match=r'upsampler.skip_channels .* skip=dict\(in_index=..., in_channels=...\)'):
            MODELS.build(dict(cfg, upsampler=dict(type='DeconvUpsampler', skip_channels=CHANNELS[0])))

    @pytest.mark.parametrize(
        ('index', 'channels', 'message'),
        [
            (4, CHANNELS[0], 'the head is given 4 feature maps'),
            (-5, CHANNELS[0], 'the head is given 4 feature maps'),
            (0, CHANNELS[0] + 1, f'in_channels={CHANNELS[0] + 1}. asks for features that do not exist'),
            (1, CHANNELS[1], r'enlarge the features to \(6, 8\), but the early feature map is \(3, 4\)'),
        ],
    )
    def test_the_early_features_must_fit(self, index, channels, message):
        cfg = dict(self.CFG, decode_head=head_cfg('FCNHead', in_index=2))
        with pytest.raises(ValueError, match=message):
            MODELS.build(dict(cfg, skip=dict(in_index=index, in_channels=channels))).parts(feats())
