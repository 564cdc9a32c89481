"""The demo on a few scenes, with too few iterations to learn anything."""

import re
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from functools import partial
from types import SimpleNamespace

import pytest
from toy_data import call

from dsrl_mm import cli
from dsrl_mm.apis import compare
from projects.street_scenes import run


class InThisProcess:
    """Stands in for the process of a training, which takes place when it is asked for the second time."""

    def __init__(self, command, stdout, **_):
        python, tool, *self.arguments = command
        assert (python, tool) == (sys.executable, run.ROOT / 'tools/train.py')
        self.log, self.asked = stdout.name, False

    def poll(self):
        if not self.asked:
            self.asked = True
            return None
        if self.arguments:
            with open(self.log, 'a') as log, redirect_stdout(log):
                call(cli.train, *self.arguments)
            self.arguments = None
        return 0

    def kill(self):
        pass


def test_demo_reports_progress_prints_a_table_and_draws_a_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, 'subprocess', SimpleNamespace(Popen=InThisProcess, STDOUT=subprocess.STDOUT))
    monkeypatch.setattr(compare, 'latencies', partial(compare.latencies, repeats=1))
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


#: Stands in for the tool: trains forever, if there is a config.
TRAIN = """
import sys, time
from pathlib import Path
config, work_dir = Path(sys.argv[1]), Path(sys.argv[3])
if not config.exists():
    sys.exit(f'no {config}')
time.sleep(600)
(work_dir / 'iter_6.pth').touch()
"""


def test_failed_training_stops_the_other_and_shows_its_log(tmp_path, monkeypatch):
    started, popen = [], subprocess.Popen
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools/train.py').write_text(TRAIN)
    monkeypatch.setattr(run, 'ROOT', tmp_path)
    monkeypatch.setattr(run, 'CONFIGS', run.CONFIGS | {'baseline': tmp_path / 'missing.py'})
    monkeypatch.setattr(run.subprocess, 'Popen', lambda *args, **kw: started.append(popen(*args, **kw)) or started[-1])
    with pytest.raises(RuntimeError, match=r'(?s)Training baseline failed.*missing\.py'):
        run.train(tmp_path, 6, seed=0)
    assert [process.wait(60) for process in started] == [1, -signal.SIGKILL]
