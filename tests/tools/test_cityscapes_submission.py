"""Submissions to the Cityscapes server, on toy frames and on one shrunken frame of the real data set."""

import os
from collections import Counter
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
import pytest
import torch
import toy
import toy_data
from mmengine.config import Config

from dsrl_mm.apis.deploy import build_deploy_model
from tools import cityscapes_submission as submission

NAMES = [f'{city}_000000_00001{i}_leftImg8bit.png' for city in ('berlin', 'bonn') for i in range(2)]


@pytest.fixture
def toy_split(tmp_path, monkeypatch) -> Path:
    """A test split of two cities, which the tool takes for the whole."""
    monkeypatch.setattr(submission, 'COUNT', len(NAMES))
    monkeypatch.setattr(submission, 'SIZE', toy.SIZE)
    folder = tmp_path / 'data/leftImg8bit/test'
    rng = np.random.default_rng(0)
    for name in NAMES:
        (folder / name.split('_')[0]).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name.split('_')[0] / name), rng.integers(256, size=(*toy.SIZE, 3), dtype=np.uint8))
    return folder


def test_label_ids_leave_out_what_cityscapes_ignores():
    """Train ids number, in order, the labels from 0 to 33 that count: not void, parking, rail track and the like."""
    ignored = {*range(7), 9, 10, 14, 15, 16, 18, 29, 30}
    assert submission.LABEL_IDS.tolist() == sorted({*range(34)} - ignored)


def write(folder: Path, data_root: Path, **dataset) -> list[str]:
    """Write a config of a toy network for Cityscapes and a checkpoint; return the tool's arguments.

    No class has larger logits than others on average, so that several are predicted.
    """
    loader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=str(data_root), **dataset))
    bases = ('datasets/cityscapes.py', 'default_runtime.py')
    config = toy_data.write_config(
        folder,
        data_root,
        _base_=[str(toy_data.REPO / 'configs/_base_' / base) for base in bases],
        model=toy.model_cfg(dsrl=False, head=toy.head_cfg('FCNHead', num_classes=19)),
        train_dataloader=loader,
        val_dataloader=loader,
        test_dataloader=loader,
    )
    model = toy.build(Config.fromfile(config).model).eval()
    with torch.no_grad():
        model.decode_head.conv_seg.bias -= model(torch.randn(1, 3, *toy.SIZE)).mean((0, 2, 3))
    torch.save(dict(state_dict=model.state_dict()), folder / 'x.pth')
    return [str(config), str(folder / 'x.pth'), str(folder / 'out' / 'submission.zip')]


def read(zip_file: str) -> dict[str, np.ndarray]:
    with ZipFile(zip_file) as archive:
        return {
            name: cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_UNCHANGED)
            for name in archive.namelist()
        }


def test_toy(toy_split, tmp_path, capsys):
    steps = [dict(type=name) for name in ('LoadImageFromFile', 'LoadAnnotations', 'PackSegInputs')]
    config, checkpoint, out = write(tmp_path, tmp_path / 'data', pipeline=steps)
    submission.main([config, checkpoint, out, '--cfg-options', 'test_dataloader.batch_size=3'])
    masks = read(out)
    assert [*masks] == NAMES  # in the archive's root
    assert f'{out}: 4 masks' in capsys.readouterr().out
    model = build_deploy_model(Config.fromfile(config), checkpoint)
    for name, mask in masks.items():
        image = torch.from_numpy(cv2.imread(str(next(toy_split.rglob(name)))))
        with torch.no_grad():
            logits = model(model.data_preprocessor(dict(inputs=[image.permute(2, 0, 1)]))['inputs'])
        expected = submission.LABEL_IDS[logits.argmax(1)[0].numpy()]
        assert len(np.unique(expected)) > 3
        assert mask.dtype == np.uint8 and mask.shape == toy.SIZE
        assert (mask == expected).mean() > 0.99  # ties may be rounded otherwise


@pytest.mark.needs('CITYSCAPES_ROOT')
def test_label_ids_are_those_of_cityscapes():
    """By the most frequent label id: at borders, shrunken labels of the two kinds may differ."""
    pairs = Counter()
    for file in Path(os.environ['CITYSCAPES_ROOT'], 'gtFine/val').rglob('*_labelIds.png'):
        kinds = [str(file), str(file).replace('labelIds', 'labelTrainIds')]
        label, train = (cv2.imread(kind, cv2.IMREAD_UNCHANGED).ravel().tolist() for kind in kinds)
        pairs.update(zip(train, label))
    found = {train: label for (train, label), _ in reversed(pairs.most_common()) if train != 255}
    assert len(found) >= 10
    assert {train: submission.LABEL_IDS[train] for train in found} == found


@pytest.mark.needs('CITYSCAPES_ROOT')
def test_a_trial_on_the_real_validation_split(tmp_path):
    root = Path(os.environ['CITYSCAPES_ROOT'])
    arguments = write(tmp_path, root)
    submission.main([*arguments, '--split', 'val'])
    masks = read(arguments[2])
    images = {file.name: cv2.imread(str(file)) for file in (root / 'leftImg8bit/val').rglob('*.png')}
    assert masks.keys() == images.keys()
    for name, mask in masks.items():
        assert mask.shape == images[name].shape[:2]
        assert {*np.unique(mask)} <= {*submission.LABEL_IDS}


def test_the_whole_test_split_is_needed(toy_split, tmp_path):
    arguments = write(tmp_path, tmp_path / 'data')
    (toy_split / 'bonn' / NAMES[-1]).unlink()
    with pytest.raises(ValueError, match='has 3 images, but the server expects 4'):
        submission.main(arguments)
    cv2.imwrite(str(toy_split / 'bonn' / NAMES[-1]), np.zeros((24, 32, 3), np.uint8))
    with pytest.raises(ValueError, match=f'{NAMES[-1]} is 24x32, but the server expects masks of 48x64'):
        submission.main(arguments)
    assert not Path(arguments[2]).exists()


def test_mistakes_are_found_before_anything_runs(tmp_path, capsys):
    config, checkpoint, out = write(tmp_path, tmp_path / 'data')
    with pytest.raises(ValueError, match='no folder .*data/leftImg8bit/test. Set CITYSCAPES_ROOT'):
        submission.main([config, checkpoint, out])
    camvid = toy_data.write_config(tmp_path / 'camvid', tmp_path)
    with pytest.raises(ValueError, match='must be a CityscapesDataset with its own 19 classes'):
        submission.main([str(camvid), checkpoint, out])
    for arguments, message in (
        ([config, 'none.pth', out], 'there is no none.pth'),
        ([config, checkpoint, 'out.tar'], 'out.tar: the server takes a .zip file'),
    ):
        with pytest.raises(SystemExit):
            submission.main(arguments)
        assert message in capsys.readouterr().err
