"""Two processes (gloo, CPU), started by the shell scripts or without them, against one."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from toy_data import REPO, call, write_camvid, write_config
from toy_processes import assert_trained_alike, free_port, run_two

from dsrl_mm import cli

LAUNCHED = ('--launcher', 'pytorch')


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    """Group norm: a process has no batch statistics of its own. 5 images to test: the processes' shares differ."""
    folder = tmp_path_factory.mktemp('distributed')
    return write_config(
        folder,
        write_camvid(folder / 'camvid', val=5),
        norm_cfg=dict(type='GN', num_groups=2),
        test_evaluator=[dict(type='ClassIoUMetric', iou_metrics=['mIoU']), dict(type='BoundaryMetric')],
    )


@pytest.fixture(scope='module')
def trained(config, tmp_path_factory) -> Path:
    """The checkpoint of one process with batches of 4."""
    work_dir = tmp_path_factory.mktemp('one')
    call(cli.train, config, '--work-dir', work_dir, '--cfg-options', 'train_dataloader.batch_size=4')
    return work_dir / 'iter_4.pth'


def run_script(name: str, *args) -> subprocess.CompletedProcess:
    env = dict(os.environ, PORT=free_port(), OMP_NUM_THREADS='1')
    command = ['bash', REPO / 'tools' / name, *map(str, args)]
    # In a temporary folder: processes exchange their results through files in the current one.
    return subprocess.run(command, env=env, cwd=args[0].parent, capture_output=True, text=True, timeout=600)


def test_two_processes_train_like_one_with_the_batch_of_both(config, trained, tmp_path):
    assert run_two(call, cli.train, config, '--work-dir', tmp_path, *LAUNCHED) == [0, 0]  # batches of 2
    assert_trained_alike(trained.parent, tmp_path)


def test_two_processes_test_like_one(config, trained, tmp_path):
    reference = call(cli.test, config, trained, '--work-dir', tmp_path / 'one', '--sr-metrics')
    options = ('--work-dir', tmp_path / 'two', '--sr-metrics', *LAUNCHED)
    assert run_two(call, cli.test, config, trained, *options) == [0, 0]
    metrics = json.loads(next((tmp_path / 'two').glob('*/*.json')).read_text())
    assert {name: metrics[name] for name in reference} == pytest.approx(reference, rel=1e-6)


def test_two_processes_test_an_exported_file_like_one(config, trained, tmp_path):
    call(cli.deploy, config, trained, tmp_path, '--format', 'onnx', '--size', 48, 64)
    reference = call(cli.test, config, trained, '--work-dir', tmp_path / 'one')
    options = ('--work-dir', tmp_path / 'two', *LAUNCHED)
    assert run_two(call, cli.test, config, tmp_path / 'deploy.onnx', *options) == [0, 0]
    metrics = json.loads(next((tmp_path / 'two').glob('*/*.json')).read_text())
    assert {name: metrics[name] for name in reference} == pytest.approx(reference, abs=0.05)


def test_the_script_starts_the_test_in_as_many_processes(tmp_path, monkeypatch):
    """With a launcher that only says what it is asked for."""
    (tmp_path / 'torchrun').write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / 'torchrun').chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}{os.pathsep}{os.environ["PATH"]}')
    result = run_script('dist_test.sh', tmp_path / 'a.py', 'b.pth', 3, '--work-dir', 'c d')
    *launcher, script = result.stdout.partition(f'\n{tmp_path}/a.py\n')[0].splitlines()
    assert {'--nproc_per_node=3', '--nnodes=1', '--node_rank=0'} <= {*launcher}
    assert Path(script).samefile(REPO / 'tools/test.py')
    assert result.stdout.splitlines()[-5:] == ['b.pth', '--launcher', 'pytorch', '--work-dir', 'c d']


def test_bad_data_ends_all_processes_with_the_message_last(config, tmp_path):
    options = ('--cfg-options', 'train_dataloader.dataset.data_root=nowhere')
    result = run_script('dist_train.sh', config, 2, '--work-dir', tmp_path, *options)
    assert result.returncode != 0
    assert result.stdout.count('Iter(train)') == 0
    *_, message, _ = (line for line in result.stderr.splitlines() if line.strip())
    assert "FileNotFoundError: train_dataloader.dataset: [Errno 2] No such file or directory: 'nowhere" in message
