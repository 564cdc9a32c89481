"""compat's remedies, each in its own process: what is imported, and with what, cannot be undone."""

import importlib.util
import json
import os
import pickle
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.hooks import LoggerHook
from mmengine.logging import HistoryBuffer
from torch.utils.data import DataLoader
from toy_data import write_camvid

from dsrl_mm import compat
from dsrl_mm.seg import CamVidDataset

ROOT = Path(__file__).parents[1]

needs_mmpose = pytest.mark.skipif(importlib.util.find_spec('mmpose') is None, reason='needs mmpose')


def run_python(code: str, *options: str, path: Path = ROOT) -> subprocess.CompletedProcess:
    environment = dict(os.environ, PYTHONPATH=f'{path}{os.pathsep}{ROOT}', OMP_NUM_THREADS='1')
    return subprocess.run([sys.executable, *options, '-c', code], capture_output=True, text=True, env=environment)


def fake_package(folder: Path, name: str, **files: str) -> None:
    (folder / name).mkdir()
    for stem, text in {'__init__': '', **files}.items():
        (folder / name / f'{stem}.py').write_text(text)


def test_segmentation_needs_nothing_of_mmpose_and_its_import_says_nothing():
    done = run_python(
        """
import sys
for name in ('mmpose', 'xtcocotools', 'munkres', 'mmdet'):
    sys.modules[name] = None  # not installed
import dsrl_mm.seg, dsrl_mm.cli, dsrl_mm.seg.checks.data, dsrl_mm.apis.deploy
import importlib.util
if importlib.util.find_spec('torchvision'):
    import torchvision.transforms
""",
        '-W',
        'error::UserWarning',
        '-W',
        'error::FutureWarning',
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


@needs_mmpose
def test_mmpose_needs_no_mmdet_and_no_mmseg():
    done = run_python(
        """
import sys
for name in ('mmdet', 'mmseg', 'chumpy', 'json_tricks'):
    sys.modules[name] = None  # not installed
import torch
from dsrl_mm import compat
compat.prepare('mmengine', 'mmcv', 'mmpose')
import mmpose.apis, mmpose.codecs, mmpose.datasets, mmpose.engine, mmpose.evaluation, mmpose.models
import mmpose.visualization
from mmpose.models.heads.hybrid_heads import rtmo_head
print(rtmo_head.reduce_mean(torch.full((1,), 3.0)).item())
try:
    import mmdet
except ImportError:
    print('no mmdet')
import dsrl_mm.pose, dsrl_mm.cli
""",
        '-W',
        'error::FutureWarning',
    )
    assert (done.returncode, done.stdout) == (0, '3.0\nno mmdet\n'), done.stderr


def test_an_mmdet_that_is_installed_is_left_alone(tmp_path):
    fake_package(tmp_path, 'mmdet', utils='reduce_mean = "real"')
    done = run_python(
        'from dsrl_mm import compat; compat._stand_in_for_mmdet_utils(); import mmdet.utils; '
        'print(mmdet.utils.reduce_mean)',
        path=tmp_path,
    )
    assert done.stdout == 'real\n', done.stderr


def test_quiet_import_drops_one_line_only(capsys):
    with compat.quiet_import():
        print('Could not import OneDL')
        print('Could not import OneDL 3')
    assert capsys.readouterr().out == 'Could not import OneDL 3\n'


def test_quiet_import_shows_what_was_printed_before_an_error(capsys):
    with pytest.raises(ImportError), compat.quiet_import():
        print('the reason')
        raise ImportError
    assert capsys.readouterr().out == 'the reason\n'


@pytest.mark.parametrize('package', ['mmengine', 'mmcv', 'mmseg'])
def test_missing_package_names_itself_and_the_remedy(monkeypatch, package):
    hide(monkeypatch, package)
    with pytest.raises(ImportError, match=rf'dsrl_mm needs {package}, .* pip install "dsrl_mm\[onedl\]"'):
        compat.prepare('mmengine', 'mmcv', 'mmseg')


def hide(monkeypatch, *packages: str) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name in packages else find_spec(name))


POSE_LINES = (
    r'pip install "dsrl_mm\[pose\]" torch==(\S+)\n'
    r' +pip install (.*)--no-deps --no-build-isolation -r requirements/mmpose\.txt$'
)


@pytest.mark.parametrize(
    ('missing', 'message'),
    [
        (('mmpose',), 'needs mmpose, which is not installed'),
        (('munkres', 'xtcocotools'), 'needs munkres and xtcocotools, which are not installed'),
    ],
)
def test_what_mmpose_needs_is_missed_with_the_lines_that_install_it(monkeypatch, missing, message):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name in missing else 'found')
    with pytest.raises(ImportError, match=f'dsrl_mm.pose {message}(?s:.*){POSE_LINES}') as error:
        compat.prepare('mmpose')
    assert re.search(POSE_LINES, str(error.value)).groups() == (metadata.version('torch'), '')
    assert (ROOT / 'requirements/mmpose.txt').is_file()


@pytest.mark.parametrize('error', ['ValueError("numpy.dtype size changed")', 'ImportError("numpy.core.multiarray")'])
def test_an_xtcocotools_for_another_numpy_is_named(tmp_path, error):
    for name in ('mmpose', 'munkres', 'six'):
        fake_package(tmp_path, name)
    fake_package(tmp_path, 'xtcocotools', mask=f'raise {error}')
    done = run_python('from dsrl_mm import compat; compat.prepare("mmpose")', path=tmp_path)
    assert f'compiled for another NumPy than {np.__version__} (numpy.' in done.stderr
    assert re.search(POSE_LINES, done.stderr.strip())[2] == '--force-reinstall --no-cache-dir '


# What torchvision does with its compiled operators while it is imported.
TORCHVISION = """
import torch

@torch.library.register_fake('torchvision::nms')
def nms(dets, scores, iou_threshold):
    return scores
"""


def test_missing_operators_of_mmcv_and_torchvision_raise_when_used(tmp_path):
    fake_package(tmp_path, 'mmcv')
    fake_package(tmp_path, 'torchvision', __init__=TORCHVISION)
    done = run_python(
        """
import importlib, importlib.util, sys
import torch
from dsrl_mm import compat

try:
    import torchvision
except RuntimeError as error:
    print(error)
compat.prepare('mmcv')
ext = importlib.import_module('mmcv._ext')  # as mmcv.utils.ext_loader does
assert hasattr(ext, 'ms_deform_attn_forward')
compat.prepare('mmcv')
assert sys.modules['mmcv._ext'] is ext
import torchvision
try:
    torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
except NotImplementedError as error:
    print(str(error).splitlines()[0])
try:
    ext.ms_deform_attn_forward(1, offset=2)
except ImportError as error:
    print(error)
""",
        path=tmp_path,
    )
    without, of_torchvision, of_mmcv = done.stdout.splitlines()
    assert 'operator torchvision::nms does not exist' in without
    assert "Could not run 'torchvision::nms'" in of_torchvision
    assert 'operator "ms_deform_attn_forward" is not installed' in of_mmcv


def test_compiled_operators_of_mmcv_and_torchvision_are_left_alone(tmp_path):
    """A second definition of a schema is an error of torch's, so it would show here."""
    fake_package(tmp_path, 'mmcv', _ext='nms = "compiled"')
    fake_package(tmp_path, 'torchvision', __init__=TORCHVISION)
    (tmp_path / 'torchvision' / '_C.so').touch()
    done = run_python(
        """
import torch
from dsrl_mm import compat

library = torch.library.Library('torchvision', 'DEF')

def load_library(path):
    library.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
    library.impl('nms', lambda dets, scores, iou_threshold: scores + 1, 'CPU')

torch.ops.load_library = load_library
compat.prepare('mmcv')
import mmcv._ext, torchvision
print(mmcv._ext.nms, torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5).item())
""",
        path=tmp_path,
    )
    assert done.stdout == 'compiled 1.0\n', done.stderr


@pytest.mark.parametrize(
    ('installed', 'warned'),
    [
        (('mmcv', 'onedl-mmcv'), True),
        (('mmcv', 'mmcv-lite'), True),
        (('mmcv-lite', 'onedl-mmcv'), True),
        (('mmcv',), False),
        (('onedl-mmcv',), False),
        (('mmcv', 'onedl-mmengine'), False),
    ],
)
def test_two_distributions_in_one_folder_are_warned_of(monkeypatch, recwarn, installed, warned):
    monkeypatch.setattr(compat, '_is_installed', lambda name: name in installed)
    compat._warn_of_two_stacks.cache_clear()
    compat.prepare('mmcv')
    compat._warn_of_two_stacks.cache_clear()
    messages = [str(warning.message) for warning in recwarn]
    assert len(messages) == warned
    assert all(f'{" and ".join(installed)} are both installed' in text and 'pip uninstall' in text for text in messages)


def test_is_installed_knows_distributions():
    assert compat._is_installed('torch')
    assert not compat._is_installed('no-such-distribution')


@pytest.fixture
def nothing_allowed():
    """PyTorch's own state: it knows no class but its own."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(before)


def test_what_mmengine_s_checkpoints_hold_is_read(nothing_allowed, tmp_path):
    losses = HistoryBuffer([2.0, 1.0], [1, 1])
    torch.save(dict(loss=losses, best=np.float64(0.5), labels=np.arange(3, dtype=np.uint8)), tmp_path / 'a.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'a.pth')
    compat._allow_checkpoint_values()
    read = torch.load(tmp_path / 'a.pth')
    assert read['loss'].statistics('mean') == 1.5
    assert read['best'] == 0.5
    assert read['labels'].tolist() == [0, 1, 2]


class Getattr:
    """Pickles as a call of getattr, with which a file could reach any function."""

    def __reduce__(self):
        return getattr, (np.ndarray, 'tofile')


def test_checkpoints_get_no_other_attributes(nothing_allowed, tmp_path):
    torch.save(Getattr(), tmp_path / 'a.pth')
    compat._allow_checkpoint_values()
    with pytest.raises(pickle.UnpicklingError, match='only methods of HistoryBuffer'):
        torch.load(tmp_path / 'a.pth')


@pytest.mark.parametrize('num_workers', [0, 1])
def test_errors_in_pipelines_name_the_file(tmp_path, num_workers):
    data = write_camvid(tmp_path, train=1, val=1)
    (data / 'labels/train/train_0.png').write_bytes(b'')
    dataset = CamVidDataset(
        data_root=str(data),
        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
    )
    loader = DataLoader(dataset, num_workers=num_workers, collate_fn=list)
    with pytest.raises(RuntimeError, match='labels/train/train_0.png: LoadAnnotations fails with UnidentifiedImage'):
        next(iter(loader))


@pytest.mark.parametrize('rank', [0, 1])
def test_only_the_first_process_of_a_test_writes_its_metrics(tmp_path, monkeypatch, rank):
    monkeypatch.setattr('mmengine.dist.utils.get_rank', lambda group=None: rank)
    runner = mock.MagicMock(log_dir=str(tmp_path), timestamp='now')
    runner.log_processor.get_log_after_epoch.return_value = dict(mIoU=50.0, time=0.1 + rank), 'mIoU: 50.0'
    hook = LoggerHook()
    hook.before_run(runner)
    hook.after_test_epoch(runner)
    written = {file.name: json.loads(file.read_text()) for file in tmp_path.iterdir()}
    assert written == ({} if rank else {'now.json': dict(mIoU=50.0, time=0.1)})


def test_preprocessors_take_any_number_of_bands():
    import toy
    from mmengine.model import ImgDataPreprocessor
    from mmseg.models import SegDataPreProcessor

    bands = [float(i) for i in range(5)]
    preprocessor = SegDataPreProcessor(mean=bands, std=[2.0] * 5)
    inputs = preprocessor(dict(inputs=[torch.full((5, 2, 2), 4, dtype=torch.uint8)]))['inputs']
    assert inputs[0, :, 0, 0].tolist() == [2, 1.5, 1, 0.5, 0]
    assert not preprocessor.state_dict()  # as in the stock class: part of the config, not of the weights
    with pytest.raises(ValueError, match='mean has 4 values, but std has 5'):
        ImgDataPreprocessor(mean=[0.0] * 4, std=[1.0] * 5)
    stock = SegDataPreProcessor(mean=toy.MEAN, std=toy.STD)
    assert stock.mean.flatten().tolist() == toy.MEAN
