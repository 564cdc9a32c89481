"""Training on a data set of one's own, from a file of five lines and from the command line alone."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from toy_data import call

from dsrl_mm import cli
from dsrl_mm.apis import task_of

REPO = Path(__file__).parents[1]
SHORT = ['max_iters=2', 'train_dataloader.batch_size=2', 'default_hooks.checkpoint.interval=2']
#: Worker processes take longer to start than these trainings.
SHORT += [
    f'{loader}.{key}'
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader')
    for key in ('num_workers=0', 'persistent_workers=False')
]


@pytest.fixture
def data_root(tmp_path) -> Path:
    """Two images of each split, 70x130 pixels, of three classes."""
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for kind, suffix, values in (('images', 'jpg', 256), ('labels', 'png', 3)):
            folder = tmp_path / 'data' / kind / split
            folder.mkdir(parents=True)
            for name in 'ab':
                cv2.imwrite(str(folder / f'{name}.{suffix}'), rng.integers(values, size=(70, 130), dtype=np.uint8))
    return tmp_path / 'data'


def test_a_file_of_five_lines_trains(tmp_path, data_root):
    pytest.importorskip('timm')
    example = (REPO / 'docs/examples/my_data.py').read_text()
    assert len(example.splitlines()) <= 5
    example = example.replace("'./configs/", f"'{REPO}/configs/")
    (tmp_path / 'my_data.py').write_text(
        example.replace('/path/to/my_data', str(data_root)).replace('512, 1024', '64, 128')
    )
    call(cli.train, tmp_path / 'my_data.py', '--work-dir', tmp_path / 'work', '--cfg-options', *SHORT)
    # Any program of MMEngine's can read the config in the work dir.
    evaluated = Config.fromfile(tmp_path / 'work/my_data.py')
    assert evaluated.model.decode_head.decode_head.num_classes == 3
    assert task_of(evaluated).network_input(evaluated)[1:] == (32, 64)
    metrics = call(
        cli.test, tmp_path / 'work/my_data.py', tmp_path / 'work/iter_2.pth', '--tta', '--work-dir', tmp_path
    )
    assert 0 <= metrics['mIoU'] <= 100


def test_options_alone_do():
    options = ['data_root=mine', 'classes=road,car,person', 'canvas=64,128', *SHORT]
    cfg = cli.training_config([str(REPO / 'configs/dsrl/dabnet_custom.py'), '--cfg-options', *options])
    assert cfg.train_dataloader.dataset.data_root == 'mine'
    assert list(cfg.train_dataloader.dataset.metainfo.classes) == ['road', 'car', 'person']
    assert cfg.param_scheduler[0].end == cfg.train_cfg.max_iters == 2


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match='classes=None'):
        cli.train([str(REPO / 'configs/dsrl/dabnet_custom.py'), '--work-dir', str(tmp_path)])


def test_frames_with_larger_masks(tmp_path, data_root, capsys):
    for path in data_root.glob('images/*/*.jpg'):
        cv2.imwrite(str(path), cv2.imread(str(path))[:35, :65])  # half of the mask's sides
    example = (REPO / 'docs/examples/my_data.py').read_text()
    (tmp_path / 'my_data.py').write_text(
        example.replace(
            './configs/dsrl/deeplabv3plus_efficientnet_lite0_custom.py', f'{REPO}/configs/dsrl/dabnet_custom.py'
        )
        .replace('/path/to/my_data', str(data_root))
        .replace('512, 1024', '64, 128')
    )
    (tmp_path / 'my_frames.py').write_text((REPO / 'docs/examples/my_frames.py').read_text())
    call(cli.train, tmp_path / 'my_frames.py', '--work-dir', tmp_path / 'work', '--cfg-options', *SHORT)
    metrics = call(
        cli.test,
        tmp_path / 'my_frames.py',
        tmp_path / 'work/iter_2.pth',
        '--work-dir',
        tmp_path,
        '--out',
        tmp_path / 'o',
    )
    assert 0 <= metrics['mIoU'] <= 100
    assert cv2.imread(str(tmp_path / 'o/a.png'), cv2.IMREAD_UNCHANGED).shape == (70, 130)
    assert task_of(evaluated := Config.fromfile(tmp_path / 'work/my_frames.py')).network_input(evaluated)[1:] == (
        32,
        64,
    )
    evaluated.model.sr_aux = dict(head=dict(type='SISRAuxHead'))
    capsys.readouterr()
    task_of(evaluated).check_data(evaluated, ('train',))
    assert 'the SISR branch learns nothing. Set model.sr_aux=None' in capsys.readouterr().out
