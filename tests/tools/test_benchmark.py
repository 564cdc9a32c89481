"""The command that compares runtimes, with a file of another network; exports are tested in ``tests/apis``."""

import json
import re

import numpy as np
import pytest
import torch
import toy_data
from PIL import Image
from torch import Tensor, nn

from dsrl_mm import cli
from dsrl_mm.apis import Runtime
from dsrl_mm.apis.export import write
from tools import benchmark as tool


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return toy_data.write_camvid(tmp_path_factory.mktemp('camvid'))


@pytest.fixture(scope='module')
def trained(data, tmp_path_factory):
    return toy_data.write_trained(tmp_path_factory.mktemp('trained'), data)


class Building(nn.Module):
    """Logits of twice the size of frames, which name class 1 everywhere."""

    def forward(self, images: Tensor) -> Tensor:
        shares = torch.eye(toy_data.NUM_CLASSES)[1].view(1, -1, 1, 1)
        return shares + 0 * images[:, :1].repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_accuracy_is_the_checkpoints_or_the_files_and_a_refused_runtime_is_left_out(
    trained, data, tmp_path, monkeypatch, capsys
):
    exported, compiled = [], []

    def save_deploy(cfg, checkpoint, folder, low_res, export):
        exported.append((folder.name, low_res, *export.formats, export.precision, export.size, export.image_dir))
        if export.precision == 'float32':
            raise RuntimeError('The file does not compute what PyTorch does.')
        folder.mkdir(parents=True)
        file = folder / 'deploy_int8.onnx'
        meta = dict(size=export.size, input='float32', channels=3, batch=1, entrance='low-res', output='logits')
        write(torch.export.export(Building(), (torch.zeros(1, 3, *export.size),)), file, meta)
        return [folder / 'deploy.pth', file]

    def compile_(network, dynamic):
        compiled.append(dynamic)
        return network

    monkeypatch.setattr(tool, 'save_deploy', save_deploy)
    monkeypatch.setattr(torch, 'compile', compile_)
    expected = toy_data.call(cli.test, *trained, '--work-dir', tmp_path)['mIoU']
    options = ['--runtimes', 'onnx', 'eager', 'compiled', 'onnx-int8', '--calib-dir', str(data), '--repeats', '2']
    options += ['--size', '24', '32', '--out', str(tmp_path / 'out')]

    tool.main(['--model', 'DSRL', *map(str, trained), *options])
    assert 'DSRL: onnx is left out. The file does not compute' in capsys.readouterr().out
    assert exported == [('DSRL', True, 'onnx', kind, [24, 32], data) for kind in ('float32', 'int8')]
    assert compiled == [False]
    rows = json.loads((tmp_path / 'out/benchmark.json').read_text())
    assert [row['runtime'] for row in rows] == ['eager', 'compiled', 'onnx-int8']
    labels = np.stack([np.array(Image.open(file)) for file in sorted((data / 'labels/val').iterdir())])
    building = 100 * (labels == 1).mean() / toy_data.NUM_CLASSES  # the IoU of one class; the others' are 0
    assert [row['mIoU'] for row in rows] == pytest.approx([expected, expected, building], abs=0.01)
    assert all(row['milliseconds'] > 0 and row['input'] == '24x32' and row['model'] == 'DSRL' for row in rows)
    assert '| DSRL' in (tmp_path / 'out/benchmark.md').read_text()
    assert (tmp_path / 'out/benchmark.png').stat().st_size


def test_a_model_that_cannot_be_tested_costs_no_other(trained, tmp_path, monkeypatch, capsys):
    runtime = Runtime(dict(input='float32', channels=3, batch=1, size=[4, 6]), lambda image: image)

    def evaluate(tested, title):
        if title.startswith('A'):
            raise ValueError('The file takes images of 4x6.')
        return dict(mIoU=50.0)

    monkeypatch.setattr(tool, 'build_runtimes', lambda *_: dict(eager=runtime))
    monkeypatch.setattr(tool, 'evaluate', evaluate)
    models = [['--model', name, *map(str, trained)] for name in 'AB']
    options = ['--repeats', '1', '--out', str(tmp_path)]
    tool.main([*models[0], *models[1], *options])
    assert 'A: eager is left out. The file takes images of 4x6.' in capsys.readouterr().out
    assert [row['model'] for row in json.loads((tmp_path / 'benchmark.json').read_text())] == ['B']
    with pytest.raises(SystemExit):
        tool.main([*models[0], *options])
    assert 'No runtime is left' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--runtimes', 'eager', 'onnx-int8'], 'onnx-int8 is calibrated on images .*: name a folder by --calib-dir'),
        (['--calib-dir', 'nowhere'], 'there is no nowhere'),
        (['--cfg-options', 'test_evaluator.type=BoundaryMetric'], '--model DSRL: test_evaluator has no IoUMetric'),
        (['--cfg-options', 'test_evaluator.iou_metrics=[mDice]'], 'IoUMetric that measures mIoU'),
    ],
)
def test_what_cannot_be_compared_is_refused_at_once(trained, capsys, options, message):
    with pytest.raises(SystemExit):
        tool.main(['--model', 'DSRL', *map(str, trained), *options])
    assert re.search(message, capsys.readouterr().err)


def test_every_runtime_is_given_an_image_of_its_size():
    shapes = {}

    def runtime(name: str, size: list[int]) -> Runtime:
        meta = dict(input='float32', channels=3, batch=1, size=size)
        return Runtime(meta, lambda image: shapes.setdefault(name, image.shape))

    found = tool.benchmark({'a': runtime('a', [4, 6]), 'b': runtime('b', [8, 9])}, repeats=1)
    assert shapes == {'a': (1, 3, 4, 6), 'b': (1, 3, 8, 9)}
    assert found.keys() == {'a', 'b'} and np.isfinite([*found.values()]).all()
