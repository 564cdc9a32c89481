"""The comparison of trained models: the same numbers as tools/test.py, what inference costs, and files."""

import json
from functools import partial
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
import toy
import toy_data
from mmengine.config import Config
from uhr.toy_isd import isd_cfg

from dsrl_mm import cli
from dsrl_mm.apis import compare as module
from dsrl_mm.apis.compare import Trained, compare_models, latencies, to_markdown
from dsrl_mm.apis.figures import Sampled, draw_comparison
from dsrl_mm.engine.complexity import measure_complexity


@pytest.fixture(scope='module')
def entries(tmp_path_factory):
    """A baseline and a DSRL model of random weights, by name, and their files."""
    folder = tmp_path_factory.mktemp('compare')
    data = toy_data.write_camvid(folder / 'data')
    head = toy.head_cfg('FCNHead', num_classes=toy_data.NUM_CLASSES)
    return {
        name: toy_data.write_trained(folder / name, data, model=toy.model_cfg(dsrl=name == 'DSRL', head=head))
        for name in ('baseline', 'DSRL')
    }


@pytest.fixture(autouse=True)
def _timed_once(monkeypatch):
    monkeypatch.setattr(module, 'latencies', partial(latencies, repeats=1))


def test_table_holds_what_the_test_command_reports(entries, tmp_path):
    table = compare_models({name: Trained(*files) for name, files in entries.items()}, tmp_path, pictures=2)
    for name, (config, checkpoint) in entries.items():
        options = ['--sr-metrics'] if name == 'DSRL' else []
        tested = toy_data.call(cli.test, config, checkpoint, '--work-dir', tmp_path / name, *options)
        for key in tested.keys() - {'aAcc', 'mAcc'}:
            assert table[name][key] == pytest.approx(tested[key], abs=1e-3), key
    assert 'sr/PSNR' in table['DSRL']
    assert 'sr/PSNR' not in table['baseline']
    assert json.loads((tmp_path / 'comparison.json').read_text()).keys() == table.keys()
    assert (tmp_path / 'comparison.png').exists()


def test_pictures_show_rebuilt_images_above_masks(entries):
    figure = draw_comparison([Sampled(name, Trained(*files)) for name, files in entries.items()], pictures=2)
    panels = {axis.get_title(): axis.images[0].get_array() for axis in figure.axes}
    titles = ['network input', 'bilinear enlargement', 'DSRL: rebuilt image', 'ground truth', 'baseline', 'DSRL']
    assert [axis.get_title() for axis in figure.axes] == 2 * titles
    reference = cv2.resize(panels['network input'], toy.SIZE[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(panels['bilinear enlargement'].astype(float), reference, atol=1)


def test_deployed_checkpoints_are_compared_without_rebuilt_images(entries, tmp_path):
    config, checkpoint = entries['DSRL']
    toy_data.call(cli.deploy, config, checkpoint, tmp_path)
    table = compare_models({'DSRL': Trained(config, tmp_path / 'deploy.pth')}, tmp_path, pictures=1)
    assert 'mIoU' in table['DSRL'] and 'sr/PSNR' not in table['DSRL']


def test_heads_of_one_channel_are_drawn(entries, tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'evaluate', lambda trained, name: {})
    cfg = Config.fromfile(entries['baseline'][0])
    cfg.model.decode_head.update(num_classes=2, out_channels=1, threshold=0.3)
    torch.save(toy.build(cfg.model.to_dict()).state_dict(), tmp_path / 'binary.pth')
    compare_models({'binary': Trained(cfg, tmp_path / 'binary.pth')}, tmp_path, pictures=1)
    assert (tmp_path / 'comparison.png').exists()


def test_costs_are_those_of_the_deployed_model_at_the_size_it_reads(entries, tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'evaluate', lambda trained, name: {})
    monkeypatch.setattr('dsrl_mm.apis.figures.draw_comparison', mock.Mock())
    full, isd = (Config.fromfile(entries['baseline'][0]) for _ in range(2))
    full.model.scale_factor = 1
    isd.model = isd_cfg(toy.head_cfg('FCNHead', num_classes=toy_data.NUM_CLASSES), auxiliary_head=None)
    torch.save(toy.build(isd.model.to_dict()).state_dict(), tmp_path / 'isd.pth')
    models = {
        'half': Trained(*entries['baseline']),
        'full': Trained(full, entries['baseline'][1]),
        'DSRL': Trained(*entries['DSRL']),
        'ISD': Trained(isd, tmp_path / 'isd.pth'),
    }
    table = compare_models(models, tmp_path)
    for name, size in dict(half=(24, 32), full=toy.SIZE, DSRL=(24, 32), ISD=toy.SIZE).items():
        deployed = models[name].deployed()
        assert table[name]['input size'] == '{}x{}'.format(*size)
        assert table[name]['GFLOPs'] == measure_complexity(deployed, size).flops / 1e9
        assert table[name]['parameters (M)'] == sum(p.numel() for p in deployed.parameters()) / 1e6
        assert table[name]['latency (ms)'] > 0


def test_models_take_turns():
    order = []

    class Named(torch.nn.Module):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def forward(self, image, mode):
            assert image.shape == dict(a=(1, 3, 4, 4), b=(1, 3, 6, 8))[self.name]
            order.append(self.name)

    models = {name: Named(name) for name in 'ab'}
    assert latencies(models, dict(a=(3, 4, 4), b=(3, 6, 8)), repeats=3).keys() == {'a', 'b'}
    assert ''.join(order) == 'ab' * 5  # 2 to warm up


def test_markdown_by_hand():
    table = {'baseline': {'mIoU': 50.0}, 'DSRL': {'mIoU': 52.346, 'sr/PSNR': 20.0, 'input size': '9x16'}}
    assert to_markdown(table) == (
        '|            |   baseline |   DSRL |\n'
        '|:-----------|-----------:|-------:|\n'
        '| mIoU       |      50.00 |  52.35 |\n'
        '| sr/PSNR    |          - |  20.00 |\n'
        '| input size |          - |   9x16 |\n'
    )
    assert to_markdown(table, ['sr/PSNR']).count('\n') == 3
