"""Records and logs: nothing is lost, and records are found by their ids whatever becomes of the configs."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from projects.experiments import config, main
from projects.experiments.config import ROOT, compose, differences
from projects.experiments.grid import GRIDS, load_grid
from projects.experiments.records import FOLDER, append, course, read_log, read_records

from .grids import write_run


def test_many_writers_lose_nothing(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        [*pool.map(lambda seed: write_run(tmp_path, f'id{seed % 3}', seed, float(seed), 'x' * 10_000), range(24))]
    records = read_records(tmp_path)
    assert {key: run['metrics']['mIoU'] for key, run in records.items()} == {(f'id{i % 3}', i): i for i in range(24)}


def test_a_damaged_line_is_named_and_kept(tmp_path):
    file = tmp_path / 'toy.jsonl'
    for seed in (0, 1):
        write_run(tmp_path, 'a', seed, 50.0)
    file.write_text(damaged := file.read_text()[:-40])
    with pytest.raises(ValueError, match=rf'{file}, line 2 is damaged: .*Restore it, or remove it'):
        read_records(tmp_path)
    assert file.read_text() == damaged


def test_logs_of_several_sessions(tmp_path):
    def write(session: str, *entries: dict, rest: str = '') -> None:
        file = tmp_path / session / 'vis_data/scalars.json'
        file.parent.mkdir(parents=True)
        file.write_text(''.join(json.dumps(entry) + '\n' for entry in entries) + rest)

    assert read_log(tmp_path).index[-1] == 0
    trained = [
        dict(loss=step / 10, **{'sr.loss_fa': 0.5}, time=step / 100, data_time=0.1, step=step) for step in (10, 20, 30)
    ]
    for session, time in (('20260103', 0.2), ('20260101', 9.0), ('20260102', 8.0)):  # in no order
        write(session, dict(loss=35 * time, time=time, step=30), dict(mIoU=45.0, step=30), rest='{"loss": 1.0, "st')
    write('20260100', *trained, dict(mIoU=40.0, step=30))
    log = read_log(tmp_path)
    assert log.index[-1] == 30 and log.loc[30, 'loss'] == 7.0 and log.memory.isna().all()
    told = course(log, points=2)
    assert told['curve'] == [(30, 45.0)]
    assert told['losses'] == {'iteration': [10, 30], 'loss': [1.0, 7.0], 'sr.loss_fa': [0.5, 0.5]}
    assert told['train_seconds'] == pytest.approx(30 * 0.2)
    append(tmp_path / 'x.jsonl', told)  # JSON can hold it
    write('20260104', dict(loss=0.7, time=0.2, step=20))  # resumed from iteration 10
    assert read_log(tmp_path).loss.to_dict() == {10: 1.0, 20: 0.7}
    assert course(read_log(tmp_path / 'short'))['losses'] == {'iteration': [], 'loss': []}  # nothing was logged


COMMITTED = read_records(FOLDER)


def test_committed_records_are_complete_and_portable():
    assert len(COMMITTED) >= 76
    for run in COMMITTED.values():
        assert {'metrics', 'curve', 'losses', 'train_seconds', 'sessions'} <= run.keys()
        assert 0 < run['metrics']['mIoU'] < 100 and len(run['sessions'][0]['commit'].rstrip('+')) == 40
        assert re.search(r"'data_root': '\{\{\$(CAMVID|CWFID)_ROOT:data/", run['config'])
        assert differences(run['config'], run['config']) == []  # it can be read


@pytest.fixture
def committed(tmp_path, monkeypatch):
    """A function that runs a committed grid on a copy of records and configs, and gives what is printed."""
    for name in ('configs', 'projects'):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.setattr(config, 'ROOT', tmp_path)
    monkeypatch.setattr(main, '_prepare', lambda *_: pytest.fail('a run does not count as done'))

    def run(capsys, grid: str) -> str:
        out = tmp_path / 'projects/experiments/records'
        main.main([str(tmp_path / f'projects/experiments/grids/{grid}.yml'), '--seeds', '0', '--out', str(out)])
        assert read_records(out) == COMMITTED
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize('grid', ['camvid_dabnet', 'camvid_efficientnet_lite0_sizes'])  # has rows of another's file
def test_a_renamed_knob_leaves_every_committed_record_valid(committed, tmp_path, capsys, monkeypatch, grid):
    # The type is in every config, the knob in some.
    renamed = (("'type': 'DSRLSegmentor'", "'kind': 'DSRLSegmentor'"), ("'scale_factor'", "'factor'"))

    def compose_renamed(*args) -> str:
        text = compose(*args)
        for old, new in renamed:
            text = text.replace(old, new)
        return text

    monkeypatch.setattr(main, 'compose', compose_renamed)
    printed = committed(capsys, grid)
    for row in load_grid(GRIDS / f'{grid}.yml').rows:
        note = printed.split(f'Note: {row.id} was trained with another config than its row has today:')[1]
        assert "\n  model.kind: absent, today 'DSRLSegmentor'\n" in note
    assert load_grid(GRIDS / f'{grid}.yml').rows[0].title in printed.rpartition('GiB')[2]  # the table


def test_a_moved_config_leaves_every_committed_record_valid(committed, tmp_path, capsys):
    (tmp_path / 'configs/dsrl').rename(tmp_path / 'configs/moved')
    assert committed(capsys, 'camvid_dabnet').count('today there is none') == 9
