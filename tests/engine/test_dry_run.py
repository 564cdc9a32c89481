"""The dry run on a made-up data set: what it finds before the first step, and that it changes nothing."""

import copy
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.logging import MMLogger, print_log
from mmengine.optim import OptimWrapper
from PIL import Image
from toy_data import call, write_camvid, write_config

from dsrl_mm import cli
from dsrl_mm.engine.checkpoint import SafeCheckpointHook
from dsrl_mm.engine.config import check_options, read_config
from dsrl_mm.engine.dry_run import _arguments, dry_run
from dsrl_mm.seg.metrics import ClassIoUMetric
from dsrl_mm.seg.task import SegTask

LOAD, LABELS, PACK = (dict(type=name) for name in ('LoadImageFromFile', 'LoadAnnotations', 'PackSegInputs'))


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp('toy')
    data = write_camvid(folder / 'camvid', 4, 2)
    return SimpleNamespace(data=data, config=write_config(folder, data))


@pytest.fixture
def cfg(toy):
    return read_config(toy.config)


def check(cfg, *phases):
    dry_run(cfg, phases or ('train', 'val'), SegTask())


def test_a_dry_run_leaves_config_and_chance_as_they_are(cfg):
    before, states = copy.deepcopy(cfg.to_dict()), (random.getstate(), np.random.get_state()[1], torch.get_rng_state())
    check(cfg)
    assert cfg.to_dict() == before
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all() and torch.equal(torch.get_rng_state(), states[2])


def test_the_numbers_of_an_untrained_model_are_not_logged(cfg, capsys):
    MMLogger._instance_dict.clear()  # the new one writes to the captured stream
    print_log('before', 'current')
    check(cfg)
    print_log('after', 'current')
    out = capsys.readouterr().out
    assert 'before' in out and 'after' in out and 'Building' not in out


def bad_option(key, value):
    return lambda cfg: cfg.merge_from_dict({key: value})


def pipeline(phase, *steps):
    def change(cfg):
        cfg[f'{phase}_dataloader'].dataset.pipeline = list(steps)

    return change


def epochs(cfg):
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)
    cfg.train_dataloader.sampler = dict(type='ResumableSampler', sampler=dict(type='InfiniteSampler'))


def loop(**train_cfg):
    return lambda cfg: setattr(cfg, 'train_cfg', train_cfg)


def too_few_images(cfg):
    cfg.train_dataloader.update(batch_size=9, drop_last=True, sampler=dict(type='DefaultSampler', shuffle=False))


def no_label_folder(cfg):
    cfg.val_dataloader.dataset.data_prefix.pop('seg_map_path')


def odd_canvas(cfg):
    unet = dict(type='UNet', base_channels=4, num_stages=2, strides=(1, 1), enc_num_convs=(1, 1), dec_num_convs=(1,))
    unet |= dict(downsamples=(True,), enc_dilations=(1, 1), dec_dilations=(1,))
    cfg.model.backbone = unet
    cfg.model.update(auxiliary_head=None, sr_aux=None)
    cfg.model.decode_head.decode_head.update(in_channels=4, in_index=1)
    cfg.model.data_preprocessor.size = (50, 64)


RESIZE = dict(type='Resize', scale=(32, 24))
FAULTS = dict(
    hook=(bad_option('default_hooks.checkpoint.intervall', 2),
          r'default_hooks.checkpoint.intervall: SafeCheckpointHook has no such option. Did you mean interval\?'),
    metric=(bad_option('val_evaluator.iou_metric', ['mDice']), r'val_evaluator.iou_metric: .* mean iou_metrics\?'),
    left_out=(bad_option('val_evaluator.left_out', ['voidd']), 'must be some, not all, of the classes'),
    save_best=(bad_option('default_hooks.checkpoint.save_best', ['mIoU', 'mIou']),
               r"default_hooks.checkpoint.save_best: val_evaluator gives no 'mIou'; .* mean 'mIoU'\?"),
    epochs_of_iterations=(bad_option('train_cfg.max_epochs', 3),
        r'train_cfg.max_epochs: IterBasedTrainLoop has no such option. Set max_iters, or .*="EpochBased.* max_epochs='),
    iterations_of_epochs=(loop(by_epoch=True, max_iters=3),
        r'train_cfg.max_iters: EpochBasedTrainLoop has no such option. Set max_epochs, or .*="IterBased.*, max_iters='),
    endless=(loop(type='IterBasedTrainLoop'), 'does not say when IterBasedTrainLoop ends. Set max_iters, or'),
    loop_option=(loop(type='EpochBasedTrainLoop', max_epochs=1, val_intervall=1), r'mean val_interval\?'),
    loop=(loop(max_iters=3), 'train_cfg needs its type'),
    two_loops=(loop(by_epoch=False, type='IterBasedTrainLoop', max_iters=3), 'train_cfg needs its type.* and not both'),
    optimizer=(bad_option('optim_wrapper.optimizer.type', 'SDG'), r'optimizer.type="SDG": .* Did you mean SGD\?'),
    negative=(bad_option('model.auxiliary_head.loss_decode', dict(type='CrossEntropyLoss', loss_weight=-1.0)),
              r'model.auxiliary_head.loss_decode.loss_weight=-1.0: weights must be numbers of at least 0. With a neg'),
    nan=(bad_option('model.sr_aux.head.loss_weight', float('nan')), 'model.sr_aux.head.loss_weight=nan: weights must'),
    text=(bad_option('model.sr_aux.fa.loss_weight', '0.5x'), 'model.sr_aux.fa.loss_weight=0.5x: weights must be'),
    class_weight=(bad_option('model.auxiliary_head.loss_decode', dict(type='DiceLoss', class_weight=[1.0, -0.5])),
                  r'class_weight=\[1.0, -0.5\]: weights must be numbers of at least 0'),
    epochs=(epochs, r'InfiniteSampler: the first epoch would never end. Set'),
    few=(too_few_images, r'train_dataloader: its 4 samples make no batch of 9. Lower batch_size'),
    unpacked=(pipeline('train', LOAD, LABELS), r'train_dataloader.*: they hold .*img.* End it with .*PackSegInputs'),
    no_labels=(pipeline('train', LOAD, PACK),
               r'train_0.png comes without a label, which the loss needs.*LoadAnnotations'),
    no_val_labels=(pipeline('val', LOAD, PACK), r'val_0.png comes without a label, .*val_evaluator.format_only=True'),
    resized_images=(pipeline('train', LOAD, RESIZE, LABELS, dict(type='RandomCrop', crop_size=(16, 16)), PACK),
                    r'train_dataloader.dataset.pipeline: Resize comes before LoadAnnotations'),
    flipped_images=(pipeline('train', LOAD, dict(type='RandomFlip', prob=0.5), LABELS, PACK),
                    'RandomFlip comes before'),
    resized_labels=(pipeline('val', LOAD, LABELS, RESIZE, PACK),
                    r'val_dataloader.* label of \(24, 32\) pixels .* \(48, 64\). Put LoadAnnotations after'),
    multiple=(odd_canvas, r'reads 25x32 of images of 50x64 pixels \(scale_factor=2\).* multiples of 2: .* of 4\.'),
)  # fmt: skip


@pytest.mark.parametrize(('change', 'message'), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found_before_training(cfg, change, message):
    change(cfg)
    with pytest.raises(ValueError, match=f'(?s){message}'):
        check(cfg)


def test_images_of_two_sizes_name_their_files(cfg, tmp_path):
    data = write_camvid(tmp_path, 2, 1)
    for kind in ('images', 'labels'):
        file = data / kind / 'train/train_1.png'
        Image.open(file).resize((100, 90), 0).save(file)
    cfg.train_dataloader.dataset.data_root = str(data)
    with pytest.raises(ValueError, match=r'train_0.png is 64x48, .*train_1.png is 100x90 .*data_preprocessor.size.'):
        check(cfg)


def test_labels_of_the_size_that_images_are_resized_to(cfg, tmp_path):
    data = write_camvid(tmp_path, 2, 1)
    for file in data.glob('labels/train/*.png'):
        Image.open(file).resize((32, 24), 0).save(file)
    cfg.train_dataloader.dataset.update(data_root=str(data), pipeline=[LOAD, RESIZE, LABELS, PACK])
    check(cfg)


def test_a_test_set_without_labels(cfg):
    no_label_folder(cfg)
    cfg.test_dataloader = cfg.val_dataloader
    cfg.test_dataloader.dataset.pipeline = [LOAD, PACK]
    with pytest.raises(ValueError, match=r'without a label, which metrics need.* test_evaluator.format_only=True'):
        check(cfg, 'test')
    cfg.test_evaluator.format_only = True
    check(cfg, 'test')


def test_a_metric_that_needs_more_than_one_batch_is_no_fault(cfg, monkeypatch):
    monkeypatch.setattr(ClassIoUMetric, 'compute_metrics', lambda *_: 1 / 0)
    cfg.default_hooks.checkpoint.save_best = 'unknown'
    check(cfg)


def test_which_arguments_a_class_reads():
    assert {'interval', 'max_keep_ckpts', 'backend_args'} <= _arguments(SafeCheckpointHook)
    assert {'iou_metrics', 'prefix'} <= _arguments(ClassIoUMetric)
    assert _arguments(EMAHook) is None  # passes them on to the averaged model

    class Own(ClassIoUMetric):
        def __init__(self, **settings):
            super().__init__(iou_metrics=settings['metrics'])

    assert _arguments(Own) is None


@pytest.mark.parametrize(
    ('key', 'near'),
    [('load_form', 'load_from'), ('optim_wraper.optimizer.lr', 'optim_wrapper.optimizer.lr'), ('crop_size', '')],
)
def test_an_option_that_nothing_reads_is_refused(toy, key, near):
    with pytest.raises(ValueError, match=rf'--cfg-options {key}: nothing reads it.* mean .*{near}'):
        read_config(toy.config, {key: 1}, check=True)


@pytest.mark.parametrize('key', ['load_from', 'compile.backend', 'names', 'custom_hooks.0.type'])
def test_options_that_something_reads(key):
    cfg = Config(dict(names=['a'], model=dict(head=[dict(num_classes='${len(names)}')])))
    check_options(cfg, [key])


@pytest.mark.parametrize(
    ('text', 'meant'),
    [
        ('optim_wraper = dict(clip_grad=dict(max_norm=1))', 'optim_wrapper'),  # which a base sets
        ('param_schedulers = []', 'param_scheduler'),  # which nothing sets
        ('train_datloader = dict(batch_size=4)', 'train_dataloader'),
        ('load_form = "a.pth"', 'load_from'),
        ('optim_wrapper = dict()\noptim_wrappers = dict()', None),
        ('train_dataloaders = [1]\ntest_dataloader = dict(batch_size=train_dataloaders[0])', None),
        ('max_iters = 4\ntrain_pipeline = []\nval_pipeline = []\nmodel_cfg = dict()', None),
        ('optim_wraper = 1\ncustom_imports = dict(imports=["json"])', None),
    ],
)
def test_a_misspelled_key_of_a_file_is_refused(toy, tmp_path, text, meant):
    file = tmp_path / 'mine.py'
    file.write_text(f'_base_ = {str(toy.config)!r}\n{text}\n')
    read_config(file)
    if meant is None:
        read_config(file, check=True)
    else:
        with pytest.raises(ValueError, match=rf'mine.py: nothing reads {text.split()[0]}. Did you mean {meant}\?'):
            read_config(file, check=True)


def test_code_of_others_may_read_any_option(toy, tmp_path):
    (tmp_path / 'mine.py').write_text(f'_base_ = {str(toy.config)!r}\ncustom_imports = dict(imports=["json"])\n')
    assert read_config(tmp_path / 'mine.py', {'my_option': 1}, check=True).my_option == 1


def test_an_apostrophe_in_an_environment_variable(toy, monkeypatch):
    monkeypatch.setenv('CAMVID_ROOT', "/data/Anna's")
    with pytest.raises(ValueError, match=r"an apostrophe in CAMVID_ROOT=/data/Anna's ends its text. Rename"):
        read_config(toy.config)


def test_the_commands_run_it_before_the_first_step(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(OptimWrapper, 'update_params', lambda *_: pytest.fail('a step was taken'))
    with pytest.raises(ValueError, match='save_best'):
        call(cli.train, toy.config, '--work-dir', tmp_path, '--cfg-options', 'default_hooks.checkpoint.save_best=mDice')
