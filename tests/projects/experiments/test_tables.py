"""Tables and pictures: their numbers by hand, and that what is committed is what the command writes."""

import shutil
from math import sqrt
from pathlib import Path

import pytest
from PIL import Image

from projects.experiments import tables
from projects.experiments.config import ROOT
from projects.experiments.grid import load_grid
from projects.experiments.records import write_costs
from projects.experiments.tables import main

from .grids import write_grid, write_run


def cells(table: str) -> list[list[str]]:
    head, _, *lines = table.splitlines()
    return [[cell.strip() for cell in line.split('|')[1:-1]] for line in (head, *lines)]


def written(folder: Path) -> dict[str, str]:
    """Tables, and the data of pictures, by name."""
    tables = {file.name: file.read_text() for file in folder.glob('*.md')}
    return tables | {file.name: Image.open(file).text['Description'] for file in folder.glob('*.png')}


@pytest.fixture
def write(tmp_path):
    """A function that writes what a grid shows; two seeds of the baseline have records, one of DSRL, and another."""
    for seed, miou in ((0, 50.0), (1, 54.0), (5, 0.0)):
        write_run(tmp_path / 'records', 'baseline', seed, miou)
    write_run(tmp_path / 'records', 'dsrl', 1, 55.0, **{'sr/PSNR': 20.5, 'sr/SSIM': 0.5, 'IoU.pole': 40.0})

    def write(**keys) -> dict[str, str]:
        main([str(write_grid(tmp_path, **keys)), '--records', f'{tmp_path}/records', '--out', f'{tmp_path}/out'])
        return written(tmp_path / 'out')

    return write


def test_what_shows_costs_waits_for_them(write, tmp_path):
    assert write(show=['cost']).keys() == {'toy.md'}
    (tmp_path / 'out/toy.md').unlink()
    assert write(show=['latency']) == {}


def test_numbers_by_hand(write):
    texts = write(show=['seeds', 'classes', 'curves'])
    assert cells(texts['toy.md']) == [
        ['', 'mIoU', 'mIoU gain', 'mBF', 'mBF gain', 'PSNR (dB)', 'SSIM', 'seeds', 'hours', 'GiB'],
        # The deviation is of the sample: 2 sqrt(2).
        ['baseline', '52.00 ± 2.83', '', '26.00 ± 1.41', '', '', '', '2', '0.50', '1.00'],
        # 3 ± 12.706 sqrt(8 (1 + 1/2)): Student's quantile for one degree of freedom. mBF is half as large.
        [
            'DSRL',
            '55.00',
            '+3.00 (-41.02 to +47.02)',
            '27.50',
            '+1.50 (-20.51 to +23.51)',
            '20.50',
            '0.50',
            '1',
            '0.50',
            '1.00',
        ],
    ]
    assert cells(texts['toy_seeds.md']) == [['', 'mIoU gain, by seed', 'mBF gain, by seed'], ['DSRL', '+1.00', '+0.50']]
    iou, bf = texts['toy_classes.md'].split('\n\n')
    assert cells(iou) == [['', 'IoU road', 'IoU pole'], ['baseline', '52.00', '52.00'], ['DSRL', '55.00', '40.00']]
    assert cells(bf) == [['', 'BF road'], ['baseline', '26.00'], ['DSRL', '27.50']]
    assert texts['toy_classes.png'].splitlines() == [
        ',IoU.road,BF.road,IoU.pole',
        'baseline,52.00,26.00,52.00',
        'DSRL,1.00,0.50,-14.00',
    ]
    assert texts['toy_curves.png'].splitlines()[1:] == [
        '0,baseline,0,2,50.00',
        '1,baseline,1,2,54.00',
        '2,DSRL,1,2,55.00',
    ]


def test_deviations_of_all_rows_are_pooled(tmp_path):
    scores = dict(
        a=(50.0, 52.0), b=(56.0, 56.0, 62.0), c=(60.0,)
    )  # variances 2 and 12, with 1 and 2 degrees of freedom
    for row, values in scores.items():
        for seed, miou in enumerate(values):
            write_run(tmp_path, row, seed, miou)
    grid = load_grid(write_grid(tmp_path, rows={row: dict(id=row, config='') for row in scores}, seeds=[0, 1, 2]))
    half = {'b': 3.18245 * sqrt(26 / 3 * (1 / 2 + 1 / 3)), 'c': 3.18245 * sqrt(26 / 3 * (1 / 2 + 1))}
    means = dict(b=7.0, c=9.0)
    expected = {row: f'{x:+.2f} ({x - half[row]:+.2f} to {x + half[row]:+.2f})' for row, x in means.items()}
    assert tables.Results(grid, tmp_path).gain('mIoU').to_dict() == expected


def test_costs_and_latency(write, tmp_path):
    costs = dict(
        baseline=dict(input='20x40', parameters=1_500_000, flops=2_000_000_000, memory=2**20, milliseconds=10.26),
        dsrl=dict(input='10x20', parameters=1_250_000, flops=500_000_000, memory=2**19, milliseconds=5.0),
    )
    write_costs(tmp_path / 'records', 'toy', dict(rows=costs))
    rows = dict(baseline=dict(id='baseline', config=''), DSRL=dict(id='dsrl', config='', series='ours'))
    rows['not measured'] = dict(id='new', config='')
    texts = write(seeds=[1], rows=rows, show=['cost', 'latency'])
    assert cells(texts['toy_cost.md']) == [
        ['', 'input size', 'parameters (M)', 'GFLOPs', 'memory (MiB)', 'latency (ms)'],
        ['baseline', '20x40', '1.50', '2.00', '1.00', '10.3'],
        ['DSRL', '10x20', '1.25', '0.50', '0.50', '5.0'],
    ]
    assert cells(texts['toy_latency.md']) == [
        ['', 'input size', 'latency (ms)', 'mIoU', 'mBF', 'seeds'],
        ['baseline', '20x40', '10.3', '54.00', '27.00', '1'],
        ['DSRL', '10x20', '5.0', '55.00', '27.50', '1'],
    ]
    assert texts['toy_latency.png'] == ',mIoU,mBF,series,input,milliseconds\nDSRL,55.00,27.50,ours,10x20,5.00\n'
    assert len(Image.open(tmp_path / 'out/toy_latency.png').convert('L').getcolors()) > 10
    assert {*texts} == {'toy_cost.md', 'toy_latency.md', 'toy_latency.png'}


def test_tables_of_what_there_is(write):
    assert write(rows=dict(c=dict(id='c', config='none.py'))) == {}
    rows = dict(c=dict(id='c', config='none.py'), d=dict(id='dsrl', config='none.py'))
    assert cells(write(rows=rows)['toy.md'])[1:] == [
        ['d', '55.00', '', '27.50', '', '20.50', '0.50', '1', '0.50', '1.00']
    ]


def test_what_is_committed_is_what_the_command_writes(monkeypatch, tmp_path):
    shutil.copy(ROOT / 'README.md', tmp_path)
    monkeypatch.setattr(tables, 'ROOT', tmp_path)
    main([])
    committed = written(ROOT / 'docs/_generated')
    del committed['demo.md']
    assert written(tmp_path / 'docs/_generated') == committed, 'type: make tables'
    document = (ROOT / 'README.md').read_text()
    assert (tmp_path / 'README.md').read_text() == document and '± ' in document.split('camvid table -->')[1]
