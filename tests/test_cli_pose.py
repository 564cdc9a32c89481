"""The commands on an MMPose config and a made-up data set: without MMSegmentation, and what is different for poses."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

pytest.importorskip('mmpose')

from toy_coco import HEIGHT, WIDTH, write_coco, write_coco_config  # noqa: E402
from toy_data import REPO  # noqa: E402

from dsrl_mm import cli  # noqa: E402

# What a command is without MMSegmentation: the tests' own process has it.
COMMAND = """
import sys
sys.modules['mmseg'] = sys.modules['mmdet'] = None  # not installed
from dsrl_mm import cli
getattr(cli, sys.argv[1])(sys.argv[2:])
"""


def run(name: str, *args) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, '-c', COMMAND, name, *map(str, args)],
        env=dict(os.environ, PYTHONPATH=str(REPO), OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> SimpleNamespace:
    """A data set, a stock config, and a short training by the command."""
    folder = tmp_path_factory.mktemp('toy')
    config = write_coco_config(folder, write_coco(folder / 'coco'))
    done = run('train', config, '--work-dir', folder / 'work', '--amp')
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(folder=folder, config=config, checkpoint=folder / 'work/iter_2.pth', output=done.stdout)


def test_training_checks_the_data_first(trained):
    assert trained.checkpoint.is_file()
    check = 'Checking the 4 persons with keypoints in 4 images of {}_dataloader.dataset'
    for name in ('train', 'val'):
        assert check.format(name) in trained.output
    assert check.format('test') not in trained.output


def test_keypoints_and_pictures(trained, tmp_path):
    done = run('test', trained.config, trained.checkpoint, '--work-dir', tmp_path / 'work', '--out', tmp_path / 'out',
               '--show-dir', os.path.relpath(tmp_path / 'show'))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'coco/AP: ' in done.stdout
    (file,) = (tmp_path / 'out').iterdir()
    assert file.name == 'predictions.keypoints.json'
    predicted = json.loads(file.read_text())
    assert sorted(person['image_id'] for person in predicted) == [0, 1, 2, 3]
    assert {len(person['keypoints']) for person in predicted} == {51}
    pictures = sorted((tmp_path / 'show').iterdir())
    assert [path.name for path in pictures] == [f'{i:012d}_0.png' for i in range(4)]
    assert all(Image.open(path).width == WIDTH and Image.open(path).height >= HEIGHT for path in pictures)


def test_a_test_refuses_a_checkpoint_that_lacks_weights(trained, tmp_path):
    done = run('test', trained.config, trained.checkpoint, '--work-dir', tmp_path,
               '--cfg-options', 'model.head.deconv_out_channels=(16,16,32)')  # fmt: skip
    assert done.returncode != 0
    assert 'lacks weights that this model predicts with: head.' in done.stderr


@pytest.mark.parametrize('command', [lambda *a: cli.test([*a, '--sr-metrics']), lambda *a: cli.deploy([*a, 'out'])])
def test_commands_for_segmentation_say_so(trained, command, monkeypatch):
    monkeypatch.chdir(trained.folder)
    with pytest.raises(ValueError, match='is for segmentation, and this config is for poses'):
        command(str(trained.config), str(trained.checkpoint))
    assert not Path('out').exists()
