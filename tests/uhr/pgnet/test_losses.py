import math

import pytest
import torch
from torch import Tensor, tensor

from dsrl_mm.uhr.pgnet.losses import AttentionGuidedLoss, BCEIoULoss, attention_guided_loss, iou_loss, ssim_loss


def image(*rows) -> Tensor:
    return tensor([[rows]], dtype=torch.float32)


ONES = torch.ones(1, 1, 1, 4)


def test_iou_by_hand():
    prob, mask = image([1.0, 0, 1, 0]), image([1.0, 1, 0, 0])
    # One pixel in both, three in either: 1 - 2 / 4.
    assert iou_loss(prob, mask, ONES) == 0.5
    # Without the second pixel, two in either: 1 - 2 / 3.
    torch.testing.assert_close(iou_loss(prob, mask, image([1.0, 0, 1, 1])), tensor(1 / 3))


def test_iou_is_averaged_over_images():
    prob, mask = image([1.0, 0, 1, 0]), image([1.0, 1, 0, 0])
    both = iou_loss(torch.cat([prob, mask]), torch.cat([mask, mask]), ONES.repeat(2, 1, 1, 1))
    assert both == 0.25


def test_bce_iou_by_hand():
    # p = 0.5 on the masks 1 and 0: 0.5 in both and 1.5 in either, 1 - 1.5 / 2.5.
    loss = BCEIoULoss(loss_weight=2.0)(torch.zeros(1, 1, 1, 2), image([1.0, 0.0]))
    torch.testing.assert_close(loss, tensor(2 * (math.log(2) + 0.4)))


def test_soft_masks_are_learned_as_they_are():
    logits = torch.zeros(1, 1, 1, 1, requires_grad=True)
    BCEIoULoss()(logits, image([0.5])).backward()
    # Cross-entropy is least at p = m. IoU: 0.25 in both, 0.75 in either; d/dp = -(0.5 * 1.75 - 1.25 * 0.5) / 1.75^2.
    torch.testing.assert_close(logits.grad.item(), -0.25 / 1.75**2 * 0.25)


def test_class_ids_are_masks_without_the_unlabeled_pixels():
    logits = torch.randn(2, 1, 3, 4)
    ids = torch.randint(2, (2, 3, 4))
    mask = (ids == 1).float().unsqueeze(1)
    valid = torch.randint(2, (2, 1, 3, 4)).float()
    void = ids.where(valid[:, 0].bool(), torch.tensor(255))
    torch.testing.assert_close(BCEIoULoss()(logits, void), BCEIoULoss()(logits, mask, weight=valid))
    torch.testing.assert_close(BCEIoULoss()(logits, ids), BCEIoULoss()(logits, mask))
    assert BCEIoULoss()(logits, void) != BCEIoULoss()(logits, ids)
    weight = torch.rand(2, 3, 4)
    weighted = BCEIoULoss()(logits, mask, weight=valid * weight[:, None])
    torch.testing.assert_close(BCEIoULoss()(logits, void, weight=weight), weighted)
    void_is_background = BCEIoULoss()(logits, void, ignore_index=None)
    torch.testing.assert_close(void_is_background, BCEIoULoss()(logits, mask * valid))


def test_an_image_without_labels_teaches_nothing():
    logits = torch.zeros(1, 1, 2, 2, requires_grad=True)
    loss = BCEIoULoss(ssim_weight=1.0)(logits, torch.full((1, 2, 2), 255))
    loss.backward()
    assert loss == 0 and not logits.grad.any()


def naive_ssim(p: Tensor, m: Tensor, window: int, sigma: float) -> Tensor:
    """1 - SSIM, by its definition at each pixel of (H, W), zeros around the image."""
    height, width = p.shape
    reach = window // 2
    loss = torch.zeros(height, width)
    for y in range(height):
        for x in range(width):
            weights, ps, ms = [], [], []
            for i in range(-reach, reach + 1):
                for j in range(-reach, reach + 1):
                    inside = 0 <= y + i < height and 0 <= x + j < width
                    weights.append(math.exp(-(i * i + j * j) / (2 * sigma**2)))
                    ps.append(p[y + i, x + j].item() if inside else 0.0)
                    ms.append(m[y + i, x + j].item() if inside else 0.0)
            w, ps, ms = (tensor(v, dtype=torch.float64) for v in (weights, ps, ms))
            w = w / w.sum()
            mean_p, mean_m = (w * ps).sum(), (w * ms).sum()
            var_p, var_m = (w * (ps - mean_p) ** 2).sum(), (w * (ms - mean_m) ** 2).sum()
            covariance = (w * (ps - mean_p) * (ms - mean_m)).sum()
            luminance = (2 * mean_p * mean_m + 1e-4) / (mean_p**2 + mean_m**2 + 1e-4)
            loss[y, x] = 1 - luminance * (2 * covariance + 9e-4) / (var_p + var_m + 9e-4)
    return loss.mean()


@pytest.mark.parametrize('options', [dict(window=3, sigma=0.8), {}])
def test_ssim_is_its_definition(options):
    p, m = torch.rand(1, 1, 5, 6), torch.rand(1, 1, 5, 6)
    expected = naive_ssim(p[0, 0], m[0, 0], **dict(window=11, sigma=1.5) | options)
    torch.testing.assert_close(ssim_loss(p, m, torch.ones_like(p), **options), expected, rtol=1e-4, atol=1e-5)
    assert ssim_loss(p, p, torch.ones_like(p)).abs() < 1e-5


def test_ssim_is_an_option_of_the_hybrid_loss():
    logits, mask = torch.randn(1, 1, 8, 8), torch.rand(1, 1, 8, 8)
    added = BCEIoULoss(ssim_weight=0.5)(logits, mask) - BCEIoULoss()(logits, mask)
    torch.testing.assert_close(added, 0.5 * ssim_loss(logits.sigmoid(), mask, torch.ones_like(mask)))


def test_attention_guided_loss_by_hand():
    """Two positions, the first of them in the object: G = [[1, 0], [0, 0]].

    The CNN says 0.5 everywhere, so its pairs are 0.25, and the transformer is right: the weight is 1 + |G - 0.25| / 2.
    """
    mask, cnn, transformer = image([1.0, 0.0]), image([0.0, 0.0]), image([50.0, -50.0])
    cam = torch.zeros(1, 1, 2, 2)
    weights = [1 + 0.75 / 2] + 3 * [1 + 0.25 / 2]
    loss = attention_guided_loss(cam, mask, cnn, transformer, torch.ones_like(mask))
    torch.testing.assert_close(loss, tensor(math.log(2) * sum(weights) / 4))
    # Without the second position, one pair is left, of whatever weight.
    loss = attention_guided_loss(cam, mask, cnn, transformer, image([0.5, 0.0]))
    torch.testing.assert_close(loss, tensor(math.log(2) * 1.375))


def test_both_encoders_errors_weigh_the_attention():
    args = torch.randn(2, 1, 6, 6), torch.rand(2, 1, 2, 3), torch.randn(2, 1, 2, 3), torch.randn(2, 1, 2, 3)
    cam, mask, cnn, transformer = args
    valid = torch.ones_like(mask)
    whole = attention_guided_loss(cam, mask, cnn, transformer, valid)
    torch.testing.assert_close(attention_guided_loss(cam, mask, transformer, cnn, valid), whole)
    assert attention_guided_loss(cam, mask, cnn, cnn, valid) != whole


def test_attention_alone_learns_of_the_attention_guided_loss():
    cam, cnn, transformer = (torch.randn(1, 1, *size, requires_grad=True) for size in ((4, 4), (2, 2), (2, 2)))
    args = cam, torch.rand(1, 1, 2, 2), cnn, transformer, torch.ones(1, 1, 2, 2)
    loss = AttentionGuidedLoss(0.5)(*args)
    loss.backward()
    assert loss == 0.5 * attention_guided_loss(*args)
    assert cam.grad.any() and cnn.grad is None and transformer.grad is None


def test_losses_are_in_float32_under_autocast():
    logits, mask = torch.randn(1, 1, 64, 64).bfloat16(), torch.rand(1, 1, 64, 64)
    cam = torch.randn(1, 1, 16, 16).bfloat16()
    small = [torch.rand(1, 1, 4, 4) for _ in range(4)]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = BCEIoULoss(ssim_weight=1.0)(logits, mask), AttentionGuidedLoss()(cam, *small)
    full = BCEIoULoss(ssim_weight=1.0)(logits.float(), mask), AttentionGuidedLoss()(cam.float(), *small)
    torch.testing.assert_close(half, full)


@pytest.mark.parametrize('make', [BCEIoULoss, AttentionGuidedLoss, lambda w: BCEIoULoss(ssim_weight=w)])
def test_negative_weights_are_refused(make):
    with pytest.raises(ValueError, match='must be a number of at least 0, got -1'):
        make(-1)


@pytest.mark.parametrize(('logits', 'target'), [((1, 2, 4, 4), (1, 4, 4)), ((1, 1, 4, 4), (1, 2, 2))])
def test_other_shapes_are_refused(logits, target):
    with pytest.raises(ValueError, match=r'logits of one channel with a mask of their size.*out_channels=1'):
        BCEIoULoss()(torch.zeros(logits), torch.zeros(target, dtype=torch.long))
