"""The command that compares runtimes, in PyTorch; files are tested in ``tests/apis``."""

import json

import numpy as np
import toy_data

from dsrl_mm import cli
from dsrl_mm.apis import Runtime
from tools import benchmark as tool


def test_accuracy_is_the_checkpoints_and_a_refused_runtime_is_left_out(tmp_path, monkeypatch, capsys):
    def refuse(*_, **__):
        raise RuntimeError('The file does not compute what PyTorch does.')

    monkeypatch.setattr(tool, 'save_deploy', refuse)
    config, checkpoint = toy_data.write_trained(tmp_path, toy_data.write_camvid(tmp_path / 'camvid'))
    expected = toy_data.call(cli.test, config, checkpoint, '--work-dir', tmp_path)['mIoU']
    options = ['--runtimes', 'onnx', 'eager', '--repeats', '2', '--size', '24', '32', '--out', str(tmp_path / 'out')]

    tool.main(['--model', 'DSRL', str(config), str(checkpoint), *options])
    assert 'DSRL: onnx is left out. The file does not compute' in capsys.readouterr().out
    (row,) = json.loads((tmp_path / 'out/benchmark.json').read_text())
    assert round(row['mIoU'], 2) == round(expected, 2)
    assert row['milliseconds'] > 0
    assert (row['model'], row['runtime'], row['input']) == ('DSRL', 'eager', '24x32')
    assert '| DSRL' in (tmp_path / 'out/benchmark.md').read_text()
    assert (tmp_path / 'out/benchmark.png').stat().st_size


def test_every_runtime_is_given_an_image_of_its_size():
    shapes = {}

    def runtime(name: str, size: list[int]) -> Runtime:
        meta = dict(input='float32', channels=3, batch=1, size=size)
        return Runtime(meta, lambda image: shapes.setdefault(name, image.shape))

    found = tool.benchmark({'a': runtime('a', [4, 6]), 'b': runtime('b', [8, 9])}, repeats=1)
    assert shapes == {'a': (1, 3, 4, 6), 'b': (1, 3, 8, 9)}
    assert found.keys() == {'a', 'b'} and np.isfinite([*found.values()]).all()
