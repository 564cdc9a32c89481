"""A training killed at any moment goes on from its last complete checkpoint, as if nothing had happened."""

import os
import re
import shutil
import signal
from unittest import mock

import pytest
import torch
from filelock import FileLock
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from toy_data import call, logged, start_process, write_camvid, write_config

from dsrl_mm import cli

ITERATIONS = ('--cfg-options', 'train_cfg.max_iters=8')


def killed_while_saving(*args) -> None:
    """Train; the operating system kills the process while it writes the third checkpoint, by then half on disk."""
    fsync, files = os.fsync, []

    def kill_at_third(fd):
        if re.search(r'\.pth\..*\.partial$', os.readlink(f'/proc/self/fd/{fd}')):
            files.append(fd)
        if len(files) == 3:
            os.ftruncate(fd, 1000)
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(fd)

    os.fsync = kill_at_third
    call(cli.train, *args)


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp('resume')
    return write_config(folder, write_camvid(folder / 'camvid', val=1))


@pytest.fixture(scope='module')
def uninterrupted(config, tmp_path_factory) -> dict:
    """The last checkpoint of a training that nothing disturbed."""
    work_dir = tmp_path_factory.mktemp('uninterrupted')
    call(cli.train, config, '--work-dir', work_dir, *ITERATIONS)
    return torch.load(work_dir / 'iter_8.pth', weights_only=False)


def test_killed_while_saving(config, tmp_path, uninterrupted):
    process = start_process(killed_while_saving, config, '--work-dir', tmp_path, *ITERATIONS)
    process.join(600)
    assert process.exitcode == -signal.SIGKILL
    (partial,) = tmp_path.glob('iter_6.pth.*.partial')
    assert partial.stat().st_size == 1000
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['iter_2.pth', 'iter_4.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_4.pth')

    call(cli.train, config, '--work-dir', tmp_path, '--resume', *ITERATIONS)
    assert [entry['iter'] for entry in logged(tmp_path) if 'loss' in entry] == [5, 6, 7, 8]
    assert not partial.exists()
    final = torch.load(tmp_path / 'iter_8.pth', weights_only=False)
    assert final['meta']['iter'] == 8
    torch.testing.assert_close(final['state_dict'], uninterrupted['state_dict'])
    momenta, expected = (
        [state['momentum_buffer'] for state in checkpoint['optimizer']['state'].values()]
        for checkpoint in (final, uninterrupted)
    )
    assert len(momenta) > 50
    torch.testing.assert_close(momenta, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('lacking', ['optimizer', 'meta'])
def test_a_checkpoint_of_weights_alone_is_refused(config, tmp_path, uninterrupted, lacking):
    """MMEngine saves the best checkpoint without the optimizer's state."""
    torch.save({key: value for key, value in uninterrupted.items() if key != lacking}, tmp_path / 'best_mIoU.pth')
    with pytest.raises(ValueError, match=r'--resume: .*best_mIoU.pth holds weights.* load_from=.*best_mIoU.pth'):
        call(cli.train, config, '--work-dir', tmp_path, '--resume', tmp_path / 'best_mIoU.pth')


def test_without_a_checkpoint_of_its_own_starts_from_the_weights_it_shall_start_from(config, tmp_path, uninterrupted):
    """And goes on from its own at the second launch: a cluster repeats the same command."""
    start = tmp_path / 'start.pth'
    name = 'backbone.stem.0.weight'
    weights = uninterrupted['state_dict']
    torch.save(dict(uninterrupted, state_dict=weights | {name: weights[name] + 1}), start)
    for iterations, expected in ((4, [1, 2, 3, 4]), (6, [5, 6])):
        options = ['--cfg-options', f'train_cfg.max_iters={iterations}', f'load_from={start}']
        call(cli.train, config, '--work-dir', tmp_path / 'work', '--resume', *options)
        assert [entry['iter'] for entry in logged(tmp_path / 'work') if 'loss' in entry] == expected
    weight = torch.load(tmp_path / 'work/iter_4.pth', weights_only=False)['state_dict'][name]
    assert weight.mean() > 0.5  # where it started


AUGMENTED = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(64, 48), ratio_range=(0.75, 1.75), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(48, 64), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
CHANCE = ('model.sr_aux.fa.sampling=random', 'model.decode_head.decode_head.dropout_ratio=0.5')


def random_config(folder, workers: int, **overrides):
    """Everything that can be left to chance: order, augmentations, dropout, FA's positions, the seed itself."""
    data = write_camvid(folder / 'camvid', 12, 1)
    loader = dict(
        batch_size=2,
        num_workers=workers,
        persistent_workers=workers > 0,
        sampler=dict(type='InfiniteSampler', shuffle=True),
        dataset=dict(data_root=str(data), pipeline=AUGMENTED),
    )
    return write_config(folder, data, **dict(dict(randomness=dict(seed=None), train_dataloader=loader), **overrides))


def weights(file):
    return torch.load(file, weights_only=False)['state_dict']


@pytest.mark.parametrize('workers', [0, 2])
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path, workers):
    config = random_config(tmp_path, workers)
    options = ['--cfg-options', 'train_cfg.max_iters=6', 'default_hooks.checkpoint.interval=3', *CHANCE]
    call(cli.train, config, '--work-dir', tmp_path / 'whole', *options)
    (tmp_path / 'cut').mkdir()
    shutil.copy(tmp_path / 'whole' / 'iter_3.pth', tmp_path / 'cut')
    call(cli.train, config, '--work-dir', tmp_path / 'cut', '--resume', *options)
    assert [entry['iter'] for entry in logged(tmp_path / 'cut') if 'loss' in entry] == [4, 5, 6]
    whole, cut = (weights(tmp_path / name / 'iter_6.pth') for name in ('whole', 'cut'))
    torch.testing.assert_close(cut, whole, rtol=0, atol=0)
    call(cli.train, config, '--work-dir', tmp_path / 'other', *options)
    assert not torch.equal(
        whole['backbone.stem.0.weight'], weights(tmp_path / 'other' / 'iter_6.pth')['backbone.stem.0.weight']
    )  # chance it is


def test_a_dry_run_changes_no_weight(tmp_path, monkeypatch):
    config, dry_run = random_config(tmp_path, 0, randomness=dict(seed=1)), mock.Mock(wraps=cli.dry_run)
    monkeypatch.setattr(cli, 'dry_run', dry_run)
    for checked in (True, False):
        options = ['--cfg-options', 'train_cfg.max_iters=3', f'check_data={checked}', *CHANCE]
        call(cli.train, config, '--work-dir', tmp_path / str(checked), *options)
    assert dry_run.call_count == 1
    with_it, without = (weights(tmp_path / name / 'iter_3.pth') for name in ('True', 'False'))
    torch.testing.assert_close(with_it, without, rtol=0, atol=0)


@HOOKS.register_module()
class SigtermHook(Hook):
    """Asks its own process to end in an iteration."""

    def __init__(self, iteration: int):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.iteration:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    ('by_epoch', 'counts', 'at', 'saved'),
    [
        (True, 1, 9, 9),  # of 12, the third of the second epoch
        (False, 2, 1, 2),  # not before the gradients of both iterations are used
    ],
)
def test_sigterm_saves_and_ends_and_resumes_as_if_uninterrupted(tmp_path, by_epoch, counts, at, saved):
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9), accumulative_counts=counts)
    overrides = dict(optim_wrapper=wrapper)
    if by_epoch:
        loader = dict(batch_size=2, sampler=dict(type='DefaultSampler', shuffle=True), dataset=dict(pipeline=AUGMENTED))
        loader['dataset']['data_root'] = str(tmp_path / 'camvid')
        overrides |= dict(
            train_dataloader=loader | dict(num_workers=0, persistent_workers=False),
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=2),
            default_hooks=dict(logger=dict(interval=1), checkpoint=dict(by_epoch=True, interval=1)),
        )
    config = random_config(tmp_path, 0, **dict(randomness=dict(seed=1)), **overrides)
    last = 'epoch_2.pth' if by_epoch else 'iter_4.pth'
    call(cli.train, config, '--work-dir', tmp_path / 'whole')
    config_stopped = tmp_path / 'stopped.py'
    config_stopped.write_text(f'_base_ = {str(config)!r}\ncustom_hooks = [dict(type="SigtermHook", iteration={at})]\n')
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        call(cli.train, config_stopped, '--work-dir', tmp_path / 'cut')
    assert signal.getsignal(signal.SIGTERM) == before
    assert ended.value.code == 143
    call(cli.train, config, '--work-dir', tmp_path / 'cut', '--resume')
    assert [entry['iter'] for entry in logged(tmp_path / 'cut') if 'loss' in entry][0] == saved + 1
    torch.testing.assert_close(weights(tmp_path / 'cut' / last), weights(tmp_path / 'whole' / last), rtol=0, atol=0)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ('model = dict(decode_head=dict(decode_head=dict(channels=24)))', 'tensors of the model .* differ'),
        ('optim_wrapper = dict(optimizer=dict(_delete_=True, type="Adam", lr=0.01))', 'another optimizer'),
        (
            'optim_wrapper = dict(optimizer=dict(weight_decay=0.1))',
            'weight_decay .* is 0.1 in the config and 0 in',
        ),
        (
            'optim_wrapper = dict(optimizer=dict(momentum=0.5))',
            r'momentum .* is 0.5 in the config and 0.9 .*\(parameter group 0',
        ),
        ('optim_wrapper = dict(optimizer=dict(lr=0.5))', 'lr of the optimizer is 0.5 in the config'),
        ('param_scheduler = [dict(type="PolyLR", end=10, by_epoch=False)]', 'has 1 param_scheduler, the checkpoint 0'),
    ],
)
def test_what_does_not_fit_is_not_resumed(config, tmp_path, uninterrupted, change, message):
    torch.save(uninterrupted, tmp_path / 'iter_8.pth')
    changed = tmp_path / 'changed.py'
    changed.write_text(f'_base_ = {str(config)!r}\n{change}\n')
    with pytest.raises(ValueError, match=f'--resume: .*{message}'):
        call(cli.train, changed, '--work-dir', tmp_path, '--resume', '--cfg-options', 'train_cfg.max_iters=10')


def test_a_named_checkpoint_is_resumed_unless_the_schedule_changed(tmp_path):
    """Even with a momentum that is scheduled, and without a group's entry that another PyTorch did not write."""
    schedule = dict(end=4, by_epoch=False)
    schedulers = [dict(type='PolyLR', **schedule), dict(type='PolyMomentum', eta_min=0.5, **schedule)]
    config = random_config(tmp_path, 0, param_scheduler=schedulers)
    call(cli.train, config, '--work-dir', tmp_path)
    checkpoint = torch.load(tmp_path / 'iter_2.pth', weights_only=False)
    for group in checkpoint['optimizer']['param_groups']:
        assert group['momentum'] < 0.9
        del group['nesterov']
    torch.save(checkpoint, tmp_path / 'iter_2.pth')
    call(cli.train, config, '--work-dir', tmp_path, '--resume', tmp_path / 'iter_2.pth')
    assert [entry['iter'] for entry in logged(tmp_path) if 'loss' in entry] == [3, 4]
    longer = ['--cfg-options', 'train_cfg.max_iters=8', 'param_scheduler.0.end=8']
    with pytest.raises(ValueError, match=r'param_scheduler\.0 is 7 in the config and 3 in the checkpoint'):
        call(cli.train, config, '--work-dir', tmp_path, '--resume', *longer)


def test_a_work_dir_is_one_trainings_alone(config, tmp_path):
    with FileLock(tmp_path / '.lock'), pytest.raises(RuntimeError, match='Another training runs in'):
        call(cli.train, config, '--work-dir', tmp_path)
    assert not any(tmp_path.glob('*.pth'))
