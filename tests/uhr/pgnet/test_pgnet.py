"""PGNet as a whole: sizes, gradients, costs, soft masks."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from toy import batch, build, losses
from toy_pgnet import pgnet, pgnet_cfg

from dsrl_mm.engine.complexity import measure_complexity
from dsrl_mm.engine.loading import for_inference
from dsrl_mm.seg.conversion import build_for_shapes
from dsrl_mm.uhr import BCEIoULoss

BASES = Path(__file__).parents[3] / 'configs' / '_base_' / 'models'
LOSSES = {
    'decode.loss_bce_iou',
    'aux.loss_bce_iou_cnn',
    'aux.loss_bce_iou_transformer',
    'aux.loss_attention',
}


def shipped(name: str) -> torch.nn.Module:
    return build_for_shapes(Config.fromfile(BASES / f'{name}.py').model, 'meta')


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


#: Convolutions of the decoder that a norm follows, without the bias that the authors' have: 29 of 64 channels, CAM's 8.
BIASES = 29 * 64 + 8


def test_costs_are_the_authors():
    """72,719,132 parameters and 142.07 GFLOPs at 1024x1024, counted in the authors' code, less what is left out.

    Left out in inference: CAM, 8 to 8 and 8 to 1 channels over 784 x 784 pairs, and two masks of 28x28.
    """
    model = shipped('pgnet_swin-b')
    assert count(model.backbone.transformer) == 59_436_664
    assert count(model.backbone.cnn) == 11_176_512
    assert count(model) == 72_719_132 - BIASES
    assert count(model.neck.graft) == 91_608 - 600 - 2 * 64  # without CAM and biases
    training_only = 600 - 8 + 73 + 2 * 577
    assert count(model.auxiliary_head) == training_only
    cost = measure_complexity(model, (1024, 1024))
    assert cost.params == 72_719_132 - BIASES - training_only and cost.training_params == training_only
    cam, masks = 2 * 9 * (8 * 8 + 8) * 784**2, 2 * 2 * 9 * 64 * 28**2
    assert (cost.flops + cam + masks) / 1e9 == pytest.approx(142.07, abs=0.005)


def test_swin_t_is_a_third_of_it():
    model = shipped('pgnet_swin-t')
    assert count(model.backbone.transformer) == 12_151_242
    assert count(model) == pytest.approx(25.3e6, rel=0.01)


@pytest.fixture(scope='module')
def model():
    return pgnet()


@pytest.mark.parametrize('size', [(48, 64), (49, 65), (33, 100), (20, 20)])
def test_any_size(model, size):
    data = batch(size, n=1, classes=2)
    with torch.no_grad():
        sample = model.eval().test_step(data)[0]
        logits = model(torch.randn(1, 3, *size))
    assert sample.pred_sem_seg.data.shape == sample.seg_logits.data.shape == (1, *size)
    assert sample.seg_logits.data.min() >= 0 and sample.seg_logits.data.max() <= 1  # the sigmoid
    assert torch.equal(sample.pred_sem_seg.data, (sample.seg_logits.data > 0.5).float())
    assert logits.shape == (1, 1, *(-(-side // 4) for side in size))


def test_every_parameter_learns():
    size, model = (49, 65), pgnet()
    model.data_preprocessor.sizes = [size]
    for parameter in model.parameters():  # residuals start at 0, and pass no gradient on at the first step
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    found = losses(model.train(), batch(size, classes=2))
    assert set(found) == LOSSES
    sum(found.values()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_inference_needs_no_training_only_part(model):
    cfg = for_inference(Config(dict(model=pgnet_cfg())).model)
    slim = build(cfg, seed=1)
    left = slim.load_state_dict(model.state_dict(), strict=False)
    assert not left.missing_keys and all(key.startswith('auxiliary_head.') for key in left.unexpected_keys)
    image = torch.randn(1, 3, 48, 64)
    with torch.no_grad():
        assert torch.equal(slim.eval()(image), model.eval()(image))


def test_unlabeled_pixels_teach_nothing(model):
    model.train()
    data, other = batch(classes=2), batch(classes=2)
    for sample in other['data_samples']:
        label = sample.gt_sem_seg.data
        sample.gt_depth_map = PixelData(data=torch.where(label == 255, 0.7, (label == 1).float()))
    with torch.no_grad():
        torch.testing.assert_close(losses(model, data), losses(model, other))


def test_soft_masks_are_learned(model):
    model.train()
    data = batch(classes=2)
    for sample in data['data_samples']:
        sample.gt_sem_seg.data.clamp_(max=1)
        sample.gt_depth_map = PixelData(data=torch.full((1, *sample.gt_sem_seg.shape), 0.5))
    found = losses(model, data)['decode.loss_bce_iou']
    data = model.data_preprocessor(data, True)
    logits = torch.nn.functional.interpolate(model(data['inputs']), data['inputs'].shape[-2:], mode='bilinear')
    half = torch.full_like(logits, 0.5)
    torch.testing.assert_close(found, BCEIoULoss()(logits, half))


@pytest.mark.parametrize('head', ['decode_head', 'auxiliary_head'])
@pytest.mark.parametrize('wrong', [dict(num_classes=3), dict(out_channels=2)])
def test_other_classes_are_refused(head, wrong):
    cfg = pgnet_cfg()
    with pytest.raises(ValueError, match='set num_classes=2 and out_channels=1'):
        build(cfg | {head: cfg[head] | wrong})


def test_a_missing_input_is_refused():
    with pytest.raises(ValueError, match=r'7 numbers, but got \(8, 16\)'):
        build(dict(type='PGHead', in_channels=(8, 16)))
