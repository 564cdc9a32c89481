"""The guard against NaN and infinite losses and weights."""

from types import SimpleNamespace

import pytest
import torch
from toy import batch

from dsrl_mm.engine import NonFiniteLossHook

MODEL = SimpleNamespace(named_parameters=lambda: [('module.head', None), ('good', None)])
RUNNER = SimpleNamespace(iter=41, work_dir='work', model=MODEL)


def after_iter(**losses: float) -> None:
    outputs = {name.replace('_loss', '.loss'): torch.tensor(value) for name, value in losses.items()}
    NonFiniteLossHook().after_train_iter(RUNNER, 0, batch(n=2), outputs)


def test_finite_losses_pass():
    after_iter(loss=1e38, decode_loss_ce=0.0, acc_seg=float('nan'))  # an accuracy is no loss


@pytest.mark.parametrize('value', ['nan', 'inf', '-inf'])
def test_names_the_iteration_the_loss_and_the_files(value):
    with pytest.raises(FloatingPointError) as error:
        after_iter(loss=float(value), decode_loss_ce=2.0, sr_loss_fa=float(value), sr_loss_sisr=1.0)
    message = str(error.value)
    assert message.startswith(f"Iteration 42: sr.loss_fa is {value} for the images ['0.png', '1.png']. ")
    assert 'No checkpoint was saved before in work.' in message


def test_names_the_sum_where_only_that_overflows():
    with pytest.raises(FloatingPointError, match='Iteration 42: loss is inf for'):
        after_iter(loss=float('inf'), decode_loss_ce=3e38, sr_loss_fa=3e38)


@pytest.mark.parametrize('value', [float('nan'), float('-inf'), 2e9])
def test_weights_that_diverged_are_not_saved(value):
    state = dict(good=torch.ones(2), count=torch.tensor(3), head=torch.tensor([0.0, value]))
    with pytest.raises(
        FloatingPointError, match=r'1 weights are NaN, infinite or beyond 1e\+08, head for one; they are'
    ):
        NonFiniteLossHook().before_save_checkpoint(RUNNER, dict(state_dict=state))


def test_large_weights_and_buffers_are_saved():
    state = dict(head=torch.tensor([1e7, -1e7]), buffer=torch.tensor(-1e30))
    NonFiniteLossHook().before_save_checkpoint(RUNNER, dict(state_dict=state))


def test_runs_before_checkpoints_are_saved():
    from mmengine.hooks import CheckpointHook, EMAHook
    from mmengine.runner import get_priority

    assert get_priority(NonFiniteLossHook.priority) < get_priority(EMAHook.priority)
    assert get_priority(NonFiniteLossHook.priority) < get_priority(CheckpointHook.priority)
