"""Tables and pictures: their numbers by hand, and that what is committed is what the command writes."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from projects.experiments import tables
from projects.experiments.config import ROOT
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


def test_what_shows_costs_waits_for_them(write):
    assert write(show=['cost', 'sizes']).keys() == {'toy.md'}


def test_numbers_by_hand(write):
    texts = write(show=['seeds', 'classes', 'curves'])
    assert cells(texts['toy.md']) == [
        ['', 'mIoU', 'gain', 'mBF', 'mBF gain', 'PSNR (dB)', 'SSIM', 'seeds', 'hours', 'GiB'],
        # The deviation is of the sample: 2 sqrt(2).
        ['baseline', '52.00 ± 2.83', '', '26.00 ± 1.41', '', '', '', '2', '0.50', '1.00'],
        ['DSRL', '55.00', '+1.00', '27.50', '+0.50', '20.50', '0.50', '1', '0.50', '1.00'],
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


def test_costs_and_sizes(write, tmp_path):
    costs = dict(
        baseline=dict(input='20x40', parameters=1_500_000, flops=2_000_000_000, milliseconds=10.26),
        dsrl=dict(input='10x20', parameters=1_250_000, flops=500_000_000, milliseconds=5.0),
    )
    write_costs(tmp_path / 'records', 'toy', dict(rows=costs))
    rows = dict(baseline=dict(id='baseline', config=''), DSRL=dict(id='dsrl', config='', series='ours'))
    texts = write(seeds=[1], rows=rows, show=['cost', 'sizes'])
    assert cells(texts['toy_cost.md']) == [
        ['', 'input size', 'parameters (M)', 'GFLOPs', 'latency (ms)'],
        ['baseline', '20x40', '1.50', '2.00', '10.3'],
        ['DSRL', '10x20', '1.25', '0.50', '5.0'],
    ]
    assert texts['toy_sizes.png'] == ',mIoU,mBF,series,input,pixels\nDSRL,55.00,27.50,ours,10x20,200\n'
    assert len(Image.open(tmp_path / 'out/toy_sizes.png').convert('L').getcolors()) > 10
    assert {*texts} == {'toy.md', 'toy_cost.md', 'toy_sizes.png'}


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
