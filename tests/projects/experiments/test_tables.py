"""Tables and pictures: their numbers by hand, and that what is committed is what the command writes."""

import pytest
from PIL import Image

from projects.experiments.config import ROOT
from projects.experiments.grid import GRIDS, load_grid
from projects.experiments.records import FOLDER, changing
from projects.experiments.tables import generate, main, readme

from .grids import make_grid, write_grid, write_run


def cells(table: str) -> list[list[str]]:
    head, _, *lines = table.splitlines()
    return [[cell.strip() for cell in line.split('|')[1:-1]] for line in (head, *lines)]


@pytest.fixture
def records(tmp_path):
    """Two seeds of the baseline, of which DSRL has one; and one that the grid has not."""
    for seed, miou in ((0, 50.0), (1, 54.0), (5, 0.0)):
        write_run(tmp_path / 'records', 'baseline', seed, miou)
    write_run(tmp_path / 'records', 'dsrl', 1, 55.0, **{'sr/PSNR': 20.5, 'sr/SSIM': 0.5, 'IoU.pole': 40.0})
    return tmp_path / 'records'


def test_numbers_by_hand(tmp_path, records):
    texts = generate(make_grid(tmp_path, show=['seeds', 'classes', 'curves']), records)
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
        '3,DSRL,1,2,55.00',
    ]


def test_costs_and_sizes(tmp_path, records):
    grid = write_grid(tmp_path, seeds=[1], show=['cost', 'sizes'])
    grid.write_text(grid.read_text().replace('id: dsrl', 'id: dsrl\n    series: ours'))
    rows = dict(
        baseline=dict(input='20x40', parameters=1_500_000, flops=2_000_000_000, milliseconds=10.26),
        dsrl=dict(input='10x20', parameters=1_250_000, flops=500_000_000, milliseconds=5.0),
    )
    with changing(records, 'toy') as content:
        content['cost'] = dict(rows=rows)
    main([str(grid), '--records', str(records), '--out', str(tmp_path / 'out')])
    assert cells((tmp_path / 'out/toy_cost.md').read_text()) == [
        ['', 'input size', 'parameters (M)', 'GFLOPs', 'latency (ms)'],
        ['baseline', '20x40', '1.50', '2.00', '10.3'],
        ['DSRL', '10x20', '1.25', '0.50', '5.0'],
    ]
    picture = Image.open(tmp_path / 'out/toy_sizes.png')
    assert picture.text['Description'] == ',mIoU,mBF,series,input,pixels\nDSRL,55.00,27.50,ours,10x20,200\n'
    assert picture.size == (1080, 480) and len({*picture.convert('L').getdata()}) > 10
    assert {file.name for file in (tmp_path / 'out').iterdir()} == {'toy.md', 'toy_cost.md', 'toy_sizes.png'}


def test_tables_of_what_there_is(tmp_path, records):
    assert generate(make_grid(tmp_path, rows=dict(c=dict(id='c', config='none.py'))), records) == {}
    grid = make_grid(tmp_path, seeds=[2], rows=dict(c=dict(id='c', config='none.py'), d=dict(id='d', config='none.py')))
    write_run(records, 'd', 2, 50.0)
    assert cells(generate(grid, records)['toy.md'])[1:] == [['d', '50.00', '', '25.00', '', '1', '0.50', '1.00']]


def test_what_is_committed_is_what_the_command_writes():
    grids = {file.stem: load_grid(file) for file in GRIDS.glob('*.yml')}
    expected = {name: text for grid in grids.values() for name, text in generate(grid, FOLDER).items()}
    found = {}
    for file in (ROOT / 'docs/_generated').glob('camvid_*'):
        found[file.name] = file.read_text() if file.suffix == '.md' else Image.open(file).text['Description']
    assert found == expected, 'type: make tables'
    document = (ROOT / 'README.md').read_text()
    assert readme(grids, FOLDER, document) == document, 'type: make tables'
    assert document.count(' camvid table -->') == 2
