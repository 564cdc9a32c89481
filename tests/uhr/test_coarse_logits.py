"""``keep_logits=False``: the stock predictions, in little memory."""

import json
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmseg.structures import SegDataSample
from toy import batch, build, head_cfg, spread_weights
from toy_data import start_process

from dsrl_mm.uhr.coarse_logits import coarse_logits, enlarged_labels

from .toy_isd import isd_cfg

SLIDE = dict(mode='slide', crop_size=(64, 64), stride=(32, 48))


def trained(**test_cfg):
    return spread_weights(build(isd_cfg(test_cfg=test_cfg))).eval()


class TestWindows:
    @pytest.mark.parametrize(
        ('stride', 'expected'),
        [
            (4, [1, 1.5, 2.5, 3.5, 4]),  # windows start at columns 0, 4, 8 and 12
            (8, [1, 1, 2, 2.5, 3]),  # at columns 0, 8, and 12, where the last one ends with the canvas
        ],
    )
    def test_average_by_hand(self, stride, expected):
        """Cells of 4 pixels; the network says the window's number. The canvas is padded to 8x20, or 2x5 cells."""
        canvas, seen = torch.ones(1, 1, 7, 20), []

        def network(window):
            seen.append(tuple(window.shape[-2:]))
            return torch.full((1, 1, 2, 2), float(len(seen)))

        assert coarse_logits(network, canvas, 4, (8, 8), (8, stride)).tolist() == [[[expected] * 2]]
        assert set(seen) == {(7, 8)}

    def test_windows_larger_than_the_canvas(self):
        logits = coarse_logits(lambda window: torch.ones(1, 3, 2, 3), torch.ones(1, 1, 7, 10), 4, (64, 64), (32, 32))
        assert torch.equal(logits, torch.ones(1, 3, 2, 3))


class TestLabels:
    LOGITS = torch.randn(3, 12, 20, generator=torch.Generator().manual_seed(0))

    @pytest.mark.parametrize(
        ('box', 'size'),
        [
            ((0, 0, 96, 160), (96, 160)),
            ((0, 0, 90, 155), (90, 155)),  # padded on the right and below
            ((3, 5, 90, 150), (90, 150)),
        ],
    )
    def test_are_those_of_enlarged_logits(self, box, size):
        top, left, height, width = box
        whole = F.interpolate(self.LOGITS[None], (96, 160), mode='bilinear')[0, :, top : top + height, left:]
        labels = enlarged_labels(self.LOGITS, (96, 160), box, size, 0.5)
        assert torch.equal(labels[0], whole[..., :width].argmax(0))

    def test_of_another_size_are_sampled_at_the_pixels_centers(self):
        """An image at half of the canvas's size: each pixel's center is a corner of four of the canvas's."""
        whole = F.interpolate(self.LOGITS[None], (192, 320), mode='bilinear')[0]
        labels = enlarged_labels(self.LOGITS, (192, 320), (0, 0, 192, 320), (96, 160), 0.5)
        direct = F.interpolate(self.LOGITS[None], (96, 160), mode='bilinear')[0]
        assert whole.shape[1] == 2 * labels.shape[1]
        assert torch.equal(labels[0], direct.argmax(0))

    def test_half_precision_is_enlarged_in_float32(self):
        half, args = self.LOGITS.half(), ((96, 160), (0, 0, 96, 160), (96, 160), 0.5)
        assert torch.equal(enlarged_labels(half, *args), enlarged_labels(half.float(), *args))

    def test_one_channel(self):
        labels = enlarged_labels(self.LOGITS[:1], (96, 160), (0, 0, 96, 160), (96, 160), 0.7)
        probability = F.interpolate(self.LOGITS[None, :1], (96, 160), mode='bilinear')[0].sigmoid()
        assert torch.equal(labels, (probability > 0.7).long())


class TestPredictions:
    @pytest.mark.parametrize('size', [(64, 96), (61, 100)])
    def test_whole_images_are_those_of_the_stock_form(self, size):
        stock, frugal = (trained(mode='whole', keep_logits=keep) for keep in (True, False))
        expected, got = (model.test_step(batch(size))[1] for model in (stock, frugal))
        assert torch.equal(got.pred_sem_seg.data, expected.pred_sem_seg.data)
        assert len(got.pred_sem_seg.data.unique()) > 1
        assert 'seg_logits' not in got and 'gt_sem_seg' in got

    def test_overlapping_windows(self):
        """Windows at columns 0 and 48 of a canvas padded to 64x112: logits are averaged where both are."""
        data, model = batch((60, 100), n=1), trained(**SLIDE, keep_logits=False)
        canvas = model.data_preprocessor(data)['inputs']
        left, right = (model.decode_head(model.extract_feat(canvas[..., x : x + 64])) for x in (0, 48))
        logits = torch.cat([left[..., :6], (left[..., 6:] + right[..., :2]) / 2, right[..., 2:]], -1)
        expected = F.interpolate(logits, (64, 112), mode='bilinear')[0, :, :60, :100].argmax(0)
        assert torch.equal(model.test_step(data)[0].pred_sem_seg.data[0], expected)

    def test_images_of_another_size(self):
        data = batch((64, 96), n=1)
        data['data_samples'][0].set_metainfo(dict(ori_shape=(32, 48)))
        assert trained(mode='whole', keep_logits=False).test_step(data)[0].pred_sem_seg.data.shape == (1, 32, 48)

    @pytest.mark.parametrize('key', ['img_padding_size', 'padding_size'])
    def test_padding_is_cut_off(self, key):
        """Of an image of 50x80, 3 columns on the left, 13 on the right, 4 rows above and 10 below."""
        stock, frugal = (trained(mode='whole', keep_logits=keep) for keep in (True, False))
        canvas, metas = torch.randn(1, 3, 64, 96), {'ori_shape': (50, 80), key: (3, 13, 4, 10)}
        expected, got = (
            model(canvas, [SegDataSample(metainfo=metas)], mode='predict')[0].pred_sem_seg.data
            for model in (stock, frugal)
        )
        assert got.shape == (1, 50, 80) and torch.equal(got, expected)
        assert len(got.unique()) > 1

    def test_without_metas(self):
        (result,) = trained(mode='whole', keep_logits=False)(torch.randn(1, 3, 50, 70), mode='predict')
        assert result.pred_sem_seg.data.shape == (1, 50, 70)

    def test_no_augmentation(self):
        data = batch((64, 96), n=1)
        data['data_samples'][0].set_metainfo(dict(flip=True, flip_direction='horizontal'))
        with pytest.raises(ValueError, match='Test-time augmentation needs logits'):
            trained(mode='whole', keep_logits=False).test_step(data)

    @pytest.mark.parametrize('key', ['crop_size', 'stride'])
    def test_windows_must_fit_the_grid(self, key):
        test_cfg = SLIDE | {key: (64, 40)}
        with pytest.raises(ValueError, match=rf'test_cfg.{key} is \(64, 40\), .* multiples of 16'):
            build(isd_cfg(test_cfg=test_cfg | dict(keep_logits=False)))
        build(isd_cfg(test_cfg=test_cfg))  # as they like, with logits

    def test_windows_must_cover_the_canvas(self):
        test_cfg = dict(mode='slide', crop_size=(64, 64), stride=(64, 80), keep_logits=False)
        with pytest.raises(ValueError, match=r'leave pixels out. Set test_cfg.stride, \(64, 80\), to at most'):
            build(isd_cfg(test_cfg=test_cfg))

    def test_corners_must_not_be_aligned(self):
        head = head_cfg('FCNHead', align_corners=True)
        with pytest.raises(ValueError, match='needs a deep head with align_corners=False'):
            build(isd_cfg(head, test_cfg=dict(mode='whole', keep_logits=False)))


def peak(model, side: int) -> int:
    """Bytes by which a prediction raises this process's resident memory at most, besides the image."""
    image = torch.zeros(1, 3, side, side)
    Path('/proc/self/clear_refs').write_text('5')  # resets the peak to what is resident now
    before = resident('VmRSS')
    model(image, mode='predict')
    return resident('VmHWM') - before


def resident(name: str) -> int:
    return 1024 * int(re.search(rf'{name}:\s+(\d+) kB', Path('/proc/self/status').read_text())[1])


def write_peaks(file: Path, classes: int, side: int, keep_logits: bool) -> None:
    init_default_scope('mmseg')
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    slide = dict(mode='slide', crop_size=(128, 128), stride=(128, 128), keep_logits=keep_logits)
    model = build(isd_cfg(head_cfg('FCNHead', num_classes=classes), test_cfg=slide, sr_aux=None)).eval()
    # The least of three: allocators keep more of what is freed in some runs than in others.
    file.write_text(json.dumps([peak(model, 128), min(peak(model, side) for _ in range(3))]))


def test_memory(tmp_path):
    """In a process of its own: no more than a window's activations, logits at 1/8 and the prediction."""
    classes, side, file = 50, 1024, tmp_path / 'peaks.json'
    process = start_process(write_peaks, file, classes, side, False)
    process.join(600)
    window, large = json.loads(file.read_text())
    logits, labels = 4 * classes * (side // 8) ** 2, 8 * side**2
    strip = 4 * classes * 64 * side
    assert window > 2**20  # it measures
    assert large < window + logits + labels + 2 * strip + 2**23
    assert large < 4 * classes * side**2 / 4  # a quarter of the logits of the image's size
