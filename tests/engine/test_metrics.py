from math import log10

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import METRICS

from dsrl_mm.engine import SRMetric
from dsrl_mm.engine.metrics import with_sr_metric


def evaluate(*pairs, **kwargs):
    """Metrics of (canvas, rebuilt image) pairs, both (3, H, W)."""
    metric = METRICS.build(dict(type='SRMetric', **kwargs))
    for canvas, rebuilt in pairs:
        metric.process(dict(inputs=[canvas]), [dict(sr_img=dict(data=rebuilt))])
    return metric.evaluate(len(pairs))


def gray(value, size=(24, 20), dtype=torch.uint8):
    return torch.full((3, *size), value, dtype=dtype)


def noise(size=(24, 20), seed=0):
    return torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def noisy_pair():
    """A canvas, and what a branch might make of it."""
    canvas = noise()
    error = 20 * torch.randn(canvas.shape, generator=torch.Generator().manual_seed(1))
    return canvas, (canvas + error).clamp(0, 255)


def ssim(x, y):
    """SSIM of Wang et al. (2004), eq. 13, by NumPy: the mean over channels and pixels, borders mirrored."""
    taps = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(taps, taps) / taps.sum() ** 2

    def mean(image):
        image = np.pad(image, ((0, 0), (5, 5), (5, 5)), mode='reflect')
        patches = np.lib.stride_tricks.sliding_window_view(image, (11, 11), axis=(1, 2))
        return (patches * window).sum((-2, -1))

    x, y, c1, c2 = x.double().numpy(), y.double().numpy(), (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    return ((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()


def test_constant_images_by_hand():
    # An error of 10 everywhere: PSNR = 10 log10(255^2 / 100) = 28.13 dB. No variance, so SSIM is its luminance term, up
    # to what float32 leaves of the variance of flat images.
    metrics = evaluate((gray(100), gray(110.0, dtype=torch.float32)))
    assert set(metrics) == {'sr/PSNR', 'sr/SSIM'}
    c1 = (0.01 * 255) ** 2
    assert metrics['sr/PSNR'] == pytest.approx(10 * log10(255**2 / 100), abs=1e-4)
    assert metrics['sr/SSIM'] == pytest.approx((2 * 100 * 110 + c1) / (100**2 + 110**2 + c1), abs=5e-4)


def test_noise_by_an_independent_formula():
    canvas, rebuilt = noisy_pair()
    metrics = evaluate((canvas, rebuilt))
    square_error = (rebuilt.double() - canvas.double()).square().mean().item()
    assert metrics['sr/PSNR'] == pytest.approx(10 * log10(255**2 / square_error), abs=1e-3)
    assert metrics['sr/SSIM'] == pytest.approx(ssim(canvas, rebuilt), abs=1e-4)


def test_average_is_over_images_of_any_size():
    # Errors of 1 and of 10: the mean of 48.13 and 28.13 dB, not the PSNR of the mean square.
    metrics = evaluate(
        (gray(100), gray(101.0, dtype=torch.float32)),
        (gray(100, (40, 64)), gray(110.0, (40, 64), dtype=torch.float32)),
    )
    assert metrics['sr/PSNR'] == pytest.approx(20 * log10(255) - 10, abs=1e-4)


def test_prediction_is_clipped():
    # 280 is shown as 255: an error of 5. -30 is shown as 0: none. 10 log10(255^2 / 12.5) over both halves.
    canvas, rebuilt = gray(250), gray(280.0, dtype=torch.float32)
    canvas[:, :12], rebuilt[:, :12] = 0, -30
    assert evaluate((canvas, rebuilt))['sr/PSNR'] == pytest.approx(10 * log10(255**2 / 12.5), abs=1e-4)


def test_padding_of_the_preprocessor_is_left_out():
    canvas = noise()
    padded = torch.zeros(3, 32, 32)
    padded[:, :24, :20] = canvas
    assert evaluate((canvas, padded + 1))['sr/PSNR'] > 48


def test_reference_is_what_the_network_reads_enlarged():
    # Columns of 0 and 255 in pairs that the network's pixels cover exactly. Enlarged, the two pixels between neighbors
    # are a quarter of the way to the other, 63.75 off, but for the first column and the last.
    canvas = torch.zeros(3, 24, 20, dtype=torch.uint8)
    canvas[..., 2::4] = canvas[..., 3::4] = 255
    metrics = evaluate((canvas, canvas.float() - 1), scale_factor=2)
    assert metrics['sr/PSNR_enlarged'] == pytest.approx(10 * log10(255**2 / (63.75**2 * 18 / 20)), abs=1e-4)
    enlarged = torch.where(canvas > 0, 191.25, 63.75)
    enlarged[..., 0], enlarged[..., -1] = 0, canvas[..., -1]
    assert metrics['sr/SSIM_enlarged'] == pytest.approx(ssim(canvas, enlarged), abs=1e-4)
    assert metrics['sr/PSNR'] > metrics['sr/PSNR_enlarged']


def test_reference_of_a_canvas_that_the_factor_does_not_divide():
    # The border is repeated, not filled with black, so a gray image stays one.
    metrics = evaluate((gray(100, (25, 23)), gray(101.0, (25, 23), torch.float32)), scale_factor=3)
    assert metrics['sr/PSNR_enlarged'] > 100


def test_reference_needs_a_factor_that_reduces():
    with pytest.raises(ValueError, match='scale_factor must be an integer of at least 2, got 1'):
        SRMetric(scale_factor=1)


def test_prefix_and_batches_through_the_evaluator():
    evaluator = Evaluator([dict(type='SRMetric', prefix='rebuilt')])
    canvases = torch.stack([gray(100), gray(100)])
    samples = [dict(sr_img=dict(data=gray(value, dtype=torch.float32))) for value in (101.0, 110.0)]
    evaluator.process(samples, dict(inputs=canvases))
    metrics = evaluator.evaluate(2)
    assert metrics['rebuilt/PSNR'] == pytest.approx(20 * log10(255) - 10, abs=1e-4)


def test_model_that_rebuilds_nothing():
    with pytest.raises(KeyError, match='with_sr=True'):
        SRMetric().process(dict(inputs=[noise()]), [dict(pred_sem_seg=None)])


@pytest.mark.parametrize('white', [1.0, 255.0, 4095.0])
def test_the_same_images_in_other_units_are_as_similar(white):
    canvas, rebuilt = noisy_pair()
    expected = evaluate((canvas, rebuilt), scale_factor=2)
    found = evaluate((canvas / 255 * white, rebuilt / 255 * white), scale_factor=2, data_range=white)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(('unit', 'white'), [(1 / 255, 255), (16, 255), (1, 1), (1, 65535)])
def test_images_of_another_range_are_refused(unit, white):
    canvas = noise().float() * unit
    with pytest.raises(ValueError, match=r'do not fit data_range=.*type="SRMetric", data_range='):
        evaluate((canvas, canvas), data_range=white)


def test_negative_values_are_refused():
    with pytest.raises(ValueError, match=r'from -1\) *, which do not fit'):
        evaluate((gray(-1.0, dtype=torch.float32), gray(-1.0, dtype=torch.float32)), data_range=1)


def test_a_night_among_days_passes():
    assert evaluate((gray(2), gray(2.0)), (gray(200), gray(200.0)))['sr/SSIM'] == pytest.approx(1)
    assert evaluate((gray(0), gray(0.0)))['sr/SSIM'] == pytest.approx(1)


def test_a_listed_metric_keeps_its_range():
    listed = [dict(type='IoUMetric'), dict(type='SRMetric', data_range=1)]
    assert with_sr_metric(listed, 2) == [listed[0], dict(type='SRMetric', data_range=1, scale_factor=2)]
    assert with_sr_metric(listed[:1], 2) == [listed[0], dict(type='SRMetric', scale_factor=2)]
