"""What the page says of models."""

from pathlib import Path

import mmengine
import pytest

from dsrl_mm.apis import Trained
from dsrl_mm.engine.config import read_config
from projects.web import models

ROOT = Path(__file__).parents[3]


def test_every_weights_of_a_segmentor_are_shown():
    index = [model for file in ROOT.glob('configs/*/metafile.yml') for model in mmengine.load(file)['Models']]
    shipped = {model['Weights']: model for model in index if 'Weights' in model}
    shown = {str(Path(shown.trained.checkpoint).relative_to(ROOT)): shown for shown in models.model_zoo()}
    segmentors = {
        name for name, model in shipped.items() if read_config(ROOT / model['Config']).default_scope == 'mmseg'
    }
    assert shown.keys() == segmentors
    for name, model in shown.items():
        assert model.facts['miou'] == shipped[name]['Results'][0]['Metrics']['mIoU']


def test_the_first_of_the_model_zoo():
    first = models.model_zoo()[0]
    assert (first.network, first.name) == ('DABNet', 'baseline')
    assert first.facts == dict(seed=0, miou=62.84, license='research only')


@pytest.mark.parametrize(
    'config, options, role',
    [
        ('dsrl/dabnet_camvid_baseline.py', {}, 'baseline'),
        ('dsrl/dabnet_camvid_early.py', {}, 'DSRL'),
        ('dsrl/dabnet_camvid_baseline.py', {'model.scale_factor': 1}, 'full size'),
        ('isdnet/isdnet_r18_narrow_camvid.py', {}, '+ ISD'),
    ],
)
def test_roles(config, options, role):
    assert models._role(Trained(read_config(ROOT / 'configs' / config, options), 'none.pth')) == role


def test_models_are_grouped_by_what_they_share_and_ordered_by_role(monkeypatch, tmp_path):
    made = {
        'a': (dict(network='N', canvas=[4, 6]), dict(name='a', role='full size')),
        'b': (dict(network='N', canvas=[4, 6]), dict(name='b', role='baseline')),
        'b+': (dict(network='N', canvas=[8, 8]), dict(name='b+', role='DSRL')),
    }
    files = []
    monkeypatch.setattr(models, '_export', lambda shown, file: files.append(file) or made[shown.name])
    groups = models.export([models.Shown('N', name, None) for name in made], tmp_path)
    assert files == [tmp_path / f'{number}.onnx' for number in range(3)]  # names would be equal without their signs
    assert [[model['name'] for model in group['models']] for group in groups] == [['b', 'a'], ['b+']]
    assert [group['canvas'] for group in groups] == [[4, 6], [8, 8]]
