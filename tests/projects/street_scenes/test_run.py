"""The demo on a few scenes, with too few iterations to learn anything."""

import re

import pytest

from projects.street_scenes import run


def test_demo_reports_progress_prints_a_table_and_draws_a_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, 'SPLITS', dict(train=8, val=2))
    monkeypatch.setattr(run, 'REPORT_INTERVAL', 1)
    run.main(['--out', str(tmp_path), '--iters', '2'])
    printed = capsys.readouterr().out
    # Whole lines, in an output that is no terminal.
    assert 'Training: baseline starting; DSRL starting\n' in printed
    assert re.search(r'^Training: baseline [12]/2, [0-9:]+ left; DSRL [12]/2, [0-9:]+ left$', printed, re.MULTILINE)
    table = (tmp_path / 'comparison.md').read_text()
    assert table in printed
    rows = {line.split('|')[1].strip(): line.split('|')[2:4] for line in table.splitlines()}
    for column in (0, 1):
        *thin, average = (
            float(rows[f'IoU of {name}'][column]) for name in ('poles', 'signs', 'riders', 'thin classes, mean')
        )
        assert average == pytest.approx(sum(thin) / 3, abs=0.01)
    assert float(rows['PSNR (dB)'][1]) > 0
    assert (tmp_path / 'comparison.png').stat().st_size > 10_000


def test_failed_training_stops_the_other_and_shows_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(run, 'CONFIGS', run.CONFIGS | {'baseline': tmp_path / 'missing.py'})
    with pytest.raises(RuntimeError, match=r'(?s)Training baseline failed.*missing\.py'):
        run.train(tmp_path, 6, seed=0)
