"""The head that teaches the grafting's attention, against the losses of what it is given."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn
from toy import build

from dsrl_mm.uhr.pgnet.losses import AttentionGuidedLoss, BCEIoULoss

GN = dict(type='GN', num_groups=1)


def head(**options) -> nn.Module:
    return build(dict(type='AttentionGuideHead', in_channels=(4, 5, 2), in_index=(0, 1, 2), **options))


def features() -> list[torch.Tensor]:
    """R and S on 3x4 cells, and the attention between all 12 of them, of two heads."""
    return [torch.randn(2, *shape) for shape in ((4, 3, 4), (5, 3, 4), (2, 12, 12))]


def test_the_attention_map_is_made_of_both_directions():
    module, (cnn, transformer, attention) = head().eval(), features()
    logits = module([cnn, transformer, attention])
    assert [part.shape for part in logits] == [(2, 1, 3, 4), (2, 1, 3, 4), (2, 1, 12, 12)]
    assert torch.equal(module([cnn, transformer, attention.transpose(2, 3)])[2], logits[2])
    assert module.cam[:-1](attention).min() == 0  # a ReLU before the last convolution


@pytest.mark.parametrize('ignore_index', [255, 7])
def test_losses_are_those_of_the_mask_on_the_attentions_grid(ignore_index):
    module, ids = head(ignore_index=ignore_index), torch.randint(2, (2, 1, 12, 16))
    ids[..., 3:7, 5:11] = ignore_index
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in ids]
    cnn, transformer, cam = logits = module(features())
    mask, valid = (F.interpolate(x.float(), (3, 4), mode='bilinear') for x in (ids == 1, ids != ignore_index))
    expected = dict(
        loss_bce_iou_cnn=BCEIoULoss()(cnn, mask, weight=valid) / 8,
        loss_bce_iou_transformer=BCEIoULoss()(transformer, mask, weight=valid) / 8,
        loss_attention=AttentionGuidedLoss()(cam, mask, cnn, transformer, valid),
    )
    torch.testing.assert_close(module.loss_by_feat(logits, samples), expected)


def test_options():
    assert any(isinstance(layer, nn.GroupNorm) for layer in head(norm_cfg=GN).cam.modules())
    assert head().threshold == 0.5


def test_weights_start_as_the_authors():
    module = build(dict(type='AttentionGuideHead'))
    module.init_weights()
    assert module.cnn_seg.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)  # Kaiming, of a normal
    assert not module.cnn_seg.bias.any()
