"""Each tracker reads back what a training logged through MMEngine's backend."""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import toy_data
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dsrl_mm import cli

#: What is logged at every iteration.
LOGGED = ('loss', 'decode.loss_ce', 'sr.loss_sisr', 'sr.loss_fa', 'lr')


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Train for two iterations with a backend, and return what went to ``scalars.json``: two entries, and metrics."""

    def with_backend(**backend) -> tuple[list[dict], dict]:
        config = toy_data.write_config(
            tmp_path,
            toy_data.write_camvid(tmp_path / 'camvid', train=4, val=1),
            visualizer=dict(vis_backends=[dict(type='LocalVisBackend'), backend]),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2),
        )
        toy_data.call(cli.train, config, '--work-dir', tmp_path / 'work')
        entries = toy_data.logged(tmp_path / 'work')
        (metrics,) = [entry for entry in entries if 'mIoU' in entry]
        losses = [entry for entry in entries if 'loss' in entry]
        assert [entry['step'] for entry in losses] == [1, 2]
        return losses, metrics

    monkeypatch.chdir(tmp_path)  # some write there, too
    return with_backend


def _steps(entries: list[dict], name: str) -> list[tuple]:
    return [(entry['step'], pytest.approx(entry[name])) for entry in entries]


def test_tensorboard(train, tmp_path):
    losses, metrics = train(type='TensorboardVisBackend')
    (events,) = (tmp_path / 'work').rglob('events.out.tfevents.*')
    tracked = EventAccumulator(str(events)).Reload()
    for name in LOGGED:
        assert [(event.step, event.value) for event in tracked.Scalars(name)] == _steps(losses, name)
    assert [(event.step, event.value) for event in tracked.Scalars('mIoU')] == _steps([metrics], 'mIoU')


def _wandb_records(file: Path) -> Iterator[bytes]:
    """Read a run's file: 7 bytes, then LevelDB's log (https://github.com/google/leveldb/blob/main/doc/log_format.md)."""
    content, position, record = file.read_bytes(), 7, b''
    while position + 7 <= len(content):
        left = -position % 2**15  # of the block
        if 0 < left < 7:
            position += left
            continue
        length, kind = struct.unpack_from('<4xHB', content, position)
        position += 7 + length
        record += content[position - length : position]
        if kind in (1, 4):  # whole, or its end
            yield record
            record = b''


def test_wandb_offline(train, tmp_path, monkeypatch):
    from wandb.proto import wandb_internal_pb2 as pb

    for name in ('WANDB_DIR', 'WANDB_CACHE_DIR', 'WANDB_DATA_DIR', 'WANDB_CONFIG_DIR'):
        monkeypatch.setenv(name, str(tmp_path / name))
    losses, metrics = train(type='WandbVisBackend', init_kwargs=dict(mode='offline', project='toy'))
    (file,) = (tmp_path / 'work').rglob('run-*.wandb')
    rows, end = [], time.monotonic() + 600
    while len(rows) < 3 and time.monotonic() < end:  # a process of its own writes, late on a busy machine
        records = [pb.Record.FromString(record) for record in _wandb_records(file)]
        rows = [
            {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            for record in records
            if record.WhichOneof('record_type') == 'history'
        ]
        time.sleep(0.2)
    assert len(rows) == 3
    for row, entry in zip(rows, [*losses, metrics]):
        names = LOGGED if 'loss' in entry else ['mIoU']
        assert {name: row[name] for name in names} == pytest.approx({name: entry[name] for name in names})


def test_mlflow(train, tmp_path):
    import mlflow  # slowly

    store, files = f'sqlite:///{tmp_path}/mlflow.db', (tmp_path / 'files').as_uri()
    losses, metrics = train(type='MLflowVisBackend', exp_name='toy', tracking_uri=store, artifact_location=files)
    client = mlflow.MlflowClient(store)
    (run,) = client.search_runs([client.get_experiment_by_name('toy').experiment_id])
    for name in LOGGED:
        history = client.get_metric_history(run.info.run_id, name)
        assert [(entry.step, entry.value) for entry in history] == _steps(losses, name)
    assert run.data.metrics['mIoU'] == pytest.approx(metrics['mIoU'])
    assert run.data.params['model.type'] == 'DSRLSegmentor'
    assert run.info.status == 'FINISHED'
    assert 'DSRLSegmentor' in next((tmp_path / 'files').glob('*/artifacts/config.py')).read_text()
    assert not (tmp_path / 'mlruns').exists()
