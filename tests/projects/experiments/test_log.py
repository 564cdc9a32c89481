"""The course of a training that took two sessions."""

import json

import pytest

from projects.experiments.log import TrainingLog


def entry(step, time, loss=1.0):
    return json.dumps(dict(step=step, iter=step, time=time, loss=loss, **{'decode.loss_ce': loss}))


def session(work_dir, name, *lines, end='\n'):
    folder = work_dir / name / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('\n'.join(lines) + end)


@pytest.fixture
def log(tmp_path):
    session(tmp_path, '20250101_000000', entry(10, 2.0), json.dumps(dict(step=10, mIoU=30.0)), entry(20, 9.0))
    # Killed at 20, went on from 10; the last line is being written.
    lines = entry(20, 3.0, 0.5), entry(30, 4.0, 0.25), json.dumps(dict(step=30, mIoU=40.0)), entry(40, 4.0)[:-5]
    session(tmp_path, '20250102_000000', *lines, end='')
    return TrainingLog(tmp_path)


def test_iterations_count_once_as_they_were_last_trained(log):
    assert log.iterations == 30
    assert log.curve == [(10, 30.0), (30, 40.0)]
    assert log.seconds == 30 * 3  # at the median pace
    assert log.gpu_memory_mib is None
    assert log.seconds_per_iteration == 3
    assert log.losses() == {
        'iteration': [10, 20, 30],
        'loss': [1.0, 0.5, 0.25],
        'decode.loss_ce': [1.0, 0.5, 0.25],
    }


def test_memory_is_the_gpus_where_one_is_logged(tmp_path):
    session(
        tmp_path,
        '20250101_000000',
        *(json.dumps(json.loads(entry(i, 1.0)) | dict(memory=m)) for i, m in ((1, 7), (2, 5))),
    )
    assert TrainingLog(tmp_path).gpu_memory_mib == 7


@pytest.mark.parametrize(('logged', 'kept'), [(50, 50), (51, 26), (230, 46)])
def test_losses_are_thinned(tmp_path, logged, kept):
    session(tmp_path, '20250101_000000', *(entry(step + 1, 1.0) for step in range(logged)))
    losses = TrainingLog(tmp_path).losses()
    assert len(losses['iteration']) == len(losses['loss']) == kept


def test_nothing_logged_yet(tmp_path):
    log = TrainingLog(tmp_path)
    assert (log.iterations, log.curve, log.seconds_per_iteration, log.seconds) == (0, [], None, 0)
