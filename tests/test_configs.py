"""Every shipped segmentation config is built and trained for one step, on a small canvas of random pixels.

Those of pose estimation: ``tests/pose/test_configs.py``.
"""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS, TRANSFORMS
from mmseg.structures import SegDataSample

from dsrl_mm.core.fa_loss import common_positions
from dsrl_mm.engine.loading import without_pretrained

ROOT = Path(__file__).parents[1] / 'configs'
CONFIGS = sorted(path for path in ROOT.rglob('*.py') if '_base_' not in path.parts and 'hrnet' not in path.stem)
CANVAS = (96, 128)


def test_how_many_configs_are_shipped():
    assert len(CONFIGS) == 68


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem, scope='module')
def cfg(request):
    cfg = Config.fromfile(request.param)
    init_default_scope(cfg.default_scope)
    if cfg.model.backbone.type == 'TIMMBackbone':
        pytest.importorskip('timm')
    cfg.model = without_pretrained(cfg.model)  # nothing is downloaded in tests
    cfg.model.data_preprocessor.size = CANVAS  # batches are smaller than the pipeline's
    cfg.model.data_preprocessor.pop('test_cfg', None)
    return cfg


@pytest.fixture(scope='module')
def model(cfg):
    torch.manual_seed(0)
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    model.init_weights()
    return model


def random_batch(model, images=2):
    generator = torch.Generator().manual_seed(0)
    samples, inputs = [], []
    for _ in range(images):
        inputs.append(torch.randint(256, (3, *CANVAS), generator=generator, dtype=torch.uint8))
        label = torch.randint(model.decode_head.num_classes, (1, *CANVAS), generator=generator)
        metas = dict(ori_shape=CANVAS, img_shape=CANVAS)
        samples.append(SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=metas))
    return dict(inputs=inputs, data_samples=samples)


def expected_losses(name: str, auxiliary_head) -> set[str]:
    heads = ['decode']
    if isinstance(auxiliary_head, list):
        heads += [f'aux_{i}' for i in range(len(auxiliary_head))]
    elif auxiliary_head is not None:
        heads.append('aux')
    losses = {'loss', *(f'{head}.{name}' for head in heads for name in ('loss_ce', 'acc_seg'))}
    if name.endswith(('_baseline', '_sssr')):
        return losses
    return losses | {'sr.loss_sisr'} | (set() if name.endswith('_sssr_sisr') else {'sr.loss_fa'})


def test_training_step_reaches_every_parameter(cfg, model):
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    optimised = {id(p) for group in wrapper.param_groups for p in group['params']}
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert {id(p) for p in trainable.values()} <= optimised
    # What starts at zero (residuals: ResNet's and SSSR's) passes no gradient on at the first step.
    for parameter in trainable.values():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    data = model.data_preprocessor(random_batch(model), training=True)
    total, logs = model.parse_losses(model(**data, mode='loss'))
    assert set(logs) == expected_losses(Path(cfg.filename).stem, cfg.model.get('auxiliary_head'))
    total.backward()
    without = [name for name, p in trainable.items() if p.grad is None or not p.grad.any()]
    assert not without


def test_prediction_has_the_size_of_the_canvas(cfg, model):
    model.eval()
    with torch.no_grad():
        prediction = model.test_step(random_batch(model, images=1))[0].pred_sem_seg.data
    assert prediction.shape == (1, *CANVAS)
    assert prediction.min() >= 0 and prediction.max() < model.decode_head.num_classes


def test_pipelines_are_built(cfg):
    pipelines = [
        cfg.train_dataloader.dataset.pipeline,
        cfg.val_dataloader.dataset.pipeline,
        cfg.test_dataloader.dataset.pipeline,
        cfg.tta_pipeline,
    ]
    for pipeline in pipelines:
        for transform in pipeline:
            TRANSFORMS.build(transform)


def test_augmentation_keeps_the_canvas_at_scale_one(cfg):
    resizes = [transform for transform in cfg.test_pipeline if transform.type == 'Resize']
    canvas = resizes[0].scale if resizes else cfg.crop_size[::-1]
    augmentation = cfg.tta_pipeline[-1].transforms[0]
    assert tuple(canvas) in [tuple(resize.scale) for resize in augmentation]
    assert len(augmentation) >= 3


def test_the_network_reads_what_the_configs_name_says(cfg):
    cfg = Config.fromfile(cfg.filename)
    canvas = tuple(cfg.crop_size)
    sizes = {transform.type: transform for transform in cfg.train_dataloader.dataset.pipeline}
    if 'RandomCrop' in sizes:
        assert tuple(sizes['RandomCrop'].crop_size) == canvas
        width, height = sizes['RandomResize'].scale
        assert (height, width) <= canvas and width == canvas[1]
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        resizes = [transform for transform in loader.dataset.pipeline if transform.type == 'Resize']
        width, height = resizes[0].scale if resizes else canvas[::-1]
        sample = SegDataSample(metainfo=dict(ori_shape=(height, width), img_shape=(height, width)))
        image = torch.zeros(3, height, width, dtype=torch.uint8)
        batch = preprocessor(dict(inputs=[image], data_samples=[sample]), training=False)
        assert batch['inputs'].shape[2:] == canvas
    stem = Path(cfg.filename).stem
    named = re.search(r'(\d+)x(\d+)', stem)
    if named:
        assert canvas == tuple(cfg.model.scale_factor * int(side) for side in named.groups())


def test_one_gpu_does_not_train_at_the_rate_of_many(cfg):
    """MMSegmentation's schedules are for several GPUs; those for CamVid on a CPU are for its batches."""
    by_many = 'cityscapes' in cfg.filename or '368x480' in cfg.filename
    assert cfg.get('auto_scale_lr') == (dict(base_batch_size=8, enable=True) if by_many else None)


def test_affinities_are_of_an_eighth_of_the_canvas(cfg, model):
    """Sec. 4.1 of the paper, and at its size of canvas, whatever grid the features are on."""
    if model.sr_aux is None or model.sr_aux.fa is None:
        return
    seen = []
    hook = model.sr_aux.fa.register_forward_pre_hook(lambda _, feats: seen.extend(feats))
    with torch.no_grad():
        model.train()(**model.data_preprocessor(random_batch(model), training=True), mode='loss')
    hook.remove()
    compared = common_positions(*seen, model.sr_aux.fa.subsample, 'pool')[0]
    coarser = [min(feat.shape[axis] for feat in seen) for axis in (-2, -1)]  # BiSeNet's are of a sixteenth
    assert list(compared.shape[-2:]) == [min(side // 8, least) for side, least in zip(CANVAS, coarser)]


def test_twins_differ_in_the_model_alone(cfg):
    path = Path(cfg.filename)
    stem = path.stem.removesuffix('_sisr').removesuffix('_sssr').removesuffix('_early').removesuffix('_baseline')
    baseline = Config.fromfile(path.with_name(f'{stem}_baseline.py'))
    of_the_model = ('model', 'norm_cfg', 'sr_aux', 'sr_norm_cfg')
    assert set(cfg) - set(baseline) <= set(of_the_model)
    for key in set(baseline) - set(of_the_model):
        assert cfg[key] == baseline[key], key


def test_baselines_learn_what_they_read(cfg):
    path = Path(cfg.filename)
    if path.parent.name == 'dsrl':
        assert cfg.model.get('low_res_labels', False) == path.stem.endswith('_baseline')


def test_ablations_leave_parts_out_and_change_nothing_else(cfg):
    path = Path(cfg.filename)
    if '_sssr' not in path.stem:
        return
    whole = Config.fromfile(path.with_name(path.stem.split('_sssr')[0] + '.py')).model
    assert cfg.model.decode_head == whole.decode_head
    assert cfg.model.sr_aux is None or cfg.model.sr_aux == dict(whole.sr_aux, fa=None)
