"""FSDP2 in two processes (gloo, CPU) against one process, and checkpoints that either resumes from."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import torch
import toy
import toy_data
from mmengine._strategy import SingleDeviceStrategy
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, init_default_scope
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from toy_data import call
from toy_pgnet import pgnet_cfg
from toy_processes import run_two
from uhr.toy_isd import isd_cfg

import dsrl_mm.uhr  # noqa: F401  (registers)
from dsrl_mm import cli
from dsrl_mm.engine.fsdp import FSDP2Strategy, check_strategy

pytestmark = pytest.mark.slow

# --- one step of every kind of model ---

KINDS = ('segmentation', 'pose', 'isd', 'pgnet')


def _case(kind: str) -> tuple[dict, dict]:
    """The config of a model, and a batch of four."""
    if kind == 'pose':
        toy_pose = pytest.importorskip('toy_pose')
        init_default_scope('mmpose')
        return toy_pose.model_cfg(), toy_pose.batch(n=4)
    init_default_scope('mmseg')
    models = dict(
        segmentation=toy.model_cfg(auxiliary_head=[toy.auxiliary_head_cfg()]), isd=isd_cfg(), pgnet=pgnet_cfg()
    )
    return models[kind], toy.batch(n=4, classes=2 if kind == 'pgnet' else toy.NUM_CLASSES)


def _train(strategy: SingleDeviceStrategy, model: dict, data: dict, **wrapper) -> SingleDeviceStrategy:
    """Train for two steps, so that the second reads what the first made of weights and momenta."""
    optimizer = dict(type='SGD', lr=0.05, momentum=0.9)
    strategy.prepare(model, optim_wrapper=dict(optimizer=optimizer, clip_grad=dict(max_norm=1.0), **wrapper))
    for module in strategy.model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()  # a process has no statistics of a whole batch
    for _ in range(2):
        strategy.model.train_step(data, strategy.optim_wrapper)
    return strategy


#: The first of two steps overflows float16 and is left out; the scale of the second does not.
SCALED = dict(type='AmpOptimWrapper', loss_scale=dict(init_scale=2.0**30, backoff_factor=2.0**-20))


@contextmanager
def _amp_on_cpus() -> Iterator[None]:
    """Let MMEngine train in float16 with loss scaling on CPUs, which PyTorch can."""
    module = 'mmengine.optim.optimizer.amp_optimizer_wrapper'
    with (
        mock.patch(f'{module}.is_cuda_available', return_value=True),
        mock.patch(f'{module}.GradScaler', partial(torch.amp.GradScaler, 'cpu')),
        mock.patch('mmengine.runner.amp.autocast', lambda dtype: torch.autocast('cpu', torch.float16)),
    ):
        yield


def _overflow_in_one(strategy: FSDP2Strategy, rank: int) -> list[float]:
    """Step with an infinite gradient in the part of one process; gives scale and weights, before and after."""
    wrapper, parameter = strategy.optim_wrapper, next(strategy.model.parameters())
    found = [wrapper.loss_scaler.get_scale(), parameter.to_local().sum().item()]
    strategy.model.zero_grad()
    parameter.grad = torch.ones_like(parameter)
    if rank == 1:
        parameter.grad.to_local().fill_(float('inf'))
    wrapper.step()
    return [*found, wrapper.loss_scaler.get_scale(), parameter.to_local().sum().item()]


def _train_half(kind: str, folder: str, name: str, **wrapper) -> FSDP2Strategy:
    model, data = _case(kind)
    rank = torch.distributed.get_rank()
    settings = dict(env_kwargs=dict(launcher='pytorch', randomness=dict(seed=0)), blocks=BLOCKS[kind])
    strategy = _train(
        FSDP2Strategy(work_dir=f'{folder}/{name}', **settings),
        model,
        {key: values[2 * rank : 2 * rank + 2] for key, values in data.items()},
        **wrapper,
    )
    strategy.save_checkpoint(f'{folder}/{name}.pth')
    return strategy


def _train_halves(folder: str) -> None:
    torch.distributed.init_process_group('gloo')
    rank = torch.distributed.get_rank()
    for kind in KINDS:
        with suppress(pytest.skip.Exception):
            _train_half(kind, folder, kind)
    with _amp_on_cpus():
        strategy = _train_half('segmentation', folder, 'float16', **SCALED)
        torch.save(_overflow_in_one(strategy, rank), f'{folder}/overflow{rank}.pth')
    torch.distributed.destroy_process_group()


BLOCKS = dict(segmentation='BasicBlock', pose=['Bottleneck', 'BasicBlock'], isd=[], pgnet=['SwinBlock'])


@pytest.fixture(scope='module')
def halves(tmp_path_factory):
    """Folder of the checkpoints after two steps of two processes, each on its half of the batches."""
    folder = tmp_path_factory.mktemp('halves')
    assert run_two(_train_halves, str(folder)) == [0, 0]
    return folder


@pytest.mark.parametrize('kind', KINDS)
def test_steps_of_two_processes_equal_those_of_one(kind, halves, tmp_path):
    model, data = _case(kind)
    env = dict(env_kwargs=dict(launcher='none', randomness=dict(seed=0)))
    one = _train(SingleDeviceStrategy(work_dir=str(tmp_path), **env), model, data)
    two = torch.load(halves / f'{kind}.pth', weights_only=False)
    torch.testing.assert_close(two['state_dict'], one.model.state_dict(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(two['optimizer'], one.optim_wrapper.state_dict(), rtol=1e-4, atol=1e-6)
    momenta = [state['momentum_buffer'] for state in two['optimizer']['state'].values()]
    assert max(momentum.abs().max() for momentum in momenta) > 1e-2  # large against the tolerance


def test_loss_scaling(halves, tmp_path):
    with _amp_on_cpus():
        env = dict(env_kwargs=dict(launcher='none', randomness=dict(seed=0)))
        one = _train(SingleDeviceStrategy(work_dir=str(tmp_path), **env), *_case('segmentation'), **SCALED)
    two = torch.load(halves / 'float16.pth', weights_only=False)
    assert two['optimizer']['loss_scaler'] == one.optim_wrapper.loss_scaler.state_dict()
    assert two['optimizer']['loss_scaler']['scale'] == 2.0**10
    # Sums of four images and of two are rounded differently in float16.
    momenta = [
        [state['momentum_buffer'] for state in optimizer['state'].values()]
        for optimizer in (two['optimizer'], one.optim_wrapper.state_dict())
    ]
    torch.testing.assert_close(*momenta, rtol=0.02, atol=1e-3)
    assert max(momentum.abs().max() for momentum in momenta[1]) > 0.05


def test_processes_leave_out_a_step_that_overflows_in_one(halves):
    for rank in range(2):
        scale, weight, scale_after, weight_after = torch.load(halves / f'overflow{rank}.pth')
        assert (scale_after, weight_after) == (scale * 2.0**-20, weight)


# --- tools/train.py ---

FSDP = ('--launcher', 'pytorch', '--cfg-options', 'strategy.type=FSDP2Strategy')
WHOLE_BATCHES = ('--cfg-options', 'train_dataloader.batch_size=4')


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    """Training starts from a checkpoint, and validates with the rebuilt image after two iterations of four.

    The checkpoint has all weights: MMEngine's runners draw the others in another order in the original stack.
    """
    folder = tmp_path_factory.mktemp('fsdp')
    norm_cfg = dict(type='GN', num_groups=2)  # a process has no statistics of a whole batch
    head = toy.head_cfg('FCNHead', norm_cfg, num_classes=toy_data.NUM_CLASSES)
    start = toy.spread_weights(toy.build(toy.model_cfg(head=head, norm_cfg=norm_cfg)))
    torch.save(dict(state_dict=start.state_dict()), folder / 'start.pth')
    return toy_data.write_config(
        folder,
        toy_data.write_camvid(folder / 'camvid', val=2),
        norm_cfg,
        model=toy.model_cfg(head=head, norm_cfg=norm_cfg, test_cfg=dict(mode='whole', with_sr=True)),
        load_from=str(folder / 'start.pth'),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=4, val_interval=2),
        param_scheduler=[dict(type='PolyLR', power=0.9, end=4, by_epoch=False)],
        val_evaluator=[dict(type='ClassIoUMetric', iou_metrics=['mIoU']), dict(type='SRMetric')],
    )


@pytest.fixture(scope='module')
def one(config, tmp_path_factory):
    """Work dir of one process with batches of four."""
    work_dir = tmp_path_factory.mktemp('one')
    call(cli.train, config, '--work-dir', work_dir, *WHOLE_BATCHES)
    return work_dir


@HOOKS.register_module()
class SigtermInOneHook(Hook):
    """Asks one of two processes to end in the third iteration."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 2 and get_rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def _train_until_sigterm(config: Path, *args) -> None:  # in this module, which registers the hook
    call(cli.train, config, *args)


@pytest.fixture(scope='module')
def two(config, tmp_path_factory):
    """Work dir of two processes with batches of two each, of which one gets SIGTERM in the third iteration."""
    work_dir = tmp_path_factory.mktemp('two')
    stopped = config.with_name('stopped.py')
    stopped.write_text(f'_base_ = {str(config)!r}\ncustom_hooks = [dict(type="SigtermInOneHook")]\n')
    assert run_two(_train_until_sigterm, stopped, '--work-dir', work_dir, *FSDP) == [143, 143]
    return work_dir


def _assert_equal(folder, other, name: str) -> None:
    files = [torch.load(path / name, weights_only=False) for path in (folder, other)]
    for key in ('state_dict', 'optimizer'):
        torch.testing.assert_close(*(file[key] for file in files), rtol=1e-4, atol=1e-6)
    assert files[0]['param_schedulers'] == files[1]['param_schedulers']


def test_trains_and_validates_as_one_process(one, two):
    _assert_equal(one, two, 'iter_2.pth')
    metrics, expected = (
        next(entry for entry in toy_data.logged(folder) if 'mIoU' in entry and entry['step'] == 2)
        for folder in (two, one)
    )
    for name in ('mIoU', 'sr/PSNR'):
        assert metrics[name] == pytest.approx(expected[name], rel=1e-4)


def test_one_process_tests_and_resumes_what_two_saved_at_sigterm(config, one, two, tmp_path):
    checkpoint = two / 'iter_3.pth'
    assert (two / 'last_checkpoint').read_text() == str(checkpoint)
    metrics = call(cli.test, config, two / 'iter_2.pth', '--work-dir', tmp_path / 'test')
    assert metrics == pytest.approx(
        call(cli.test, config, one / 'iter_2.pth', '--work-dir', tmp_path / 'test'), rel=1e-4
    )
    call(cli.train, config, '--work-dir', tmp_path, '--resume', checkpoint, *WHOLE_BATCHES)
    _assert_equal(one, tmp_path, 'iter_4.pth')


def test_two_processes_resume_what_one_saved(config, one, tmp_path):
    options = ('--work-dir', tmp_path, '--resume', one / 'iter_2.pth', *FSDP)
    assert run_two(call, cli.train, config, *options) == [0, 0]
    assert not (tmp_path / 'iter_2.pth').exists()
    _assert_equal(one, tmp_path, 'iter_4.pth')


def _cfg(launcher: str = 'pytorch', **others) -> Config:
    return Config(dict(launcher=launcher, strategy=dict(type='FSDP2Strategy')) | others)


def test_what_it_cannot_train_is_refused(tmp_path):
    with pytest.raises(ValueError, match='FSDP2Strategy.* divides the model among processes, but there is one. Start'):
        check_strategy(_cfg('none'))
    with pytest.raises(ValueError, match='custom_hooks.1: FSDP2Strategy cannot average the weights'):
        check_strategy(_cfg(custom_hooks=[dict(type='NonFiniteLossHook'), dict(type='EMAHook')]))
    check_strategy(_cfg('none', strategy=dict(type='SingleDeviceStrategy'), custom_hooks=[dict(type='EMAHook')]))
    env = dict(work_dir=str(tmp_path), env_kwargs=dict(launcher='none'))
    with pytest.raises(RuntimeError, match='among processes, but there is one. Set a launcher'):
        FSDP2Strategy(**env).prepare(toy.model_cfg())
    with pytest.raises(ValueError, match='strategy.blocks: the model has no Bottlneck. It has .*BasicBlock'):
        FSDP2Strategy(blocks=['Bottlneck', 'BasicBlock'], **env).prepare(toy.model_cfg())
