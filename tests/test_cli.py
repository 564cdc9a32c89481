"""The commands, on a made-up data set: what every option does, and how bad input ends."""

import json
import os
import stat
import subprocess
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mmcv
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmseg.apis import init_model
from mmseg.registry import MODELS
from PIL import Image
from torch import nn
from toy import MEAN, STD, head_cfg, model_cfg
from toy_data import NUM_CLASSES, REPO, call, logged, write_camvid, write_config

from dsrl_mm import cli
from dsrl_mm.apis import ExportOptions


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A data set, a config, and a short training by the command: its work dir and checkpoint."""
    folder = tmp_path_factory.mktemp('toy')
    data = write_camvid(folder / 'camvid')
    config = write_config(folder, data)
    call(cli.train, config, '--work-dir', folder / 'work')
    return SimpleNamespace(data=data, config=config, work_dir=folder / 'work', checkpoint=folder / 'work/iter_4.pth')


@pytest.fixture
def steps(monkeypatch):
    """Grows by one entry with every step of an optimizer."""
    steps, update = [], OptimWrapper.update_params
    monkeypatch.setattr(OptimWrapper, 'update_params', lambda *args, **kw: (steps.append(1), update(*args, **kw)))
    return steps


def read_ids(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def mean_iou(predictions: Path, labels: Path) -> float:
    """Percent, from PNG files, over the classes that occur: written without MMSegmentation."""
    pairs = [(read_ids(path), read_ids(labels / path.name)) for path in sorted(predictions.glob('*.png'))]
    assert len(pairs) == len(list(labels.glob('*.png')))
    predicted, true = (np.stack(part) for part in zip(*pairs))
    unions = {c: ((predicted == c) | (true == c)).sum() for c in range(NUM_CLASSES)}
    return 100 * np.mean([((predicted == c) & (true == c)).sum() / union for c, union in unions.items() if union])


# --- train ---


def test_train_writes_its_checkpoints_and_log_to_the_work_dir(trained):
    assert sorted(path.name for path in trained.work_dir.glob('*.pth')) == ['iter_2.pth', 'iter_4.pth']
    assert [entry['iter'] for entry in logged(trained.work_dir) if 'loss' in entry] == [1, 2, 3, 4]


def test_the_work_dir_is_named_after_the_config_by_default(trained):
    assert cli.load_config(_arguments(trained.config)).work_dir == 'work_dirs/toy'


def test_amp_trains_in_bfloat16_on_a_cpu(trained, tmp_path):
    seen = set()
    hook = nn.modules.module.register_module_forward_hook(
        lambda module, _, out: seen.add(out.dtype) if isinstance(module, nn.Conv2d) else None
    )
    with hook:
        call(cli.train, trained.config, '--amp', '--work-dir', tmp_path, '--cfg-options', 'train_cfg.max_iters=1',
             'val_cfg=None', 'val_dataloader=None', 'val_evaluator=None')  # fmt: skip
    assert seen == {torch.bfloat16}
    weights = torch.load(tmp_path / 'iter_1.pth', weights_only=False)['state_dict']
    assert weights['backbone.stem.0.weight'].dtype == torch.float32


def test_amp_is_float16_with_loss_scaling_on_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    cfg = Config(dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1))))
    cli.use_amp(cfg)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.loss_scale == 'dynamic'


@pytest.mark.parametrize('type_', [OptimWrapper, None])
def test_amp_knows_the_optim_wrapper_however_it_is_named(type_):
    cfg = Config(dict(optim_wrapper=dict(type=type_) if type_ else dict()))
    cli.use_amp(cfg)
    assert cfg.optim_wrapper.type in ('AmpOptimWrapper', 'BFloat16OptimWrapper')


def test_amp_refuses_an_optim_wrapper_it_does_not_know():
    with pytest.raises(ValueError, match='--amp replaces .*"OptimWrapper", but the config has "ApexOptimWrapper"'):
        cli.use_amp(Config(dict(optim_wrapper=dict(type='ApexOptimWrapper'))))


# --- test ---


def test_masks_pictures_and_sr_metrics(trained, tmp_path):
    metrics = call(
        cli.test, trained.config, trained.checkpoint, '--work-dir', tmp_path, '--out', tmp_path / 'masks',
        '--show-dir', tmp_path / 'show', '--sr-metrics'
    )  # fmt: skip
    assert metrics['mIoU'] == pytest.approx(mean_iou(tmp_path / 'masks', trained.data / 'labels/val'), abs=0.006)
    pictures = [np.array(Image.open(path)) for path in (tmp_path / 'show').rglob('*.png')]
    assert len(pictures) == 5
    assert {picture.shape for picture in pictures} == {(48, 128, 3)}  # truth and prediction side by side
    assert 5 < metrics['sr/PSNR'] < metrics['sr/PSNR_enlarged'] < 40  # hardly trained
    assert 0 < metrics['sr/SSIM'] < 1


def test_tta_averages_scales_and_flips(trained, tmp_path):
    call(cli.test, trained.config, trained.checkpoint, '--work-dir', tmp_path, '--tta', '--out', tmp_path / 'masks')
    model = init_model(str(trained.config), str(trained.checkpoint), device='cpu')
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    for path in (tmp_path / 'masks').glob('*.png'):
        image = mmcv.imread(trained.data / 'images/val' / path.name, channel_order='rgb')
        total = 0
        for size in ((360, 270), (480, 360), (600, 450)):  # as configs/_base_/datasets/camvid.py says
            for flip in (False, True):
                scaled = torch.from_numpy(mmcv.imrescale(image, size)).permute(2, 0, 1)
                canvas = ((scaled - mean) / std)[None]
                with torch.no_grad():
                    logits = model(canvas.flip(3) if flip else canvas, mode='tensor')
                logits = logits.flip(3) if flip else logits
                total = total + nn.functional.interpolate(logits, (48, 64), mode='bilinear').softmax(1)
        assert (read_ids(path) == total.argmax(1)[0].numpy()).mean() > 0.999  # ties may be rounded otherwise


def test_tta_and_sr_metrics_exclude_each_other(trained, capsys):
    with pytest.raises(SystemExit):
        cli.test([str(trained.config), str(trained.checkpoint), '--tta', '--sr-metrics'])
    assert 'leave out --tta' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('command', 'arguments'),
    [
        (cli.train, ['none.py']),
        (cli.train, [__file__, '--resume', 'none.pth']),
        (cli.test, [__file__, 'none.pth']),
        (cli.test, ['none.py', __file__]),
        (cli.deploy, [__file__, 'none.pth', 'out']),
    ],
)
def test_a_missing_file_is_named_before_anything_is_read(command, arguments, capsys):
    with pytest.raises(SystemExit):
        command(arguments)
    missing = next(argument for argument in arguments if argument.startswith('none'))
    assert capsys.readouterr().err.endswith(f'error: there is no {missing}\n')


# --- deploy ---


def test_a_deployed_model_tests_like_the_trained_one(trained, tmp_path):
    reference = call(cli.test, trained.config, trained.checkpoint, '--work-dir', tmp_path)
    call(cli.deploy, trained.config, trained.checkpoint, tmp_path / 'deploy', '--cfg-options', 'randomness.seed=7')
    files = {path.name: path for path in (tmp_path / 'deploy').iterdir()}
    assert set(files) == {'deploy.py', 'deploy.pth'}
    assert Config.fromfile(files['deploy.py']).randomness.seed == 7
    assert call(cli.test, files['deploy.py'], files['deploy.pth'], '--work-dir', tmp_path) == reference
    parts = {name.split('.')[0] for name in torch.load(files['deploy.pth'], weights_only=False)['state_dict']}
    assert parts == {'backbone', 'decode_head'}


def test_an_exported_file_tests_like_the_checkpoint(trained, tmp_path, capsys):
    reference = call(cli.test, trained.config, trained.checkpoint, '--work-dir', tmp_path)
    options = ('--format', 'onnx', '--low-res-input', '--size', 24, 32)
    call(cli.deploy, trained.config, trained.checkpoint, tmp_path, *options)
    assert 'deploy.onnx, for one image of 24x32: 100.00 % of pixels agree' in capsys.readouterr().out
    file = tmp_path / 'deploy.onnx'
    assert call(cli.test, trained.config, file, '--work-dir', tmp_path) == pytest.approx(reference, abs=0.05)
    with pytest.raises(SystemExit):
        call(cli.test, trained.config, file, '--work-dir', tmp_path, '--sr-metrics')

    onnx = pytest.importorskip('onnx')
    proto = onnx.load(file)
    meta = json.loads(proto.metadata_props[0].value)
    onnx.helper.set_model_props(proto, dict(dsrl_mm=json.dumps(meta | dict(classes=meta['classes'][::-1]))))
    onnx.save(proto, tmp_path / 'reversed.onnx')
    with pytest.raises(ValueError, match=r'reversed\.onnx was trained on the classes .* in the order'):
        call(cli.test, trained.config, tmp_path / 'reversed.onnx', '--work-dir', tmp_path)


@pytest.mark.parametrize(
    ('old', 'new'),
    {'--lr-input': '--low-res-input', '--export 48 64': '--format pt2 --size', '--fp16': '--half'}.items(),
)
def test_old_options_name_the_new_ones(capsys, old, new):
    with pytest.raises(SystemExit):
        cli.deploy(['config.py', 'checkpoint.pth', 'out', *old.split()])
    assert f'{old.split()[0]} is now {new}\n' in capsys.readouterr().err


def export_options(monkeypatch, *arguments) -> tuple[tuple, ExportOptions]:
    """What tools/deploy.py hands on: folder, ``low_res_input`` and ``half``, and the options of exported files."""
    handed = []
    monkeypatch.setattr(cli, 'save_deploy', lambda _, checkpoint, *others: handed.append(others) or [])
    monkeypatch.setattr(cli, 'read_config', lambda *_: None)
    cli.deploy([__file__, __file__, 'out', *arguments])
    ((*others, options),) = handed
    return tuple(others), options


def test_options_of_exported_files(monkeypatch):
    assert export_options(monkeypatch) == (('out', False, False), ExportOptions([]))
    given = ['--format', 'onnx', 'openvino', '--size', '24', '32', '--calib-dir', 'images']
    chosen = ExportOptions(['onnx', 'openvino'], [24, 32], image_dir=Path('images'))
    many = ['--low-res-input', '--dynamic', '--argmax', '--int8', '--calib-images', '7', '--verify', '0']
    assert export_options(monkeypatch, *given, *many) == (
        ('out', True, False),
        replace(chosen, dynamic=True, argmax=True, precision='int8', calibration=7, verify=0),
    )
    assert export_options(monkeypatch, *given, '--half') == (('out', False, True), replace(chosen, precision='float16'))


def test_half_and_int8_exclude_each_other(capsys):
    with pytest.raises(SystemExit):
        cli.deploy([__file__, __file__, 'out', '--half', '--int8'])
    assert '--half or --int8, not both' in capsys.readouterr().err


# --- bad input ---


def unknown_id(trained, data):
    ids = read_ids(data / 'labels/train/train_1.png').copy()
    ids[0, 0] = 77
    Image.fromarray(ids).save(data / 'labels/train/train_1.png')


def no_labels(trained, data):
    for path in (data / 'labels/train').iterdir():
        path.unlink()


def other_architecture(trained, data):
    checkpoint = torch.load(trained.checkpoint, weights_only=False)
    weights = {f'{name}.other': value for name, value in checkpoint['state_dict'].items()}
    torch.save(dict(checkpoint, state_dict=weights), data / 'other.pth')


def head_without_cls_seg(trained, data):
    head = dict(type='PointHead', in_channels=[64], in_index=[3], channels=16, num_classes=NUM_CLASSES, num_fcs=1)
    return model_cfg(head=head)


def one_pooled_pixel(trained, data):
    return model_cfg(head=head_cfg('PSPHead', num_classes=NUM_CLASSES))


def nothing(trained, data):
    pass


#: What is wrong, what damages the data or gives the model, --cfg-options, and the message: what, where, the remedy.
BAD = [
    ('no data root', nothing, ['train_dataloader.dataset.data_root=nowhere'],
     r"train_dataloader.dataset: .*'nowhere/images/train'. Point .*--cfg-options"),
    ('empty folder', no_labels, [], r'labels/train/train_0.png does not exist.*Every image needs a label'),
    ('no such suffix', nothing, ['train_dataloader.dataset.img_suffix=.bmp'], r"no images .* '.bmp'. Set img_suffix"),
    ('unknown id', unknown_id, [], r'labels/train/train_1.png: holds the class ids \[77\], but the model has 11 '
     'classes .*Correct the label'),
    ('head without cls_seg', head_without_cls_seg, [],
     r'SSSRHead cannot wrap PointHead: .*set model.decode_head.decode_head to one of these'),
    ('batch of one', one_pooled_pixel, ['train_dataloader.batch_size=1'],
     r'48x64 pixels .* one value per channel.* Set train_dataloader.batch_size'),
    ('other architecture', other_architecture, ['load_from={data}/other.pth'],
     r'belongs to another architecture.* ResNetV1c backbone, .* Load a checkpoint that this config trained'),
]  # fmt: skip


@pytest.mark.parametrize(('damage', 'options', 'message'), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input_stops_before_the_first_step(trained, tmp_path, steps, damage, options, message):
    data = write_camvid(tmp_path / 'camvid', train=2, val=1)
    model = damage(trained, data)
    config = write_config(tmp_path, data, **(dict(model=model) if model else {}))
    options = ['--cfg-options', *(option.format(data=data) for option in options)] if options else []
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=f'(?s){message}'):
        call(cli.train, config, '--work-dir', tmp_path / 'work', *options)
    assert steps == []


class SickLoss(nn.Module):
    """From its third call on, gives NaN, or 0 with a gradient of NaN."""

    def __init__(self, gradient_only: bool = False):
        super().__init__()
        self.gradient_only, self.calls = gradient_only, 0

    def forward(self, prediction, target):
        self.calls += 1
        if self.calls < 3:
            return (prediction - target).abs().mean()
        return (0 * prediction.sum()).sqrt() / (1 if self.gradient_only else 0)


def train_with_sick_loss(config, work_dir, *options) -> str:
    """The message with which a training ends that saves a checkpoint after every iteration."""
    MODELS.register_module(module=SickLoss, force=True)
    options = ('model.sr_aux.head.pixel_loss.type=SickLoss', 'default_hooks.checkpoint.interval=1', *options)
    with pytest.raises(FloatingPointError) as error:
        call(cli.train, config, '--work-dir', work_dir, '--cfg-options', *options)
    assert sorted(path.name for path in work_dir.glob('*.pth')) == ['iter_1.pth', 'iter_2.pth']
    assert (work_dir / 'last_checkpoint').read_text().endswith('iter_2.pth')
    weights = torch.load(work_dir / 'iter_2.pth', weights_only=False)['state_dict']
    assert all(torch.isfinite(value).all() for value in weights.values())
    return str(error.value)


def test_a_nan_loss_stops_the_training_with_its_name_and_files(trained, tmp_path):
    message = train_with_sick_loss(trained.config, tmp_path)
    assert message.startswith('Iteration 3: sr.loss_sisr is nan for the images')
    assert 'train_4.png' in message and 'train_5.png' in message and 'train_3.png' not in message
    assert 'Lower the learning rate' in message


def test_nan_weights_are_not_saved_though_the_loss_was_finite(trained, tmp_path):
    message = train_with_sick_loss(trained.config, tmp_path, 'model.sr_aux.head.pixel_loss.gradient_only=True')
    assert 'weights are NaN, infinite or beyond 1e+08, backbone.' in message
    assert 'they are not saved' in message


# --- distributed runs and scripts ---


def _arguments(config, **others) -> Namespace:
    given = dict(config=config, work_dir=None, cfg_options=None, launcher='none', local_rank=0)
    return Namespace(**given | others)


def test_processes_on_cpus_do_without_what_needs_gpus(monkeypatch):
    groups = []
    monkeypatch.setattr(torch.distributed, 'init_process_group', groups.append)
    cfg = Config(dict(launcher='pytorch', model=model_cfg(norm_cfg=dict(type='SyncBN', requires_grad=True))))
    cli._distribute_on_cpus(cfg)
    assert groups == ['gloo']
    assert 'SyncBN' not in cfg.pretty_text
    assert cfg.model.backbone.norm_cfg == dict(type='BN', requires_grad=True)
    assert cfg.model_wrapper_cfg.device_ids is None


def test_only_the_first_process_checks_the_data(monkeypatch):
    dataset = dict(type='CamVidDataset', data_prefix=dict(img_path='b'), pipeline=[dict(type='LoadImageFromFile')])
    cfg = Config(dict(default_scope='mmseg', launcher='slurm', train_dataloader=dict(dataset=dataset)))
    monkeypatch.setenv('SLURM_PROCID', '1')
    monkeypatch.setenv('RANK', '0')
    cli.preflight(cfg, ('train',))
    monkeypatch.setenv('SLURM_PROCID', '0')
    with pytest.raises(FileNotFoundError, match="train_dataloader.dataset: .*'b'"):
        cli.preflight(cfg, ('train',))


def test_other_launchers_need_gpus():
    with pytest.raises(ValueError, match='--launcher mpi needs GPUs. On CPUs, use tools/dist_train.sh'):
        cli._distribute_on_cpus(Config(dict(launcher='mpi', model=dict())))


def test_slurm_without_srun(monkeypatch):
    monkeypatch.delenv('SLURM_STEP_NODELIST', raising=False)
    with pytest.raises(RuntimeError, match='srun starts: use tools/slurm_train.sh'):
        cli._distribute_on_cpus(Config(dict(launcher='slurm', model=dict())))


@pytest.mark.parametrize('script', sorted((REPO / 'tools').glob('*.sh')), ids=lambda path: path.name)
def test_scripts_parse_and_say_how_they_are_used(script):
    subprocess.run(['bash', '-n', script], check=True)
    wrong = subprocess.run(['bash', script], capture_output=True, text=True)
    assert wrong.returncode != 0
    assert 'Usage: ' in wrong.stderr


@pytest.mark.parametrize(
    ('script', 'launcher', 'args'),
    [
        ('dist_train.sh', 'torchrun', ['config.py', '2']),
        ('dist_test.sh', 'torchrun', ['config.py', 'checkpoint.pth', '2']),
        ('slurm_train.sh', 'srun', ['gpu', 'job', 'config.py']),
    ],
)
def test_scripts_hand_signals_on(tmp_path, script, launcher, args):
    """They become their launcher, so what ends them ends it."""
    (tmp_path / launcher).write_text('#!/bin/sh\necho $$\n')
    (tmp_path / launcher).chmod(0o755)
    env = dict(os.environ, PATH=f'{tmp_path}{os.pathsep}{os.environ["PATH"]}')
    command = ['bash', REPO / 'tools' / script, *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert int(process.stdout.read()) == process.pid


def test_slurm_script_asks_for_its_processes(tmp_path):
    fake = tmp_path / 'srun'
    fake.write_text(
        '#!/usr/bin/env python3\nimport json, os, sys\njson.dump(sys.argv[1:], open(os.environ["SEEN"], "w"))\n'
    )
    fake.chmod(fake.stat().st_mode | stat.S_IEXEC)
    env = dict(os.environ, PATH=f'{tmp_path}:{os.environ["PATH"]}', SEEN=str(tmp_path / 'seen'), GPUS='8',
               SRUN_ARGS='--time=1 --quiet')  # fmt: skip
    script = REPO / 'tools/slurm_train.sh'
    subprocess.run(
        ['bash', script, 'gpu', 'name of job', 'a config.py', '--cfg-options', 'a=[1, 2]'], env=env, check=True
    )
    seen = json.loads((tmp_path / 'seen').read_text())
    assert {'--partition=gpu', '--job-name=name of job', '--ntasks=8', '--ntasks-per-node=4', '--gres=gpu:4'} < set(
        seen
    )
    assert {'--time=1', '--quiet'} < set(seen)
    command = seen[seen.index('python') :]
    assert command == ['python', '-u', str(REPO / 'tools/train.py'), 'a config.py', '--launcher', 'slurm',
                       '--cfg-options', 'a=[1, 2]']  # fmt: skip
