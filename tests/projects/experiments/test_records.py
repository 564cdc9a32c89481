"""Records: always whole, found by their ids whatever becomes of the configs."""

import json
import math
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from mmengine.config import Config

from projects.experiments import config, main
from projects.experiments.config import ROOT, compose, differences, read_text
from projects.experiments.grid import GRIDS, load_grid
from projects.experiments.records import FOLDER, add_run, changing, read_costs, read_records, write_json

from .grids import read, write_run


def test_a_run_is_found_by_id_and_seed(tmp_path):
    add_run(tmp_path, 'one', 'a', 10, 'x = 1\ny = 2\n', dict(mIoU=1.0))
    add_run(tmp_path, 'one', 'a', 9, 'x = 1\ny = 2\n', dict(mIoU=2.0))
    add_run(tmp_path, 'two', 'a', 0, 'x = 3\n', dict(mIoU=3.0))  # another grid's row, after a knob was renamed
    add_run(tmp_path, 'two', 'b', 0, 'x = 3\n', dict(mIoU=4.0))
    runs = {'0': dict(mIoU=3.0, config=['x = 3']), '9': dict(mIoU=2.0), '10': dict(mIoU=1.0)}
    assert read_records(tmp_path) == {
        'a': dict(config=['x = 1', 'y = 2'], runs=runs),
        'b': dict(config=['x = 3'], runs={'0': dict(mIoU=4.0)}),
    }
    assert [*read(tmp_path / 'one.json')['records']['a']['runs']] == ['0', '9', '10']
    assert [*read(tmp_path / 'two.json')['records']] == ['b']
    assert read_costs(tmp_path, 'one') == read_costs(tmp_path, 'none') == dict(rows={})


def test_a_line_per_entry_and_five_digits(tmp_path):
    write_json(tmp_path / 'x.json', {'a': {'b': 0.123456, 'c': [1, 2]}, 'd': math.nan, 'e': -math.inf, 'f': 123456})
    lines = [
        '{',
        '"a": {',
        '"b": 0.12346,',
        '"c": [',
        '1,',
        '2',
        ']',
        '},',
        '"d": null,',
        '"e": null,',
        '"f": 123456',
        '}',
    ]
    assert (tmp_path / 'x.json').read_text().splitlines() == lines
    add_run(tmp_path / 'records', 'y', 'a', 0, 'x = 1', dict(curve=[[1, 2.0], [3, 4.0]]))
    assert '"curve": [[1, 2.0], [3, 4.0]]\n' in (tmp_path / 'records/y.json').read_text()


def test_a_damaged_file_is_named_and_kept(tmp_path):
    write_run(tmp_path, 'a', 0, 50.0)
    file = tmp_path / 'toy.json'
    file.write_text(damaged := file.read_text()[:40])
    for attempt in (lambda: read_records(tmp_path), lambda: write_run(tmp_path, 'a', 1, 50.0)):
        with pytest.raises(ValueError, match=rf'{file} is damaged.*Restore it'):
            attempt()
    assert file.read_text() == damaged


def test_a_failure_while_writing_leaves_the_file_as_it_was(tmp_path):
    write_run(tmp_path, 'a', 0, 50.0)
    before = (tmp_path / 'toy.json').read_text()
    with pytest.raises(TypeError), changing(tmp_path, 'toy') as content:
        content['records']['b'] = object()
    assert (tmp_path / 'toy.json').read_text() == before
    assert [*tmp_path.iterdir()] == [tmp_path / 'toy.json']


def test_many_writers_lose_nothing(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        [*pool.map(lambda seed: write_run(tmp_path, f'id{seed % 3}', seed, 50.0), range(24))]
    records = read_records(tmp_path)
    assert sorted(int(seed) for record in records.values() for seed in record['runs']) == [*range(24)]


COMMITTED = {file.name: json.loads(file.read_text()) for file in sorted(FOLDER.glob('*.json'))}


def test_committed_records_are_complete_and_portable():
    runs = [
        run
        for content in COMMITTED.values()
        for record in content['records'].values()
        for run in record['runs'].values()
    ]
    assert len(runs) >= 73
    for run in runs:
        assert {'metrics', 'curve', 'losses', 'train_seconds', 'sessions'} <= run.keys()
        assert 0 < run['metrics']['mIoU'] < 100 and len(run['sessions'][0]['commit'].rstrip('+')) == 40
    for name in COMMITTED:
        assert "'data_root': '{{$CAMVID_ROOT:data/camvid}}'" in (FOLDER / name).read_text()


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
        assert read_records(out) == read_records(FOLDER)
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize('grid', [name.removesuffix('.json') for name in COMMITTED])
def test_a_renamed_knob_leaves_every_committed_record_valid(committed, tmp_path, capsys, monkeypatch, grid):
    def compose_renamed(*args) -> Config:
        cfg = compose(*args)
        cfg.model['factor'] = cfg.model.pop('scale_factor', 2)
        cfg.model['kind'] = cfg.model.pop('type')
        return cfg

    monkeypatch.setattr(main, 'compose', compose_renamed)
    printed = committed(capsys, grid)
    for row in load_grid(GRIDS / f'{grid}.yml').rows:
        note = printed.split(f'Note: {row.id} was trained with another config than its row has today:')[1]
        assert "\n  model.kind: absent, today 'DSRLSegmentor'\n" in note
    assert load_grid(GRIDS / f'{grid}.yml').rows[0].title in printed.rpartition('GiB')[2]  # the table


def test_a_moved_config_leaves_every_committed_record_valid(committed, tmp_path, capsys):
    (tmp_path / 'configs/dsrl').rename(tmp_path / 'configs/moved')
    grid = tmp_path / 'projects/experiments/grids/camvid_dabnet.yml'
    assert committed(capsys, grid.stem).count('today there is none') == 9
    grid.write_text(
        grid.read_text().replace('configs/dsrl/dabnet_camvid_baseline.py', 'configs/moved/dabnet_camvid_baseline.py')
    )
    assert committed(capsys, grid.stem).count('today there is none') == 6


def test_the_texts_of_committed_records_can_be_read():
    for content in COMMITTED.values():
        for record in content['records'].values():
            cfg = read_text('\n'.join(record['config']))
            assert cfg.model.type == 'DSRLSegmentor' and differences(cfg, cfg) == []
