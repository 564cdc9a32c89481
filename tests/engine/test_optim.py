import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from dsrl_mm.engine import BFloat16OptimWrapper


def wrapper_for(model, lr=1.0, **kwargs):
    return build_optim_wrapper(model, dict(type='BFloat16OptimWrapper', optimizer=dict(type='SGD', lr=lr), **kwargs))


def step(model, wrapper, x, y):
    with wrapper.optim_context(model):
        out = model(x)
        loss = nn.functional.mse_loss(out, y)
    wrapper.update_params(loss)
    return out, loss


def test_forward_in_bfloat16_weights_and_gradients_in_float32():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    wrapper = wrapper_for(model)
    assert isinstance(wrapper, BFloat16OptimWrapper)
    before = [p.clone() for p in model.parameters()]
    gradients = []
    for p in model.parameters():
        p.register_post_accumulate_grad_hook(lambda p: gradients.append(p.grad.dtype))
    out, loss = step(model, wrapper, torch.randn(2, 3, 8, 8), torch.randn(2, 2, 6, 6))
    assert out.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    assert set(gradients) == {torch.float32}
    assert len(gradients) == len(before)
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert any(not p.equal(old) for p, old in zip(model.parameters(), before))
    assert not torch.is_autocast_enabled('cpu')


def test_update_by_hand():
    # y = w x with w = 3, x = 2, target 5: gradient of (6 - 5)^2 is 2 * 1 * 2 = 4; all of it exact in bfloat16.
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 3.0)
    step(model, wrapper_for(model, lr=0.25), torch.tensor([[2.0]]), torch.tensor([[5.0]]))
    assert model.weight.item() == 2.0


@pytest.mark.parametrize('accumulative_counts', [1, 2, 4])
def test_accumulated_gradients_equal_a_big_batch(accumulative_counts):
    # Small integers are exact in bfloat16, so the updates must agree to the bit.
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.0, 4.0], [-2.0, 1.0]])
    y = torch.tensor([[1.0], [0.0], [2.0], [-1.0]])
    weights = {}
    for counts in (1, accumulative_counts):
        model = nn.Linear(2, 1, bias=False)
        nn.init.constant_(model.weight, 2.0)
        wrapper = wrapper_for(model, lr=0.5, accumulative_counts=counts)
        wrapper.initialize_count_status(model, 0, counts)
        for x_part, y_part in zip(x.chunk(counts), y.chunk(counts)):
            assert (model.weight == 2).all()  # until the last part is in
            step(model, wrapper, x_part, y_part)
        weights[counts] = model.weight.detach()
    assert not (weights[1] == 2).any()
    assert weights[accumulative_counts].equal(weights[1])


def test_clipping_and_state():
    # The same gradient of 4 clipped to 1, at a learning rate of 1: 3 - 1. No loss is scaled, so nothing to unscale.
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 3.0)
    wrapper = wrapper_for(model, clip_grad=dict(max_norm=1.0))
    step(model, wrapper, torch.tensor([[2.0]]), torch.tensor([[5.0]]))
    assert model.weight.item() == pytest.approx(2.0, abs=1e-5)
    assert 'loss_scaler' not in wrapper.state_dict()


def test_depthwise_convolutions_stay_in_float32():
    torch.manual_seed(0)
    depthwise = nn.Conv2d(4, 8, 3, padding=1, groups=4)
    grouped = nn.Conv2d(8, 8, 1, groups=2)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), depthwise, grouped)
    seen = {}
    for name, module in dict(depthwise=depthwise, grouped=grouped).items():
        module.register_forward_hook(lambda _, inputs, out, name=name: seen.update({name: (inputs[0], out)}))
    step(model, wrapper_for(model), torch.randn(2, 3, 6, 6), torch.zeros(2, 8, 6, 6))
    inputs, out = seen['depthwise']
    assert inputs.dtype == torch.bfloat16 and out.dtype == torch.float32
    assert seen['grouped'][1].dtype == torch.bfloat16
    assert nn.Conv2d(4, 4, 1, groups=4)(torch.zeros(1, 4, 1, 1)).dtype == torch.float32  # nothing stays switched on
