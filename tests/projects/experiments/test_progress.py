"""How far runs are, by what they logged."""

import json

import pytest

from projects.experiments.progress import Progress

from .grids import make_grid


@pytest.fixture
def runs(tmp_path):
    """Of 100 iterations: one at 100, one at 20, two not started; 2 s per iteration, and 3 of the second."""
    runs = make_grid(tmp_path).runs()
    for run, steps, time in ((runs[0], 100, 2.0), (runs[1], 20, 3.0)):
        folder = tmp_path / run.name / '20250101_000000' / 'vis_data'
        folder.mkdir(parents=True)
        entries = [dict(step=steps // 2, mIoU=12.345), dict(step=steps, time=time, loss=1.0)]
        (folder / 'scalars.json').write_text(''.join(json.dumps(entry) + '\n' for entry in entries))
    return runs


@pytest.fixture
def progress(runs, tmp_path):
    return Progress({run.name: tmp_path / run.name for run in runs}, {run.name: 100 for run in runs}, jobs=2, every=0)


def test_runs_and_all_together(progress, runs):
    assert progress.describe(runs[:3]) == [
        ('baseline-seed0', '100/100', 'mIoU 12.35', '2.00 s/it', 'testing'),
        ('dsrl-seed0', '20/100', 'mIoU 12.35', '3.00 s/it', '0:04:00 left'),
        ('baseline-seed1', '0/100', '', 'starting', ''),
        # (80 * 3 + 200 * 2.5) / 2 s
        ('1 of 4 trained', '', '', '', '0:06:10 left'),
    ]


def test_lines_without_a_terminal_now_and_then(progress, runs, capsys):
    with progress:
        progress(runs[:1])
        progress.every = 60
        progress(runs[:1])
    assert capsys.readouterr().out.count('baseline-seed0  100/100  mIoU 12.35  2.00 s/it  testing') == 1


def test_a_table_in_a_terminal(progress, runs, capsys, monkeypatch):
    monkeypatch.setattr(progress.console, '_force_terminal', True)
    with progress:
        progress(runs[:2])
    assert '0:04:00 left' in capsys.readouterr().out
