"""The command that draws the papers' pictures."""

import json

import cv2
import pytest
import torch
import toy_data
from mmengine.config import Config
from toy import build, head_cfg, model_cfg

from tools.figures import main

SCORES = {name: {'mIoU': 50.0, 'IoU.a': 40.0, 'IoU.b': 60.0} for name in ('baseline', 'DSRL')}


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """The option that names a model."""
    folder = tmp_path_factory.mktemp('figures')
    network = model_cfg(head=head_cfg('FCNHead', num_classes=toy_data.NUM_CLASSES))
    config = toy_data.write_config(folder, toy_data.write_camvid(folder / 'data', 1, 4), model=network)
    torch.save(build(Config.fromfile(config).model).state_dict(), folder / 'a.pth')
    return ['--model', 'DSRL', str(config), str(folder / 'a.pth')]


@pytest.mark.parametrize(('kind', 'rows', 'columns'), [('masks', 3, 3), ('rebuilt', 3, 4), ('features', 3, 3)])
def test_three_samples_by_default(model, tmp_path, capsys, kind, rows, columns):
    out = tmp_path / 'new' / 'a.png'
    main([kind, str(out), *model, '--dpi', '50'])
    height, width, _ = cv2.imread(str(out)).shape
    assert width == pytest.approx(columns * 2.2 * 50, rel=0.1)
    assert height > rows * 1.6 * 50
    assert capsys.readouterr().out.endswith(f'Written to {out}\n')


def test_samples_and_a_detail(model, tmp_path):
    heights = []
    for options in ([], ['--detail', '0', '0', '32', '24']):
        main(['masks', str(tmp_path / 'a.png'), *model, '--samples', '3', *options])
        heights.append(cv2.imread(str(tmp_path / 'a.png')).shape[0])
    assert heights[1] > 1.6 * heights[0]
    with pytest.raises(ValueError, match='there is no 9'):
        main(['masks', str(tmp_path / 'a.png'), *model, '--samples', '9'])


def test_classes_of_a_comparison(tmp_path):
    (tmp_path / 'comparison.json').write_text(json.dumps(SCORES))
    main(['classes', str(tmp_path / 'a.pdf'), '--scores', str(tmp_path / 'comparison.json')])
    assert (tmp_path / 'a.pdf').read_bytes().startswith(b'%PDF')


def test_classes_are_tested(model, tmp_path):
    """Whatever metric the config has."""
    main(['classes', str(tmp_path / 'a.png'), *model, '--cfg-options', 'test_evaluator.type=IoUMetric'])
    assert cv2.imread(str(tmp_path / 'a.png')) is not None


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['classes', 'a.png'], 'name models by --model, or their scores by --scores'),
        (['masks', 'a.png'], 'required: --model'),
        (['figure9', 'a.png'], 'invalid choice'),
    ],
)
def test_what_is_missing(options, message, capsys):
    with pytest.raises(SystemExit):
        main(options)
    assert message in capsys.readouterr().err
