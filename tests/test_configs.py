"""Every shipped DSRL config of segmentation is built and trained for one step, on a small canvas of random pixels.

Those of pose estimation: ``tests/pose/test_configs.py``; of ISDNet and PGNet: ``tests/uhr``.
"""

import re
from functools import cache
from itertools import groupby
from pathlib import Path

import pytest
import torch
import toy
from mmengine.config import Config, ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from mmseg.structures import SegDataSample

from dsrl_mm.cli import training_config
from dsrl_mm.core.fa_loss import common_positions
from dsrl_mm.engine.config import read_config
from dsrl_mm.engine.loading import without_pretrained

ROOT = Path(__file__).parents[1] / 'configs'
CONFIGS = sorted(path.stem for path in (ROOT / 'dsrl').glob('*.py') if 'hrnet' not in path.stem)
BASELINES = [name for name in CONFIGS if name.endswith('_baseline')]
CANVAS = (96, 128)
OWN_DATA = dict(classes=('road', 'car', 'person'), canvas=(64, 128))


def network(name: str) -> str:
    return re.sub(r'_(camvid|cityscapes)|_\d+x\d+', '', name)


#: Configs by the network that they share: they differ in the canvas, the classes, the sampler of pixels and the layout.
SHARED = {name: list(names) for name, names in groupby(sorted(CONFIGS, key=network), network)}
#: The paper's form.
PAPER = [name for name in SHARED if not name.endswith(('_baseline', '_early', '_custom'))]


def test_all_configs_are_found():
    assert {'pspnet_r101_cityscapes', 'pspnet_r101_cityscapes_baseline', 'dabnet_custom'} <= {*CONFIGS}
    assert 'pspnet_r101_cityscapes_baseline' in BASELINES
    assert 'pspnet_r101' in PAPER and len(PAPER) < len(SHARED) < len(CONFIGS)


@cache
def load(name: str) -> Config:
    """A config as it is shipped, to read only; those for own data with the variables that they need."""
    return read_config(ROOT / 'dsrl' / f'{name}.py', OWN_DATA if '_custom' in name else None)


def model_cfg(name: str) -> dict:
    """Of a config, for batches of :data:`CANVAS`, without downloads, and with fewer of the same blocks."""
    model = without_pretrained(load(name).model)
    model.data_preprocessor.size = CANVAS
    model.data_preprocessor.pop('test_cfg', None)
    toy.shrink(model.backbone)
    return model


@pytest.fixture(params=CONFIGS)
def cfg(request):
    return load(request.param)


def build(cfg: dict):
    if cfg.backbone.type == 'TIMMBackbone':
        pytest.importorskip('timm')
    torch.manual_seed(0)
    model = revert_sync_batchnorm(MODELS.build(cfg))
    model.init_weights()
    return model


@pytest.fixture(params=SHARED, scope='module')
def name(request):
    init_default_scope('mmseg')
    return request.param


@pytest.fixture(scope='module')
def model(name):
    return build(model_cfg(SHARED[name][0]))


def heads(model: ConfigDict) -> list[ConfigDict]:
    """The stock heads."""
    auxiliary = model.get('auxiliary_head') or []
    head = model.decode_head
    return [head.get('decode_head', head), *(auxiliary if isinstance(auxiliary, list) else [auxiliary])]


@pytest.mark.parametrize('names', SHARED.values(), ids=SHARED)
def test_configs_share_a_network_and_have_the_classes_of_their_data(names):
    first, *others = models = [model_cfg(name) for name in names]
    for name, model in zip(names, models):
        dataset = load(name).train_dataloader.dataset
        classes = dataset.get('metainfo', {}).get('classes') or DATASETS.get(dataset.type).METAINFO['classes']
        assert {head.pop('num_classes') for head in heads(model)} == {len(classes)}
        for head in heads(model):
            head.pop('sampler', None)
        model.pop('channels_last', None)
    assert all(other == first for other in others)


def expected_losses(name: str, auxiliary_head) -> set[str]:
    heads = ['decode']
    if isinstance(auxiliary_head, list):
        heads += [f'aux_{i}' for i in range(len(auxiliary_head))]
    elif auxiliary_head is not None:
        heads.append('aux')
    losses = {'loss', *(f'{head}.{name}' for head in heads for name in ('loss_ce', 'acc_seg'))}
    losses |= set() if name.endswith('_baseline') else {'sr.loss_sisr'}
    return losses | ({'sr.loss_fa'} if name in PAPER else set())


def test_training_step_reaches_every_parameter(name, model):
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for cfg in {str(cfg.optim_wrapper): cfg for cfg in map(load, SHARED[name])}.values():
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
        optimized = {id(p) for group in wrapper.param_groups for p in group['params']}
        assert {id(p) for p in trainable.values()} <= optimized
    # What starts at zero (residuals: ResNet's and SSSR's) passes no gradient on at the first step.
    for parameter in trainable.values():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    compared = []
    if name in PAPER:
        hook = model.sr_aux.fa.register_forward_pre_hook(lambda _, feats: compared.extend(feats))
    total, logs = model.parse_losses(toy.losses(model, toy.batch(CANVAS, classes=model.decode_head.num_classes)))
    assert set(logs) == expected_losses(name, cfg.model.get('auxiliary_head'))
    total.backward()
    without = [name for name, p in trainable.items() if p.grad is None or not p.grad.any()]
    assert not without
    if name in PAPER:
        hook.remove()
        check_affinities_are_of_an_eighth_of_the_canvas(compared, model.sr_aux.fa.subsample)


def check_affinities_are_of_an_eighth_of_the_canvas(feats, subsample):
    """Sec. 4.1 of the paper, and at its size of canvas, whatever grid the features are on."""
    compared = common_positions(*feats, subsample, 'pool')[0]
    coarser = [min(feat.shape[axis] for feat in feats) for axis in (-2, -1)]  # BiSeNet's are of a sixteenth
    assert list(compared.shape[-2:]) == [min(side // 8, least) for side, least in zip(CANVAS, coarser)]


def test_prediction_has_the_size_of_the_canvas(model):
    model.eval()
    with torch.no_grad():
        prediction = model.test_step(toy.batch(CANVAS, n=1))[0].pred_sem_seg.data
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
            assert TRANSFORMS.build(transform)


def test_augmentation_keeps_the_canvas_at_scale_one(cfg):
    resizes = [transform for transform in cfg.test_pipeline if transform.type == 'Resize']
    canvas = resizes[0].scale if resizes else cfg.crop_size[::-1]
    augmentation = cfg.tta_pipeline[-1].transforms[0]
    assert tuple(canvas) in [tuple(resize.scale) for resize in augmentation]
    assert len(augmentation) >= 3


def test_the_network_reads_what_the_configs_name_says(cfg):
    canvas = tuple(cfg.crop_size)
    sizes = {transform.type: transform for transform in cfg.train_dataloader.dataset.pipeline}
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
    named = re.search(r'(\d+)x(\d+)', Path(cfg.filename).stem)
    read = (
        [int(side) for side in named.groups()]
        if named
        else dict(camvid=[180, 240], cityscapes=[512, 1024], custom=[32, 64])[
            re.search('camvid|cityscapes|custom', cfg.filename)[0]
        ]
    )
    assert canvas == tuple(cfg.model.scale_factor * side for side in read)


def test_one_gpu_does_not_train_at_the_rate_of_many(cfg):
    """MMSegmentation's schedules are for several GPUs; those for CamVid on a CPU are for its batches."""
    by_many = 'cityscapes' in cfg.filename or '368x480' in cfg.filename
    assert cfg.get('auto_scale_lr') == (dict(base_batch_size=8, enable=True) if by_many else None)


@pytest.mark.parametrize('name', [name for name in CONFIGS if name not in BASELINES])
def test_twins_differ_in_the_model_alone(name):
    cfg, baseline = load(name), load(f'{name.removesuffix("_early")}_baseline')
    of_the_model = ('model', 'norm_cfg', 'sr_aux', 'sr_norm_cfg')
    assert set(cfg) - set(baseline) <= set(of_the_model)
    for key in set(baseline) - set(of_the_model):
        assert cfg[key] == baseline[key], key


def test_baselines_learn_what_they_read(cfg):
    assert cfg.model.get('low_res_labels', False) == (Path(cfg.filename).stem in BASELINES)


FA_OPTIONS = ['type=FALoss', 'subsample=2', 'loss_weight=0.1', 'center=True', 'detach_guide=True']


@pytest.mark.parametrize(
    ('name', 'options', 'losses'),
    [
        ('dabnet_camvid', ['model.sr_aux=None'], set()),
        ('dabnet_camvid', ['model.sr_aux.fa=None'], {'sr.loss_sisr'}),
        ('dabnet_camvid_early', ['model.sr_aux=None'], set()),
        (
            'dabnet_camvid_early',
            [f'model.sr_aux.fa.{option}' for option in FA_OPTIONS],
            {'sr.loss_sisr', 'sr.loss_fa'},
        ),
    ],
)
def test_ablations_are_options(name, options, losses):
    cfg = training_config([str(ROOT / 'dsrl' / f'{name}.py'), '--cfg-options', *options])
    whole = load(name).model
    assert {key: part for key, part in cfg.model.items() if key != 'sr_aux'} == {
        key: part for key, part in whole.items() if key != 'sr_aux'
    }
    assert cfg.model.sr_aux is None or cfg.model.sr_aux.head == whole.sr_aux.head
    cfg.model.data_preprocessor.size = CANVAS
    model = build(cfg.model)
    logs = toy.losses(model, toy.batch(CANVAS))
    assert {key for key in logs if key.startswith('sr.')} == losses
