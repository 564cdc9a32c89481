"""Checkpoints, through a real runner that is stopped at the worst moments."""

import errno
import os
import resource
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import BaseMetric
from mmengine.fileio import get_file_backend
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from dsrl_mm.engine import AtomicLocalBackend, SafeCheckpointHook
from dsrl_mm.engine.checkpoint import last_checkpoint


@contextmanager
def small_disk():
    """No file may grow beyond 1000 bytes: what a full disk does to a write. Not around a test's own output."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_backend_writes_what_it_is_given(tmp_path):
    backend = get_file_backend(backend_args=dict(backend='AtomicLocalBackend'))
    backend.put(b'first', tmp_path / 'new' / 'folder' / 'x.pth')
    backend.put(b'second', str(tmp_path / 'new' / 'folder' / 'x.pth'))
    assert backend.get(tmp_path / 'new' / 'folder' / 'x.pth') == b'second'
    assert [path.name for path in tmp_path.rglob('*.*')] == ['x.pth']
    (tmp_path / 'plain').touch()
    assert (tmp_path / 'new/folder/x.pth').stat().st_mode == (tmp_path / 'plain').stat().st_mode  # others may read it


def test_backend_writes_into_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    AtomicLocalBackend().put(b'here', 'x.pth')
    assert (tmp_path / 'x.pth').read_bytes() == b'here'


@pytest.mark.parametrize('old', [None, b'old'])
def test_failed_write_leaves_the_old_file_and_no_part_of_the_new(tmp_path, old):
    file = tmp_path / 'x.pth'
    if old is not None:
        file.write_bytes(old)
    with small_disk(), pytest.raises(OSError, match='File too large'):
        AtomicLocalBackend().put(b'new' * 1000, file)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == ({'x.pth': old} if old else {})


def test_killed_while_writing(tmp_path, monkeypatch):
    file = tmp_path / 'x.pth'
    file.write_bytes(b'old')
    pid = os.fork()
    if pid == 0:
        os.fsync = lambda fd: os.kill(os.getpid(), signal.SIGKILL)
        AtomicLocalBackend().put(b'new', file)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert file.read_bytes() == b'old'
    AtomicLocalBackend().put(b'newer', file)
    assert file.read_bytes() == b'newer'


def test_two_writers_do_not_disturb_each_other(tmp_path):
    writers = []
    for byte in (b'a', b'b'):
        if (pid := os.fork()) == 0:
            for _ in range(20):
                AtomicLocalBackend().put(byte * 2**20, tmp_path / 'x.pth')
            os._exit(0)
        writers.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in writers] == [0, 0]
    content = (tmp_path / 'x.pth').read_bytes()
    assert content in (b'a' * 2**20, b'b' * 2**20)
    assert [path.name for path in tmp_path.iterdir()] == ['x.pth']


class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, x, mode='tensor'):
        error = self.linear(x).square().mean()
        return dict(loss=error) if mode == 'loss' else [error]


class Rising(BaseMetric):
    """Better at every validation."""

    acc = 0

    def process(self, data_batch, data_samples):
        self.results.append(None)

    def compute_metrics(self, results):
        self.acc += 1
        return dict(acc=self.acc)


class IterationLog(Hook):
    def __init__(self, iterations):
        self.iterations = iterations

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.iterations.append(runner.iter)


def loader():
    # More than the eight batches of a run: MMEngine sleeps for two seconds when it starts over.
    data = [dict(x=x) for x in torch.linspace(-1, 1, 60).view(20, 3)]
    return DataLoader(data, batch_size=2, sampler=DefaultSampler(data, shuffle=False))


def runner(work_dir, name, resume=False, max_iters=8, val_interval=None, **hook):
    """A runner of eight iterations, with a checkpoint every second. MMEngine's globals tell runners apart by name."""
    torch.manual_seed(0)
    validation = {}
    if val_interval is not None:
        validation = dict(val_dataloader=loader(), val_cfg=dict(), val_evaluator=[Rising()])
    return Runner(
        Toy(),
        str(work_dir),
        train_dataloader=loader(),
        train_cfg=dict(by_epoch=False, max_iters=max_iters, val_interval=val_interval or 1000),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        default_hooks=dict(
            checkpoint=dict(dict(type='SafeCheckpointHook', by_epoch=False, interval=2, max_keep_ckpts=2), **hook),
            logger=None,
        ),
        resume=resume,
        experiment_name=name,
        log_level='ERROR',
        **validation,
    )


def checkpoints(folder):
    """Name to iteration of every checkpoint; loading fails on a half-written one."""
    return {
        path.name: torch.load(path, weights_only=False)['meta']['iter']
        for path in Path(folder).iterdir()
        if path.suffix in ('.pth', '.partial')
    }


@pytest.fixture
def writes(monkeypatch):
    """What lies in the folder, newest included, at the moment each checkpoint is complete."""
    seen, put = [], AtomicLocalBackend.put

    def spy(self, obj, filepath):
        put(self, obj, filepath)
        seen.append(sorted(path.name for path in Path(filepath).parent.glob('*.pth')))

    monkeypatch.setattr(AtomicLocalBackend, 'put', spy)
    return seen


class Killed(BaseException):
    """Like a signal: no one catches it."""


@pytest.fixture
def kill_at(monkeypatch):
    """Stop the process while it writes a checkpoint whose name contains the given word."""

    def set_up(word):
        put = AtomicLocalBackend.put

        def dying(self, obj, filepath):
            if word in str(filepath):
                raise Killed
            put(self, obj, filepath)

        monkeypatch.setattr(AtomicLocalBackend, 'put', dying)

    return set_up


def test_oldest_goes_after_the_newest_is_complete(tmp_path, writes, request):
    runner(tmp_path, request.node.name).train()
    assert writes == [
        ['iter_2.pth'],
        ['iter_2.pth', 'iter_4.pth'],
        ['iter_2.pth', 'iter_4.pth', 'iter_6.pth'],
        ['iter_4.pth', 'iter_6.pth', 'iter_8.pth'],
    ]
    assert checkpoints(tmp_path) == {'iter_6.pth': 6, 'iter_8.pth': 8}
    assert (tmp_path / 'last_checkpoint').read_text().endswith('iter_8.pth')


@pytest.mark.parametrize('max_keep_ckpts', [1, -1])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, monkeypatch, kill_at, request, max_keep_ckpts):
    name = request.node.name
    whole = runner(tmp_path / 'whole', f'{name}-whole', max_keep_ckpts=max_keep_ckpts)
    whole.train()
    kill_at('iter_6')
    with pytest.raises(Killed):
        runner(tmp_path / 'cut', f'{name}-cut', max_keep_ckpts=max_keep_ckpts).train()
    expected = {'iter_4.pth': 4} if max_keep_ckpts == 1 else {'iter_2.pth': 2, 'iter_4.pth': 4}
    assert checkpoints(tmp_path / 'cut') == expected
    monkeypatch.undo()

    resumed = runner(tmp_path / 'cut', f'{name}-resumed', max_keep_ckpts=max_keep_ckpts, resume=True)
    iterations = []
    resumed.register_hook(IterationLog(iterations))
    resumed.train()
    assert iterations == [4, 5, 6, 7]
    torch.testing.assert_close(resumed.model.state_dict(), whole.model.state_dict(), rtol=0, atol=0)
    assert checkpoints(tmp_path / 'cut') == checkpoints(tmp_path / 'whole')


def test_best_goes_after_the_better_is_complete(tmp_path, writes, request):
    runner(tmp_path, request.node.name, val_interval=4, save_best='acc').train()
    assert ['best_acc_iter_4.pth', 'best_acc_iter_8.pth'] in [
        [name for name in names if name.startswith('best')] for names in writes
    ]
    assert [name for name in checkpoints(tmp_path) if name.startswith('best')] == ['best_acc_iter_8.pth']


def test_validation_alone_saves_nothing(tmp_path, request):
    runner(tmp_path, request.node.name, val_interval=4).val()
    assert checkpoints(tmp_path) == {}


def test_backend_can_be_chosen(tmp_path, writes, request):
    runner(tmp_path, request.node.name, max_iters=2, backend_args=dict(backend='local')).train()
    assert writes == []
    assert checkpoints(tmp_path) == {'iter_2.pth': 2}
    assert SafeCheckpointHook().backend_args == dict(backend='AtomicLocalBackend')
    assert SafeCheckpointHook(out_dir='s3://mine').backend_args is None  # which MMEngine derives from the address


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_names_the_folder(tmp_path, monkeypatch, number):
    def full(fd):
        raise OSError(number, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match=rf'{tmp_path}: x\.pth \(0 MiB\) was not written'):
        AtomicLocalBackend().put(b'new', tmp_path / 'x.pth')
    assert not any(tmp_path.iterdir())


def test_a_resumed_training_removes_what_a_kill_left(tmp_path, request):
    """A file that was being written, and a checkpoint that the next one should have replaced."""
    name = request.node.name
    runner(tmp_path, name, max_iters=4).train()
    for left in ('iter_6.pth.x1y2.partial', 'iter_1.pth', 'mine.pth'):
        shutil.copy(tmp_path / 'iter_4.pth', tmp_path / left)
    runner(tmp_path, f'{name}-resumed', resume=True).train()
    kept = sorted(path.name for path in tmp_path.iterdir() if path.suffix in ('.pth', '.partial'))
    assert kept == ['iter_6.pth', 'iter_8.pth', 'mine.pth']


def test_a_resumed_training_keeps_its_checkpoint_despite_a_newer_broken_one(tmp_path, kill_at, request):
    name = request.node.name
    runner(tmp_path, name, max_iters=4).train()
    (tmp_path / 'iter_6.pth').write_bytes(b'')
    kill_at('iter_6')
    with pytest.raises(Killed):
        runner(tmp_path, f'{name}-resumed', max_keep_ckpts=1, resume=True).train()
    assert torch.load(tmp_path / 'iter_4.pth', weights_only=False)['meta']['iter'] == 4


def test_accumulated_gradients_are_used_before_a_checkpoint(tmp_path, request):
    toy = runner(tmp_path, request.node.name, max_keep_ckpts=-1)
    toy.optim_wrapper['accumulative_counts'] = 3
    toy.train()
    assert checkpoints(tmp_path) == {'iter_3.pth': 3, 'iter_6.pth': 6, 'iter_8.pth': 8}  # the last is the result


@pytest.mark.parametrize(
    ('counts', 'interval', 'start', 'expected'),
    [
        (1, 7, 0, [7, 14]),
        (3, 7, 0, [9, 15]),  # the first multiples of 3 from 7 and 14 on
        (3, 2, 0, [3, 6, 9, 12, 15]),
        (3, 4, 9, [9, 15]),  # from 9 and 13 on, none before save_begin=9
        (3, 7, 5, [6, 12]),
        (3, -1, 0, []),
    ],
)
def test_a_checkpoint_is_due_once_gradients_are_used(counts, interval, start, expected):
    hook, wrapper = SafeCheckpointHook(), SimpleNamespace(_accumulative_counts=counts)
    runners = [SimpleNamespace(optim_wrapper=wrapper, iter=i) for i in range(16)]
    assert [runner.iter + 1 for runner in runners if hook.every_n_train_iters(runner, interval, start)] == expected


def config(folder, accumulative_counts=1, **hook):
    return Config(
        dict(
            work_dir=str(folder),
            default_hooks=dict(checkpoint=dict(by_epoch=False, **hook)),
            optim_wrapper=dict(accumulative_counts=accumulative_counts),
        )
    )


def save(file, iteration, **meta):
    file.parent.mkdir(exist_ok=True)
    torch.save(dict(state_dict={'weight': torch.ones(1)}, meta=dict(iter=iteration, **meta)), file)


@pytest.mark.parametrize('note', [None, '', '/where/the/folder/was/iter_12.pth', 'iter_8.pth'])
def test_the_newest_checkpoint_is_resumed_whatever_the_note_says(tmp_path, note):
    if note is not None:
        (tmp_path / 'last_checkpoint').write_text(note)
    others = ('best_mIoU_iter_16.pth', 'iter_16_pth', 'iter_16.pth.a1b2.partial', 'epoch_16.pth')
    for name in ('iter_8.pth', 'iter_12.pth', *others):
        save(tmp_path / name, 1)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert last_checkpoint(config(tmp_path)) == tmp_path / 'iter_12.pth'
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before  # other processes look, too


def test_the_newest_that_can_be_read_is_resumed(tmp_path, log):
    assert last_checkpoint(config(tmp_path)) is None
    for iteration in (8, 12, 16):
        save(tmp_path / f'iter_{iteration}.pth', iteration, time='20260101_000000')
    (tmp_path / 'iter_12.pth').write_bytes(b'')
    (tmp_path / 'iter_16.pth').write_bytes((tmp_path / 'iter_16.pth').read_bytes()[:-1])
    assert last_checkpoint(config(tmp_path)) == tmp_path / 'iter_8.pth'
    assert [number for line in log for number in ('12', '16') if f'iter_{number}.pth' in line] == ['16', '12']
    (tmp_path / 'iter_8.pth').write_bytes(b'')
    with pytest.raises(ValueError, match='none of the 3 checkpoints .* can be read, such as iter_16.pth'):
        last_checkpoint(config(tmp_path))


def test_a_numbered_file_of_weights_alone_is_left_to_the_resume_that_refuses_it(tmp_path):
    torch.save({'weight': torch.ones(1)}, tmp_path / 'iter_8.pth')
    assert last_checkpoint(config(tmp_path)) == tmp_path / 'iter_8.pth'


def test_checkpoints_may_have_other_names_and_another_folder(tmp_path):
    save(tmp_path / 'other' / 'model-0008.pt', 8)
    cfg = config(tmp_path / 'work' / 'run', filename_tmpl='model-{:04d}.pt', out_dir=str(tmp_path / 'other'))
    assert last_checkpoint(cfg) is None
    save(tmp_path / 'other' / 'run' / 'model-0012.pt', 12)
    assert last_checkpoint(cfg) == tmp_path / 'other' / 'run' / 'model-0012.pt'


def test_checkpoints_of_an_earlier_training_in_the_same_folder_are_not_resumed(tmp_path):
    for iteration, time in ((8, '20260102_000000'), (12, '20260101_235959'), (4, '20260101_000000')):
        save(tmp_path / f'iter_{iteration}.pth', iteration, time=time)  # in MMEngine's form
    assert last_checkpoint(config(tmp_path)) == tmp_path / 'iter_8.pth'


def test_checkpoints_of_epochs_hold_all_gradients(tmp_path):
    for epoch in (1, 2):
        save(tmp_path / f'epoch_{epoch}.pth', 5 * epoch)
    cfg = config(tmp_path, accumulative_counts=4)
    cfg.default_hooks.checkpoint = {}  # MMEngine counts epochs by default
    assert last_checkpoint(cfg) == tmp_path / 'epoch_2.pth'


def test_remote_storage_is_not_searched_for_checkpoints(tmp_path):
    with pytest.raises(ValueError, match='out_dir=s3://mine, which is not searched. Name the newest'):
        last_checkpoint(config(tmp_path, out_dir='s3://mine'))


def test_a_checkpoint_amid_accumulated_gradients_is_passed_over(tmp_path):
    for iteration in (8, 10):
        save(tmp_path / f'iter_{iteration}.pth', iteration)
    cfg = config(tmp_path, accumulative_counts=4)
    assert last_checkpoint(cfg) == tmp_path / 'iter_8.pth'
    (tmp_path / 'iter_8.pth').unlink()
    assert last_checkpoint(cfg) is None  # from the beginning, it equals the uninterrupted training
