"""The network that is exported, its options, and the comparison with PyTorch."""

import sys
from io import BytesIO

import cv2
import numpy as np
import pytest
import torch
import toy
from mmengine.config import Config
from timm.layers import Conv2dSame
from torch import nn
from toy import batch, build, model_cfg, preprocessor_cfg, spread_weights
from toy_models import write_pose_model

from dsrl_mm.apis import ExportOptions, build_deploy_model, export_files, save_deploy
from dsrl_mm.apis.export import Network, _MatrixPool, _SameConv, export_program
from dsrl_mm.apis.export_files import _Images, _multiple, check_parity
from dsrl_mm.apis.runtime import Runtime


@pytest.mark.parametrize('cells', [2, 3, 6, (1, 4), (None, 3)])
def test_adaptive_pooling_as_matrices(cells):
    for size in ((6, 12), (7, 11), (23, 30), (4, 5)):
        x = torch.randn(2, 3, *size)
        torch.testing.assert_close(_MatrixPool(cells)(x), nn.AdaptiveAvgPool2d(cells)(x))


class TestSameConvolution:
    """timm's, whose padding depends on the image's size."""

    @pytest.mark.parametrize('options', [dict(stride=2), dict(stride=(3, 1)), dict(stride=2, dilation=3, groups=3)])
    def test_numbers(self, options):
        conv = Conv2dSame(3, 6, (3, 5), **options)
        for height, width in ((8, 8), (9, 12), (10, 7)):
            x = torch.randn(2, 3, height, width)
            assert torch.equal(_SameConv(conv)(x), conv(x))

    def test_sizes_stay_open(self):
        network = nn.Sequential(*(Conv2dSame(3, 3, 3, stride=2) for _ in range(3)))
        program = export_program(network, (32, 32), multiple=32)
        torch.export.save(program, BytesIO())  # which it cannot with sizes that are computed in floats
        x = torch.randn(1, 3, 96, 32)
        torch.testing.assert_close(program.module()(x), network(x))


class TestNetwork:
    @pytest.mark.parametrize('swaps', [True, False])
    def test_bytes_give_the_masks_that_the_model_predicts(self, swaps):
        cfg = model_cfg(head='FCNHead', data_preprocessor=preprocessor_cfg(bgr_to_rgb=swaps))
        model = spread_weights(build(cfg)).eval()
        data = batch((47, 63))
        images = torch.stack(data['inputs']).flip(1).permute(0, 2, 3, 1)  # RGB, as people have them
        with torch.no_grad():
            masks = Network(model, decide=True)(images)
        assert masks.dtype == torch.uint8
        expected = torch.stack([sample.pred_sem_seg.data[0] for sample in model.test_step(data)])
        assert len(expected.unique()) > 1
        assert torch.equal(masks.long(), expected)

    def test_one_channel_has_a_threshold(self):
        head = toy.head_cfg('FCNHead', num_classes=2, out_channels=1, threshold=0.6)
        model = spread_weights(build(model_cfg(dsrl=False, head=head))).eval()
        model.encode_decode = lambda images, metas: torch.tensor([0.4, 0.41]).view(1, 1, 1, 2)  # sigmoid(0.4055) = 0.6
        assert Network(model, decide=True)(torch.zeros(1, 1, 2, 3, dtype=torch.uint8)).tolist() == [[[0, 1]]]

    def test_more_classes_than_a_byte_holds(self):
        model = build(model_cfg(dsrl=False, head=toy.head_cfg('FCNHead', num_classes=257)))
        with pytest.raises(ValueError, match='--argmax: 257 classes do not fit a byte'):
            Network(model, decide=True)

    def test_poses_without_one_heatmap_for_each_keypoint(self, tmp_path, monkeypatch):
        config, checkpoint = write_pose_model(tmp_path)
        model = build_deploy_model(Config.fromfile(config), checkpoint)
        monkeypatch.setattr(model.head, 'forward', lambda feats: [feats, feats])  # as heads of several stages do
        with pytest.raises(ValueError, match='one heatmap for each keypoint, which HeatmapHead does not give'):
            Network(model)(torch.zeros(1, 3, 64, 32))
        model.head.decoder.heatmap_type = 'combined'
        with pytest.raises(ValueError, match='which MSRAHeatmap does not give'):
            Network(model)

    def test_a_cascade_of_heads(self):
        last = dict(in_channels=[toy.CHANNELS[-1]], in_index=[3], channels=16, num_fcs=1)
        heads = [toy.head_cfg('FCNHead'), dict(type='PointHead', num_classes=toy.NUM_CLASSES, **last)]
        model = model_cfg(dsrl=False) | dict(type='CascadeEncoderDecoder', num_stages=2, decode_head=heads)
        del model['scale_factor']
        with pytest.raises(ValueError, match='CascadeEncoderDecoder is a cascade of heads, such as PointRend, which'):
            Network(build(model))


class TestOptions:
    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            (dict(size=(48, 64)), 'name them with --format'),
            (dict(formats=['pt2'], size=(0, 64)), '--size and --calib-images are at least 1'),
            (dict(formats=['onnx'], precision='int8', image_dir='x', calibration=0), 'are at least 1'),
            (dict(formats=['pt2'], verify=-1), '--verify at least 0'),
            (dict(formats=['pt2'], precision='int8', image_dir='x'), 'not for pt2'),
            (dict(formats=['onnx'], precision='int8'), 'name a folder by --calib-dir'),
        ],
    )
    def test_that_do_not_fit(self, options, message):
        with pytest.raises(ValueError, match=message):
            ExportOptions(**options)

    def test_multiples_are_of_the_network_input(self):
        assert _multiple(build(model_cfg(sr_aux=None))) == 64
        assert _multiple(build(model_cfg(sr_aux=None, low_res_input=True))) == 32
        assert _multiple(nn.Identity()) == 32  # a stock segmentor


COLOR = dict(channels=3, input='uint8', loading=dict(flag='color'))


class TestImages:
    def test_are_spread_over_the_files(self):
        assert _Images(list('abcdefgh'), (2, 2), 4, COLOR, None).files == list('aceg')

    def test_that_cannot_be_read_are_named_before_an_export(self, tmp_path, monkeypatch):
        """A file is not what an export fails for that leaves sizes open, so there is no other try."""
        for i in range(4):
            cv2.imwrite(str(tmp_path / f'{i}.png'), np.zeros((8, 8, 3), np.uint8))
        (tmp_path / '2.png').write_bytes((tmp_path / '2.png').read_bytes()[:50])
        monkeypatch.setattr(export_files, 'export_program', None)
        cfg = Config(dict(model=model_cfg(dsrl=False), crop_size=toy.SIZE))
        for options in (dict(verify=1), dict(verify=0, precision='int8', calibration=3)):
            options = ExportOptions(['onnx'], dynamic=True, image_dir=tmp_path, **options)
            with pytest.raises(ValueError, match='--calib-dir: .*2.png is no image of 3 channels'):
                export_files.export_files(cfg, build(cfg.model.to_dict()), {}, tmp_path, options)

    def test_are_red_green_blue(self, tmp_path):
        cv2.imwrite(str(tmp_path / 'a.png'), np.full((4, 4, 3), (10, 20, 30), np.uint8))  # B, G, R
        assert _Images([tmp_path / 'a.png'], (2, 2), 1, COLOR, lambda image: image)[0][0, 1, 1].tolist() == [30, 20, 10]

    def test_are_read_as_the_config_does(self, tmp_path):
        """Also of 16 bits, unless the file takes bytes."""
        cv2.imwrite(str(tmp_path / 'a.png'), np.full((4, 4, 3), 40_000, np.uint16))
        meta = COLOR | dict(loading=dict(flag='unchanged'))
        found = _Images([tmp_path / 'a.png'], (2, 2), 1, meta | dict(input='float32'), lambda image: image)
        assert (found[0] == 40_000).all()
        with pytest.raises(ValueError, match='a.png is no image of 3 channels of bytes'):
            _Images([tmp_path / 'a.png'], (2, 2), 1, meta, None)[0]

    def test_are_random_without(self):
        images = _Images([], (48, 64), 2, COLOR, lambda image: image)
        assert {image.shape for image in images} == {(1, 48, 64, 3)}
        assert not np.array_equal(images[0], images[1])
        assert np.array_equal(images[0], images[0])


@pytest.mark.parametrize(
    ('package', 'formats', 'precision', 'extra'),
    [
        ('onnx', 'pt2 onnx', 'float32', 'export'),
        ('onnxscript', 'openvino', 'float32', 'export'),
        ('onnxruntime', 'onnx', 'float16', 'export'),
        ('openvino', 'openvino', 'float32', 'export'),
        ('nncf', 'openvino', 'int8', 'nncf'),
    ],
)
def test_a_missing_package_is_named_before_an_export(package, formats, precision, extra, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(export_files, 'export_program', None)
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((8, 8, 3), np.uint8))
    cfg = Config(dict(model=model_cfg(dsrl=False), crop_size=toy.SIZE))
    options = ExportOptions(formats.split(), dynamic=True, precision=precision, image_dir=tmp_path)
    with pytest.raises(ImportError, match=rf'^{package} is not installed. .*dsrl_mm\[{extra}\]'):
        export_files.export_files(cfg, build(cfg.model.to_dict()), {}, tmp_path, options)


class TestParity:
    meta = dict(input='float32', channels=1, batch=1, size=[2, 5], task='segmentation', output='logits')
    logits = np.array([[[[0, 1, 2, 3, 4]] * 2, [[2.5] * 5] * 2]], np.float32)

    def compare(self, other: np.ndarray, precision: str = 'float32') -> str:
        meta = dict(self.meta, precision=precision)
        runtimes = (Runtime(meta, lambda _, result=result: result) for result in (self.logits, other))
        return check_parity(*runtimes, [np.zeros((1, 1, 2, 5), np.float32)])

    def test_counts_pixels_and_measures_the_difference(self):
        other = self.logits + np.float32(0.002)
        assert self.compare(other) == '100.00 % of pixels agree, the largest difference is 2.0e-03 of 4'

    @pytest.mark.parametrize('precision', ['float32', 'float16', 'int8'])
    def test_another_class(self, precision):
        other = self.logits.copy()
        other[0, 0, 0, 2] = 2.6
        with pytest.raises(RuntimeError, match='90.00 % of pixels agree.* It was not kept'):
            self.compare(other, precision)

    def test_one_size_alone(self):
        """Small images of another size do not drown in the pixels of large ones."""
        meta = dict(self.meta, size=None, multiple=1, precision='float32', output='mask')
        large, small = (np.zeros((1, 1, 1, side), np.float32) for side in (100000, 5))
        runtimes = (Runtime(meta, lambda x, add=add: (x + add * (x.shape[3] == 5))[0]) for add in (0, 1))
        with pytest.raises(RuntimeError, match=' 0.00 % of pixels agree'):
            check_parity(*runtimes, [large, small])

    def test_one_channel_is_decided_by_its_threshold(self):
        meta = dict(self.meta, precision='int8', threshold=0.3)  # of sigmoid(-0.847)
        runtimes = (Runtime(meta, lambda x, value=value: np.full_like(x, value)) for value in (-0.84, -0.86))
        with pytest.raises(RuntimeError, match=' 0.00 % of pixels agree'):
            check_parity(*runtimes, [np.zeros((1, 1, 2, 5), np.float32)])

    def test_another_scale_of_the_same_classes(self):
        with pytest.raises(RuntimeError, match='100.00 % of pixels agree, the largest difference is 4.0e-01 of 4'):
            self.compare(1.1 * self.logits)
        self.compare(1.1 * self.logits, 'int8')

    def test_not_a_number(self):
        with pytest.raises(RuntimeError, match='the largest difference is nan'):
            self.compare(np.full_like(self.logits, np.nan))

    def test_nothing_is_left_of_a_wrong_file(self, tmp_path, monkeypatch):
        cfg = Config(dict(model=model_cfg(dsrl=False, head='FCNHead')))
        torch.save(spread_weights(build(cfg.model.to_dict())).state_dict(), tmp_path / 'trained.pth')
        monkeypatch.setattr('dsrl_mm.apis.export_files._BOUNDS', dict(float32=(-1, 0)))
        with pytest.raises(RuntimeError, match='does not compute what PyTorch does'):
            save_deploy(cfg, tmp_path / 'trained.pth', tmp_path / 'out', export=ExportOptions(['pt2'], toy.SIZE))
        assert not (tmp_path / 'out').exists()
