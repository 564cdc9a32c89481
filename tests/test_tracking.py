"""TensorBoard reads back what a training logged through MMEngine's backend."""

import pytest
import toy_data
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dsrl_mm import cli


def test_tensorboard(tmp_path):
    backends = [dict(type=f'{name}VisBackend') for name in ('Local', 'Tensorboard')]
    config = toy_data.write_config(
        tmp_path,
        toy_data.write_camvid(tmp_path / 'camvid', train=4, val=1),
        visualizer=dict(vis_backends=backends),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2),
    )
    toy_data.call(cli.train, config, '--work-dir', tmp_path / 'work')
    (events,) = (tmp_path / 'work').rglob('events.out.tfevents.*')
    tracked = EventAccumulator(str(events)).Reload()
    (metrics,) = [entry for entry in toy_data.logged(tmp_path / 'work') if 'mIoU' in entry]
    losses = [entry for entry in toy_data.logged(tmp_path / 'work') if 'loss' in entry]
    assert [entry['step'] for entry in losses] == [1, 2]
    for name in ('loss', 'decode.loss_ce', 'sr.loss_sisr', 'sr.loss_fa', 'lr'):
        expected = [(entry['step'], pytest.approx(entry[name])) for entry in losses]
        assert [(event.step, event.value) for event in tracked.Scalars(name)] == expected
    (event,) = tracked.Scalars('mIoU')
    assert (event.step, event.value) == (metrics['step'], pytest.approx(metrics['mIoU']))
