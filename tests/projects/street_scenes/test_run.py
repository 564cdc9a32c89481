"""The demo from end to end, on a handful of scenes and with too few iterations to learn anything."""

from functools import partial

import pytest

from projects.street_scenes import run


def test_demo_prints_a_table_and_draws_a_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, 'write_scenes', partial(run.write_scenes, splits=dict(train=10, val=2)))
    run.main(['--out', str(tmp_path / 'out'), '--iters', '6'])
    printed = capsys.readouterr().out
    for row in ('mIoU', 'thin classes', 'IoU.pole', 'IoU.sign', 'IoU.rider', 'GFLOPs', 'latency (ms)', 'sr/PSNR'):
        assert f'| {row} ' in printed
    assert (tmp_path / 'out/comparison.png').stat().st_size > 10_000


def test_failed_training_stops_the_other_and_shows_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(run, 'CONFIGS', run.CONFIGS | {'baseline': tmp_path / 'missing.py'})
    with pytest.raises(RuntimeError, match=r'(?s)Training baseline failed.*missing\.py'):
        run._train_all({name: tmp_path / name for name in run.CONFIGS}, 6)
