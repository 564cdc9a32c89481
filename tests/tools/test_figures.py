"""The command that draws the papers' pictures."""

import json

import cv2
import numpy as np
import pytest
import toy_data
from toy import head_cfg, model_cfg

from tools.figures import main

SCORES = {name: {'mIoU': 50.0, 'IoU.a': 40.0, 'IoU.b': 60.0} for name in ('baseline', 'DSRL')}


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """The option that names a model."""
    folder = tmp_path_factory.mktemp('figures')
    network = model_cfg(head=head_cfg('FCNHead', num_classes=toy_data.NUM_CLASSES))
    files = toy_data.write_trained(folder, toy_data.write_camvid(folder / 'data', 1, 5), model=network)
    return ['--model', 'DSRL', *map(str, files)]


def test_three_evenly_spaced_samples_by_default(model, tmp_path, capsys):
    out, drawn = tmp_path / 'new' / 'a.png', {}
    for kind in ('masks', 'rebuilt', 'features'):
        pictures = []
        for samples in ([], ['--samples', '0', '2', '4']):
            main([kind, str(out), *model, '--dpi', '30', *samples])
            pictures.append(cv2.imread(str(out)))
        assert np.array_equal(*pictures)
        drawn[kind] = pictures[0]
    assert capsys.readouterr().out.endswith(f'Written to {out}\n')
    assert drawn['rebuilt'].shape[1] > drawn['masks'].shape[1]  # four columns and three
    assert not np.array_equal(drawn['masks'], drawn['features'])


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
