"""A shipped config of PGNet, with a tiny network and tiny images, through the commands."""

import numpy as np
import pytest
from PIL import Image
from toy_data import REPO, call, logged
from toy_pgnet import pgnet_cfg

from dsrl_mm import cli

SIZES = [(48, 64), (56, 72)]


@pytest.fixture
def config(tmp_path):
    """Two training sets, the second seen twice, in batches of 2: 3 steps an epoch. Two epochs, each validated."""
    rng = np.random.default_rng(0)
    for root, count in (('A-TR', 2), ('B-TR', 2), ('HRSOD-TE', 2)):
        for folder, shape, suffix in (('image', (40, 50, 3), 'jpg'), ('mask', (40, 50), 'png')):
            (tmp_path / root / folder).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(rng.integers(256, size=shape, dtype=np.uint8)).save(
                    tmp_path / root / folder / f'{i}.{suffix}'
                )
    model = pgnet_cfg()
    model['data_preprocessor']['sizes'] = SIZES
    file = tmp_path / 'toy.py'
    file.write_text(
        f"_base_ = ['{REPO}/configs/pgnet/pgnet_swin-t_duts.py']\nmodel = dict(_delete_=True, **{model!r})\n"
    )
    return file


def test_trains_by_epochs_and_is_tested(config, tmp_path):
    root, work_dir = tmp_path, tmp_path / 'work'
    options = (
        '--cfg-options',
        f'train_dataloader.dataset.data_root={root}',
        f'val_dataloader.dataset.data_root={root}',
    )
    options += (f'test_dataloader.dataset.data_root={root}', 'train_dataloader.dataset.roots=[A-TR,B-TR]')
    options += ('train_dataloader.dataset.repeats=[1,2]', 'train_dataloader.batch_size=2', 'train_cfg.max_epochs=2')
    options += ('train_cfg.val_interval=1', 'param_scheduler.0.end=2', 'optim_wrapper.type=OptimWrapper')
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        options += (f'{loader}.num_workers=0', f'{loader}.persistent_workers=False')
    options += ('default_hooks.logger.interval=1',)
    call(cli.train, config, '--work-dir', work_dir, '--amp', *options)
    steps = [entry for entry in logged(work_dir) if 'loss' in entry]
    assert len(steps) == 2 * 3
    assert all(np.isfinite(entry['loss']) for entry in steps)
    rates = [entry['base_lr'] for entry in steps]
    assert max(rates) == rates[len(rates) // 2] > 3 * rates[0]  # rises to the middle of the training
    metrics = call(cli.test, config, work_dir / 'epoch_2.pth', '--work-dir', tmp_path / 'test', *options)
    assert metrics.keys() >= {'MAE', 'S', 'F_max', 'mBA'}
