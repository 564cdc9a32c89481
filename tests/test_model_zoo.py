"""The weights that are shipped, and what ``docs/model_zoo.md`` says of them."""

import re
from pathlib import Path

import pytest
import yaml
from toy_data import call

from dsrl_mm import cli

ROOT = Path(__file__).parents[1]
INDEXES = [yaml.safe_load(file.read_text()) for file in sorted(ROOT.glob('configs/*/metafile.yml'))]
SHIPPED = {model['Name']: model for index in INDEXES for model in index['Models'] if 'Weights' in model}

#: Options with which nothing but the test's own process loads images.
ONE_PROCESS = {'test_dataloader.num_workers': 0, 'test_dataloader.persistent_workers': False}


def miou(name: str) -> float:
    (result,) = SHIPPED[name]['Results']
    return result['Metrics']['mIoU']


def test_every_file_is_some_models():
    assert {ROOT / model['Weights'] for model in SHIPPED.values()} == set((ROOT / 'weights').glob('*.pth'))
    assert len({model['Weights'] for model in SHIPPED.values()}) == len(SHIPPED) >= 2
    assert sum(file.stat().st_size for file in (ROOT / 'weights').iterdir()) < 40 * 2**20


@pytest.mark.parametrize('name', SHIPPED)
def test_files_are_small_and_have_a_row(name):
    weights = SHIPPED[name]['Weights']
    assert (ROOT / weights).stat().st_size < 9 * 2**20
    (row,) = re.findall(rf'^\|.*\(\.\./{re.escape(weights)}\).*\|$', (ROOT / 'docs' / 'model_zoo.md').read_text(), re.M)
    assert f'(../{SHIPPED[name]["Config"]})' in row
    cells, described = [cell.strip() for cell in row.split('|')[1:]], SHIPPED[name]['Metadata']
    assert cells[:2] == [f'`{name}`', described['Title']] and cells[3:5] == [
        str(described['Seed']),
        f'{miou(name):.2f}',
    ]


@pytest.mark.needs('CAMVID_ROOT')
@pytest.mark.parametrize('name', SHIPPED)
def test_the_tool_gives_what_the_row_says(name, tmp_path):
    if 'efficientnet' in name:
        pytest.importorskip('timm')
    model = SHIPPED[name]
    options = dict(model['Metadata'].get('Options', {}), **ONE_PROCESS)
    options['check_data'] = name == next(iter(SHIPPED))  # once is enough
    argv = [str(ROOT / model['Config']), str(ROOT / model['Weights']), '--work-dir', str(tmp_path), '--cfg-options']
    metrics = call(cli.test, *argv, *(f'{key}={value}' for key, value in options.items()))
    # Both are rounded to 0.01.
    assert metrics['mIoU'] == pytest.approx(miou(name), abs=0.0101)
