"""A training killed at any moment goes on from its last complete checkpoint, as if nothing had happened."""

import os
import signal

import pytest
import torch
from toy_data import call, fork, logged, write_camvid, write_config

from dsrl_mm import cli

ITERATIONS = ('--cfg-options', 'train_cfg.max_iters=8')


def killed_while_saving(*args) -> None:
    """Train; the operating system kills the process while it writes the third checkpoint, by then half on disk."""
    fsync, files = os.fsync, []

    def kill_at_third(fd):
        if os.readlink(f'/proc/self/fd/{fd}').endswith('.pth.partial'):
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
    process = fork(killed_while_saving, config, '--work-dir', tmp_path, *ITERATIONS)
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    assert (tmp_path / 'iter_6.pth.partial').stat().st_size == 1000
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['iter_2.pth', 'iter_4.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_4.pth')

    call(cli.train, config, '--work-dir', tmp_path, '--resume', *ITERATIONS)
    assert [entry['iter'] for entry in logged(tmp_path) if 'loss' in entry] == [5, 6, 7, 8]
    final = torch.load(tmp_path / 'iter_8.pth', weights_only=False)
    assert final['meta']['iter'] == 8
    torch.testing.assert_close(final['state_dict'], uninterrupted['state_dict'])
    momenta, expected = (
        [state['momentum_buffer'] for state in checkpoint['optimizer']['state'].values()]
        for checkpoint in (final, uninterrupted)
    )
    assert len(momenta) > 50
    torch.testing.assert_close(momenta, expected, rtol=1e-4, atol=1e-6)


def test_goes_on_from_its_own_checkpoint_and_not_from_what_it_started_from(config, tmp_path, uninterrupted):
    torch.save(uninterrupted, tmp_path / 'start.pth')
    tuned = tmp_path / 'tuned.py'
    tuned.write_text(f'_base_ = {str(config)!r}\nload_from = {str(tmp_path / "start.pth")!r}\n')
    call(cli.train, tuned, '--work-dir', tmp_path / 'work')
    call(cli.train, tuned, '--work-dir', tmp_path / 'work', '--resume', '--cfg-options', 'train_cfg.max_iters=6')
    assert [entry['iter'] for entry in logged(tmp_path / 'work') if 'loss' in entry] == [5, 6]


@pytest.mark.parametrize('where', ['config', 'option'])
def test_without_a_checkpoint_of_its_own_starts_from_the_weights_it_shall_start_from(
    config, tmp_path, uninterrupted, where
):
    """And goes on from its own at the second launch: a cluster repeats the same command."""
    start = tmp_path / 'start.pth'
    name = 'backbone.stem.0.weight'
    weights = uninterrupted['state_dict']
    torch.save(dict(uninterrupted, state_dict=weights | {name: weights[name] + 1}), start)
    tuned = tmp_path / 'tuned.py'
    tuned.write_text(f'_base_ = {str(config)!r}\n' + (f'load_from = {str(start)!r}\n' if where == 'config' else ''))
    given = [f'load_from={start}'] if where == 'option' else []
    for iterations, expected in ((4, [1, 2, 3, 4]), (6, [5, 6])):
        options = ['--cfg-options', f'train_cfg.max_iters={iterations}', *given]
        call(cli.train, tuned, '--work-dir', tmp_path / 'work', '--resume', *options)
        assert [entry['iter'] for entry in logged(tmp_path / 'work') if 'loss' in entry] == expected
    weight = torch.load(tmp_path / 'work/iter_4.pth', weights_only=False)['state_dict'][name]
    assert weight.mean() > 0.5  # where it started


def test_resume_without_a_checkpoint_starts_anew(config, tmp_path):
    call(cli.train, config, '--work-dir', tmp_path, '--resume', '--cfg-options', 'train_cfg.max_iters=1')
    assert [entry['iter'] for entry in logged(tmp_path) if 'loss' in entry] == [1]
