"""A shipped config of PGNet, with a tiny network and tiny images, through the commands."""

import numpy as np
import pytest
from PIL import Image
from toy_data import REPO, call, logged
from toy_pgnet import pgnet_cfg

from dsrl_mm import cli


@pytest.fixture
def config(tmp_path):
    """Two training sets, the second seen twice, in batches of 2: 3 steps an epoch. Two epochs, each validated."""
    rng = np.random.default_rng(0)
    for root in ('A-TR', 'B-TR', 'HRSOD-TE'):
        for name, shape in {'image/{}.jpg': (40, 50, 3), 'mask/{}.png': (40, 50)}.items():
            for file in (tmp_path / root / name.format(i) for i in range(2)):
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(256, size=shape, dtype=np.uint8)).save(file)
    model = pgnet_cfg()
    model['data_preprocessor']['sizes'] = [(48, 64), (56, 72)]
    loader = dict(num_workers=0, persistent_workers=False)
    roots = dict(data_root=str(tmp_path), roots=['A-TR', 'B-TR'], repeats=[1, 2])
    evaluated = dict(loader, dataset=dict(data_root=str(tmp_path)))
    settings = dict(
        _base_=f'{REPO}/configs/pgnet/pgnet_swin-t_duts.py',
        model=dict(model, _delete_=True),
        train_dataloader=dict(loader, batch_size=2, dataset=roots),
        val_dataloader=evaluated,
        test_dataloader=evaluated,
        optim_wrapper=dict(type='OptimWrapper'),  # that of --amp on the machine
        train_cfg=dict(max_epochs=2, val_interval=1),
        default_hooks=dict(logger=dict(interval=1)),
    )
    file = tmp_path / 'toy.py'
    file.write_text(''.join(f'{key} = {value!r}\n' for key, value in settings.items()))
    return file


def test_trains_by_epochs_and_is_tested(config, tmp_path):
    options = ('--cfg-options', 'param_scheduler.0.end=2')
    call(cli.train, config, '--work-dir', tmp_path / 'work', '--amp', *options)
    steps = [entry for entry in logged(tmp_path / 'work') if 'loss' in entry]
    assert len(steps) == 2 * 3
    assert all(np.isfinite(entry['loss']) for entry in steps)
    rates = [entry['base_lr'] for entry in steps]
    assert max(rates) == rates[len(rates) // 2] > 3 * rates[0]  # rises to the middle of the training
    metrics = call(cli.test, config, tmp_path / 'work/epoch_2.pth', '--work-dir', tmp_path / 'test')
    assert metrics.keys() >= {'MAE', 'S', 'F_max', 'mBA'}
