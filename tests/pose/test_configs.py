"""Every shipped pose config is built and trained for one step, on random pixels."""

from pathlib import Path

import mmpose
import pytest
import torch
import toy
import toy_pose
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmpose.registry import MODELS, TRANSFORMS

from dsrl_mm.cli import training_config

ROOT = Path(__file__).parents[2] / 'configs'
CONFIGS = sorted((ROOT / 'dsrl').glob('hrnet*.py'))
BASES = sorted((ROOT / '_base_' / 'models').glob('hrnet*.py'))


def test_how_many_configs_are_shipped():
    assert len(CONFIGS) == 8
    assert len(BASES) == 4


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem, scope='module')
def cfg(request):
    cfg = Config.fromfile(request.param)
    cfg.model.backbone.init_cfg = None  # nothing is downloaded in tests
    return cfg


@pytest.fixture(scope='module')
def model(cfg):
    toy.shrink(cfg.model.backbone)  # fewer of the same blocks
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def test_training_step_reaches_every_parameter(cfg, model):
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    optimized = {id(p) for group in wrapper.param_groups for p in group['params']}
    assert {id(p) for p in model.parameters()} <= optimized
    # What starts at zero passes no gradient on at the first step.
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    data = model.data_preprocessor(toy_pose.batch(cfg.model.head.decoder, n=1, keypoints=17), training=True)
    total, logs = model.parse_losses(model(**data, mode='loss'))
    losses = {'loss', 'loss_kpt', 'acc_pose'}
    assert set(logs) == losses | (set() if cfg.filename.endswith('_baseline.py') else {'sr.loss_sisr', 'sr.loss_fa'})
    # The keypoints lead: see configs/_base_/models/hrnet_w32_dsrl.py.
    assert logs['loss_kpt'] > sum(value for name, value in logs.items() if name.startswith('sr.'))
    total.backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]


def test_network_reads_what_the_name_says_and_predicts_on_its_grid(cfg, model):
    height, width = map(int, Path(cfg.filename).stem.split('coco_')[1].split('_')[0].split('x'))
    read = []
    hook = model.backbone.register_forward_pre_hook(lambda _, args: read.append(args[0]))
    with torch.no_grad():
        heatmaps = model.eval()(torch.zeros(1, 3, 2 * height, 2 * width), None)
    hook.remove()
    assert read[0].shape == (1, 3, height, width)
    stride = 4 if Path(cfg.filename).stem.endswith('_baseline') else 2
    assert heatmaps.shape == (1, 17, height // stride, width // stride)


def test_predicts(cfg, model):
    sample = model.test_step(toy_pose.batch(cfg.model.head.decoder, n=1, keypoints=17))[0]
    assert sample.pred_instances.keypoints.shape == (1, 17, 2)


def test_codec_is_the_same_everywhere(cfg):
    codec = cfg.model.head.decoder
    train, val = cfg.train_dataloader.dataset.pipeline, cfg.val_dataloader.dataset.pipeline
    affine = [t.input_size for t in (*train, *val) if t.type == 'TopdownAffine']
    assert affine == [codec.input_size] * 2
    assert [t.encoder for t in train if t.type == 'GenerateTarget'] == [codec]
    assert cfg.codec == codec
    assert cfg.test_dataloader == cfg.val_dataloader
    for transform in (*train, *val):
        TRANSFORMS.build(transform)


def test_flipped_heatmaps_are_shifted_where_the_codec_needs_it(cfg):
    # MSRA's grid begins at the first cell, so that mirroring moves it; UDP's shares its corners with the image.
    assert cfg.model.test_cfg.shift_heatmap == (cfg.codec.type != 'UDPHeatmap')


def test_gaussians_are_equally_wide_on_the_person(cfg):
    codec = cfg.codec
    pixels = codec.sigma * codec.input_size[1] / codec.heatmap_size[1]
    share = 1 / 30 if '160x128' in cfg.filename else 1 / 32
    assert pixels / codec.input_size[1] == pytest.approx(share)
    # MMPose draws others a cell beside, near the left and upper border.
    assert float(3 * codec.sigma).is_integer()


@pytest.mark.parametrize('path', [path for path in CONFIGS if not path.stem.endswith('_baseline')])
def test_twins_differ_in_the_model_and_its_grid_alone(path):
    cfg, baseline = Config.fromfile(path), Config.fromfile(path.with_stem(f'{path.stem}_baseline'))
    for each in (cfg, baseline):
        for pipeline in (each.train_pipeline, each.train_dataloader.dataset.pipeline):
            (target,) = (t for t in pipeline if t.type == 'GenerateTarget')
            target.encoder = dict(target.encoder, heatmap_size=None, sigma=None)
        each.codec.update(heatmap_size=None, sigma=None)
    assert set(cfg) == set(baseline)
    for key in set(baseline) - {'model'}:
        assert cfg[key] == baseline[key], key


@pytest.mark.parametrize(
    ('option', 'losses'), [('model.sr_aux=None', set()), ('model.sr_aux.fa=None', {'sr.loss_sisr'})]
)
def test_ablations_are_options(option, losses):
    path = ROOT / 'dsrl' / 'hrnet_narrow_coco_128x96.py'
    cfg = training_config([str(path), '--cfg-options', option])
    assert cfg.model.head == Config.fromfile(path).model.head
    model = MODELS.build(cfg.model)
    logs = model(**model.data_preprocessor(toy_pose.batch(cfg.codec, n=1, keypoints=17), training=True), mode='loss')
    assert {key for key in logs if key.startswith('sr.')} == losses


@pytest.mark.parametrize('stock', ['hrnet-w32_8xb64', 'hrnet-w32_udp-8xb64', 'hrnet-w32_dark-8xb64'])
def test_the_documents_config_works_on_a_stock_one(stock, tmp_path):
    folder = Path(mmpose.__path__[0], '.mim/configs/body_2d_keypoint/topdown_heatmap/coco')
    base = folder / f'td-hm_{stock}-210e_coco-256x192.py'
    (tmp_path / 'my_pose_config.py').write_text(f'_base_ = {str(base)!r}\n')
    (tmp_path / 'dsrl.py').write_text((ROOT.parent / 'docs/examples/my_pose_config_dsrl.py').read_text())
    cfg = Config.fromfile(tmp_path / 'dsrl.py')
    cfg.model.backbone.init_cfg = None  # nothing is downloaded in tests
    toy.shrink(cfg.model.backbone)
    test_codec_is_the_same_everywhere(cfg)
    model = MODELS.build(cfg.model)
    losses = model(**model.data_preprocessor(toy_pose.batch(cfg.codec, n=1, keypoints=17), training=True), mode='loss')
    assert set(losses) == {'loss_kpt', 'acc_pose', 'sr.loss_sisr', 'sr.loss_fa'}
