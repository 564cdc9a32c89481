import copy
import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import load_checkpoint, save_checkpoint
from mmseg.models import SegTTAModel
from torch import nn
from toy import HEADS, auxiliary_head_cfg, batch, build, head_cfg, model_cfg, spread_weights

from dsrl_mm.engine.loading import (
    CompleteCheckpointHook,
    check_classes,
    check_complete,
    match_checkpoint,
    without_pretrained,
)


def save(model, path, **more):
    torch.save(dict(state_dict=model.state_dict(), meta={}, **more), path)
    return str(path)


def stock_encoder_decoder(head, **overrides):
    """MMSegmentation's own segmentor, with weights as after training."""
    cfg = model_cfg(dsrl=False, head=head, **overrides)
    cfg.pop('scale_factor')
    return spread_weights(build(cfg | dict(type='EncoderDecoder')))


def without_residual(name):
    return name.replace('decode_head.decode_head.', 'decode_head.')


class TestMatch:
    def test_by_name_and_shape(self):
        model = nn.ModuleDict(dict(a=nn.Linear(2, 3), b=nn.BatchNorm1d(4)))
        state_dict = {
            'a.weight': torch.zeros(3, 2),
            'a.bias': torch.zeros(5),
            'b.running_mean': torch.zeros(4),
            'b.running_var': torch.zeros(4),
            'c.weight': torch.zeros(1),
        }
        match = match_checkpoint(model, state_dict)
        assert match.taken == ['a.weight', 'b.running_mean', 'b.running_var']
        assert match.reshaped == ['a.bias']
        assert match.missing == ['b.weight', 'b.bias']  # num_batches_tracked decides nothing
        assert match.left == ['c.weight']


class TestStockCheckpoint:
    """A checkpoint that MMSegmentation wrote goes into a DSRL model."""

    @pytest.mark.parametrize('head', HEADS)
    def test_all_of_it_is_taken(self, head, tmp_path, log):
        stock = stock_encoder_decoder(head, auxiliary_head=auxiliary_head_cfg())
        path = tmp_path / 'stock.pth'
        save_checkpoint(dict(state_dict=stock.state_dict(), meta={}), str(path))
        dsrl = build(model_cfg(head=head, auxiliary_head=auxiliary_head_cfg()), seed=1)
        load_checkpoint(dsrl, str(path), map_location='cpu')

        weights = {without_residual(name): value for name, value in dsrl.state_dict().items()}
        for name, value in stock.state_dict().items():
            assert torch.equal(weights[name], value), name
        count = sum(name.startswith('decode_head.') for name in stock.state_dict())
        (adopted,) = (line for line in log if line.startswith('SSSRHead:'))
        assert f'its {count} tensors go to the wrapped {head}' in adopted
        (summary,) = (line for line in log if line.startswith('Checkpoint:'))
        assert f'{len(stock.state_dict())} tensors taken' in summary
        assert 'left as initialized: decode_head.upsampler, sr_aux.head, sr_aux.transform.' in summary
        assert 'not in the model: none' in summary
        assert not any('unexpected key' in line for line in log)

    def test_into_the_baseline_twin(self, tmp_path, log):
        stock = stock_encoder_decoder('PSPHead')
        twin = build(model_cfg(dsrl=False), seed=1)
        load_checkpoint(twin, save(stock, tmp_path / 'stock.pth'))
        assert all(torch.equal(a, b) for a, b in zip(twin.state_dict().values(), stock.state_dict().values()))
        assert not any(line.startswith(('Checkpoint:', 'SSSRHead:')) for line in log)  # nothing to say

    def test_of_other_classes_leaves_the_prediction_layer(self, tmp_path, log):
        stock = stock_encoder_decoder(head_cfg('PSPHead', num_classes=7))
        dsrl = build(model_cfg(), seed=1)
        fresh = dsrl.decode_head.decode_head.conv_seg.weight.clone()
        load_checkpoint(dsrl, save(stock, tmp_path / 'stock.pth'))
        assert torch.equal(dsrl.decode_head.decode_head.conv_seg.weight, fresh)
        assert torch.equal(
            dsrl.decode_head.decode_head.bottleneck.conv.weight, stock.decode_head.bottleneck.conv.weight
        )
        (summary,) = (line for line in log if line.startswith('Checkpoint:'))
        assert 'Of another shape, so not taken: decode_head.decode_head.' in summary

    def test_of_another_head_leaves_the_head(self, tmp_path, log):
        stock = stock_encoder_decoder('UPerHead')
        dsrl = build(model_cfg(head='FCNHead'), seed=1)
        load_checkpoint(dsrl, save(stock, tmp_path / 'stock.pth'))
        assert torch.equal(dsrl.backbone.layer4[1].conv2.weight, stock.backbone.layer4[1].conv2.weight)
        (summary,) = (line for line in log if line.startswith('Checkpoint:'))
        assert re.search('In it but not in the model: .*decode_head.decode_head', summary)


class TestOwnCheckpoint:
    def test_round_trip(self, tmp_path, log):
        model, twin = (spread_weights(build(model_cfg()), seed) for seed in (0, 1))
        load_checkpoint(twin, save(model, tmp_path / 'model.pth'), strict=True)
        assert torch.equal(
            model.eval().val_step(batch())[0].seg_logits.data, twin.eval().val_step(batch())[0].seg_logits.data
        )
        assert not any(line.startswith(('Checkpoint:', 'SSSRHead:')) for line in log)

    def test_into_a_model_without_training_only_parts(self, tmp_path, log):
        model = spread_weights(build(model_cfg(auxiliary_head=auxiliary_head_cfg())))
        bare = build(model_cfg(sr_aux=None), seed=1)
        load_checkpoint(bare, save(model, tmp_path / 'model.pth'))
        assert all(torch.equal(value, model.state_dict()[name]) for name, value in bare.state_dict().items())
        (summary,) = (line for line in log if line.startswith('Checkpoint:'))
        assert 'left as initialized: none' in summary
        assert 'not in the model: auxiliary_head.bn' not in summary
        assert re.search('not in the model: auxiliary_head.*sr_aux.head, sr_aux.transform', summary)

    def test_of_a_distributed_run(self, tmp_path):
        model, twin = (spread_weights(build(model_cfg()), seed) for seed in (0, 1))
        weights = {f'module.{name}': value for name, value in model.state_dict().items()}
        torch.save(dict(state_dict=weights), tmp_path / 'ddp.pth')
        load_checkpoint(twin, str(tmp_path / 'ddp.pth'), strict=True)
        assert all(torch.equal(a, b) for a, b in zip(twin.state_dict().values(), model.state_dict().values()))

    def test_a_copy_of_the_model_loads_into_itself(self, tmp_path):
        # EMA averages a deep copy: its hooks must not act on the original.
        stock = stock_encoder_decoder('PSPHead')
        model = build(model_cfg(), seed=1)
        before = copy.deepcopy(model.state_dict())
        ema = copy.deepcopy(model)
        load_checkpoint(ema, save(stock, tmp_path / 'stock.pth'))
        assert torch.equal(ema.decode_head.decode_head.conv_seg.weight, stock.decode_head.conv_seg.weight)
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


BACKBONES = dict(
    R18={},
    R34=dict(depth=34),
    R50=dict(depth=50, base_channels=2),  # bottlenecks: 8, 16, 32 and 64 channels leave the stages
    wide=dict(base_channels=16, stem_channels=16),
)


def with_backbone(name):
    cfg = model_cfg(dsrl=False, head='FCNHead')
    cfg['backbone'] = cfg['backbone'] | BACKBONES[name]
    cfg['decode_head']['in_channels'] = 128 if name == 'wide' else 64
    return cfg


class TestAnotherArchitecture:
    @pytest.mark.parametrize(
        ('model', 'checkpoint'), [(a, b) for a in BACKBONES for b in BACKBONES if a != b and 'R18' in (a, b)]
    )
    def test_is_refused_and_nothing_is_overwritten(self, model, checkpoint, tmp_path):
        path = save(build(with_backbone(checkpoint), seed=1), tmp_path / 'other.pth')
        model = build(with_backbone(model))
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(
            ValueError, match='another architecture. Of the tensors of the ResNetV1c .*backbone.layer1.[012]'
        ):
            load_checkpoint(model, path)
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())

    def test_counts(self, tmp_path):
        # Blank names share nothing: every backbone tensor but batch counters is missing, and one is left over.
        model = build(with_backbone('R18'))
        torch.save(dict(state_dict={'backbone.patch_embed.weight': torch.zeros(1)}), tmp_path / 'vit.pth')
        missing = sum(
            name.startswith('backbone.') and not name.endswith('num_batches_tracked') for name in model.state_dict()
        )
        message = (
            rf'backbone, 0 are in it .* {missing} are missing .* 0 have .*\(none\); 1 are in it only \(backbone.pat'
        )
        with pytest.raises(ValueError, match=message):
            load_checkpoint(model, str(tmp_path / 'vit.pth'))

    def test_without_any_tensor_of_the_model(self):
        with pytest.raises(ValueError, match=r'belongs to another architecture.*0 are in it only \(none\)'):
            build(with_backbone('R18')).load_state_dict({'weight': torch.zeros(1)}, strict=False)

    def test_a_head_alone_is_none(self):
        model, other = build(with_backbone('R18')), build(with_backbone('R18'), seed=1)
        weights = {name: value for name, value in other.state_dict().items() if name.startswith('decode_head.')}
        model.load_state_dict(weights, strict=False)
        assert torch.equal(model.decode_head.conv_seg.weight, weights['decode_head.conv_seg.weight'])

    def test_a_backbone_short_of_a_stage_is_none(self, tmp_path, log):
        cfg = model_cfg(dsrl=False, head=head_cfg('FCNHead', in_channels=32, in_index=2))
        three = dict(num_stages=3, strides=(1, 2, 1), dilations=(1, 1, 2), out_indices=(0, 1, 2))
        short = build(cfg | dict(backbone=cfg['backbone'] | three))
        load_checkpoint(short, save(build(with_backbone('R18'), seed=1), tmp_path / 'full.pth'))
        assert any('In it but not in the model: backbone.layer4' in line for line in log)

    def test_inside_another_module(self):
        # As EMA and test-time augmentation hold it.
        model = nn.ModuleDict(dict(module=build(with_backbone('R18'))))
        weights = build(with_backbone('R50'), seed=1).state_dict()
        with pytest.raises(ValueError, match='another architecture'):
            model.load_state_dict({f'module.{name}': value for name, value in weights.items()}, strict=False)


def test_without_pretrained_reads_no_weights_anywhere():
    weights = dict(type='Pretrained', checkpoint='nowhere.pth')
    normal = dict(type='Normal', std=0.01)
    cfg = ConfigDict(
        pretrained='nowhere.pth',
        backbone=dict(type='BiSeNetV1', backbone_cfg=dict(depth=18, init_cfg=weights), init_cfg=weights),
        image_encoder=dict(type='TIMMBackbone', pretrained=True),
        auxiliary_head=[dict(init_cfg=normal)],
    )
    assert without_pretrained(cfg) == dict(
        pretrained=None,
        backbone=dict(type='BiSeNetV1', backbone_cfg=dict(depth=18)),
        image_encoder=dict(type='TIMMBackbone', pretrained=False),
        auxiliary_head=[dict(init_cfg=normal)],
    )
    assert isinstance(without_pretrained(cfg).backbone, ConfigDict)
    assert cfg.pretrained == 'nowhere.pth'


class TestComplete:
    def test_what_only_training_needs_may_lack(self):
        model = build(model_cfg(auxiliary_head=auxiliary_head_cfg()))
        check_complete(model, build(model_cfg(sr_aux=None)).state_dict(), 'x.pth')

    def test_all_else_may_not(self):
        model = build(model_cfg())
        with pytest.raises(ValueError, match='x.pth lacks weights .*: decode_head.upsampler.predict. They'):
            check_complete(model, _drop(model, 'decode_head.upsampler.predict'), 'x.pth')
        with pytest.raises(ValueError, match='decode_head.decode_head.conv_seg'):
            check_complete(model, build(model_cfg(head=head_cfg(num_classes=7))).state_dict(), 'x.pth')

    def test_rebuilt_images_need_the_sisr_head(self):
        model = build(model_cfg(test_cfg=dict(mode='whole', with_sr=True)))
        check_complete(model, _drop(model, 'sr_aux.transform'), 'x.pth')
        with pytest.raises(ValueError, match=r'x.pth lacks weights .*sr_aux.head.merge.*deployed .*--sr-metrics'):
            check_complete(model, build(model_cfg(sr_aux=None)).state_dict(), 'x.pth')

    def test_weights_that_are_nan_are_refused(self):
        model = build(model_cfg())
        state_dict = model.state_dict()
        state_dict['sr_aux.head.nowhere'] = state_dict['backbone.stem.0.weight'].clone()
        state_dict['sr_aux.head.nowhere'][0] = float('nan')
        check_complete(model, state_dict, 'a.pth')  # not needed
        state_dict['backbone.stem.0.weight'][0, 0, 0, 0] = float('nan')
        with pytest.raises(ValueError, match=r'a\.pth: 1 of \d+ weights hold NaN, backbone\.stem\.0\.weight .*earlier'):
            check_complete(model, state_dict, 'a.pth')

    def test_more_may_be_needed(self):
        model = build(model_cfg())
        check_complete(model, _drop(model, 'sr_aux'), 'x.pth')
        with pytest.raises(ValueError, match='sr_aux.transform'):
            check_complete(model, _drop(model, 'sr_aux.transform'), 'x.pth', also=('sr_aux.',))

    @pytest.mark.parametrize('wrap', [lambda m: m, lambda m: SegTTAModel(module=m), 'ddp'], ids=['plain', 'tta', 'ddp'])
    def test_the_hook_looks_into_wrappers(self, wrap):
        model = build(model_cfg())
        if wrap == 'ddp':
            wrapped = MMDistributedDataParallel.__new__(MMDistributedDataParallel)  # needs no process group to be asked
            nn.Module.__init__(wrapped)
            wrapped.module = model
        else:
            wrapped = wrap(model)
        runner = SimpleNamespace(model=wrapped, _load_from='folder/x.pth')
        hook = CompleteCheckpointHook()
        hook.after_load_checkpoint(runner, dict(state_dict=model.state_dict()))
        hook.after_load_checkpoint(runner, model.state_dict())
        with pytest.raises(ValueError, match='folder/x.pth lacks weights .*backbone.layer1.0'):
            hook.after_load_checkpoint(runner, dict(state_dict=_drop(model, 'backbone.layer1.0.conv1')))


def _drop(model, prefix):
    return {name: value for name, value in model.state_dict().items() if not name.startswith(prefix)}


class TestClasses:
    META = dict(dataset_meta=dict(classes=('road', 'pole', 'rider')))

    def test_another_order_is_refused(self):
        with pytest.raises(ValueError, match=r"a\.pth was trained on the classes \['road', 'pole', 'rider'\], but .*"):
            check_classes(self.META, ['rider', 'pole', 'road'], 'a.pth')

    def test_the_hook_asks_the_test_set(self):
        model, dataset = build(model_cfg()), SimpleNamespace(metainfo=dict(classes=('pole', 'road', 'rider')))
        loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset))
        runner = SimpleNamespace(model=model, _load_from='a.pth', _test_loop=loop)
        with pytest.raises(ValueError, match=r"a\.pth was trained on the classes \['road', 'pole', 'rider'\]"):
            CompleteCheckpointHook().after_load_checkpoint(runner, dict(state_dict=model.state_dict(), meta=self.META))

    @pytest.mark.parametrize('classes', [None, ['road', 'pole', 'rider'], ['Straße', 'Mast', 'Radfahrer'], ['road']])
    def test_others_pass(self, classes):
        check_classes(self.META, classes, 'a.pth')
        check_classes({}, classes, 'a.pth')
