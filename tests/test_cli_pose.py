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

# Commands, as lists of words, in one process without MMSegmentation: the tests' own process has it.
COMMANDS = """
import json, sys
sys.modules['mmseg'] = sys.modules['mmdet'] = None  # not installed
from dsrl_mm import cli
for name, *words in json.loads(sys.argv[1]):
    print('Command:', name, flush=True)
    getattr(cli, name)(words)
"""


@pytest.fixture(scope='module')
def ran(tmp_path_factory) -> SimpleNamespace:
    """A stock config, and what came of two commands: a training, and its test."""
    folder = tmp_path_factory.mktemp('toy')
    config, checkpoint = write_coco_config(folder, write_coco(folder / 'coco')), folder / 'work/iter_2.pth'
    commands = [
        ['train', config, '--work-dir', folder / 'work', '--amp'],
        ['test', config, checkpoint, '--work-dir', folder / 'test', '--out', folder / 'kept', '--show-dir', 'show'],
    ]
    done = subprocess.run(
        [sys.executable, '-c', COMMANDS, json.dumps(commands, default=str)],
        env=dict(os.environ, PYTHONPATH=str(REPO), OMP_NUM_THREADS='1'),
        cwd=folder,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    _, *outputs = done.stdout.split('Command: ')
    return SimpleNamespace(folder=folder, config=config, checkpoint=checkpoint, outputs=outputs)


def test_training_checks_the_data_first(ran):
    assert ran.checkpoint.is_file()
    check = 'Checking the 4 persons with keypoints in 4 images of {}_dataloader.dataset'
    for name in ('train', 'val'):
        assert check.format(name) in ran.outputs[0]
    assert check.format('test') not in ran.outputs[0]


def test_keypoints_and_pictures(ran):
    assert 'coco/AP: ' in ran.outputs[1]
    (file,) = (ran.folder / 'kept').iterdir()
    assert file.name == 'predictions.keypoints.json'
    predicted = json.loads(file.read_text())
    assert sorted(person['image_id'] for person in predicted) == [0, 1, 2, 3]
    assert {len(person['keypoints']) for person in predicted} == {51}
    pictures = sorted((ran.folder / 'show').iterdir())
    assert [path.name for path in pictures] == [f'{i:012d}_0.png' for i in range(4)]
    assert all(Image.open(path).width == WIDTH and Image.open(path).height >= HEIGHT for path in pictures)


@pytest.mark.parametrize(
    'command', [lambda *a: cli.test([*a, '--sr-metrics']), lambda *a: cli.deploy([*a, 'out', '--low-res-input'])]
)
def test_commands_for_segmentation_say_so(ran, command, monkeypatch):
    monkeypatch.chdir(ran.folder)
    with pytest.raises(ValueError, match='is for segmentation, and this config is for poses'):
        command(str(ran.config), str(ran.checkpoint))
    assert not Path('out').exists()
