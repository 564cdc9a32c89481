"""Exported files as functions, and in the place of the model."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import toy
from mmengine.registry import init_default_scope
from toy import batch, build, head_cfg, model_cfg, preprocessor_cfg, spread_weights
from uhr.toy_isd import isd_cfg

from dsrl_mm.apis import Runtime, load_runtime
from dsrl_mm.apis.export import Network, peaks
from dsrl_mm.apis.runtime import of_network, use_runtime

META = dict(input='float32', channels=3, batch=1, size=[24, 32], multiple=None, entrance='canvas', output='logits')


class TestRefusals:
    @pytest.mark.parametrize(
        ('meta', 'images', 'message'),
        [
            ({}, np.zeros((1, 3, 24, 32)), r'\(B, C, H, W\) of 3 channels and type float32, not .* of float64'),
            ({}, np.zeros((1, 1, 24, 32), np.float32), 'of 3 channels'),
            ({}, np.zeros((1, 3, 24, 32, 1), np.float32), r'not \(1, 3, 24, 32, 1\) of float32'),
            (dict(input='uint8'), np.zeros((1, 3, 24, 32), np.uint8), r'\(B, H, W, C\) of 3 channels'),
            ({}, np.zeros((2, 3, 24, 32), np.float32), 'one image at a time, not 2.*--dynamic'),
            ({}, np.zeros((1, 3, 24, 33), np.float32), '24x32 pixels .*, not 24x33'),
            (dict(size=None, multiple=32), np.zeros((1, 3, 32, 48), np.float32), 'multiples of 32 pixels, not 32x48'),
            (dict(size=None, multiple=32), np.zeros((1, 3, 0, 32), np.float32), 'multiples of 32 pixels, not 0x32'),
        ],
    )
    def test_images(self, meta, images, message):
        runtime = Runtime(META | meta, lambda images: images)
        with pytest.raises(ValueError, match=message):
            runtime(images)

    def test_images_that_fit(self):
        for meta, shape in (({}, (1, 3, 24, 32)), (dict(batch=None, size=None, multiple=32), (5, 3, 96, 32))):
            images = np.zeros(shape, np.float32)
            assert Runtime(META | meta, lambda images: images)(images) is images

    def test_files_of_others(self, tmp_path):
        with pytest.raises(ValueError, match='ends in .pt2, .onnx, .xml'):
            load_runtime('model.pth')
        with pytest.raises(FileNotFoundError, match='There is no model.onnx. tools/deploy.py'):
            load_runtime('model.onnx')
        program = torch.export.export(torch.nn.Identity(), (torch.zeros(1),))
        torch.export.save(program, tmp_path / 'other.pt2')
        with pytest.raises(ValueError, match='was not written by tools/deploy.py'):
            load_runtime(tmp_path / 'other.pt2')


@pytest.mark.parametrize('suffix', ['.pt2', '.onnx', '.xml'])
def test_files_that_cannot_be_read(tmp_path, suffix):
    file = tmp_path / f'deploy{suffix}'
    with pytest.raises(FileNotFoundError, match=f'There is no {file}'):
        load_runtime(file)
    file.write_bytes(b'nothing')
    with pytest.raises(ValueError, match=f'{file} cannot be read: it is truncated'):
        load_runtime(file)


class TestInPlaceOfTheModel:
    @pytest.mark.parametrize(
        ('low_res', 'decide', 'swaps'),
        [(False, False, True), (True, False, True), (False, True, False), (True, True, True)],
    )
    def test_predicts_what_the_model_does(self, low_res, decide, swaps):
        cfg = model_cfg(head='FCNHead', sr_aux=None, data_preprocessor=preprocessor_cfg(bgr_to_rgb=swaps))
        model = spread_weights(build(cfg)).eval()
        data = batch((47, 63), n=2)
        for image in data['inputs']:  # blocks of one color: their means are bytes, too
            image.copy_(image[:, ::2, ::2].repeat_interleave(2, 1).repeat_interleave(2, 2)[:, :47, :63])
        expected = [sample.pred_sem_seg.data for sample in model.test_step(data)]
        exported = spread_weights(build(cfg | dict(low_res_input=low_res))).eval()
        meta = META | dict(
            input='uint8' if decide else 'float32',
            output='mask' if decide else 'logits',
            size=[24, 32] if low_res else [47, 63],
            entrance='low-res' if low_res else 'canvas',
        )
        fresh = build(cfg, seed=1).eval()
        use_runtime(fresh, of_network(Network(exported, decide), meta))
        found = [sample.pred_sem_seg.data for sample in fresh.test_step(data)]
        assert len(torch.cat(expected).unique()) > 1
        assert (torch.cat(found) == torch.cat(expected)).float().mean() > 0.999  # bytes round what was normalized

    @pytest.mark.parametrize('low_res', [False, True])
    def test_open_sizes_are_padded(self, low_res):
        """By copies of the border, and what the file gives is cropped."""
        cfg = model_cfg(head='FCNHead', sr_aux=None)
        exported = spread_weights(build(cfg | dict(low_res_input=low_res))).eval()
        meta = META | dict(size=None, multiple=32, entrance='low-res' if low_res else 'canvas')
        fresh = build(cfg, seed=1).eval()
        use_runtime(fresh, of_network(Network(exported), meta))
        data = batch((46, 62))
        found = torch.stack([sample.seg_logits.data for sample in fresh.test_step(data)])
        images = fresh.data_preprocessor(data)['inputs']
        if low_res:
            images = fresh.network_input(images)
        padded = F.pad(images, [0, -images.shape[3] % 32, 0, -images.shape[2] % 32], 'replicate')
        with torch.no_grad():
            expected = exported(padded)[..., :46, :62]
        torch.testing.assert_close(found, expected)

    def test_of_a_model_without_logits(self):
        cfg = isd_cfg(test_cfg=dict(mode='whole', keep_logits=False), sr_aux=None)
        model, other = spread_weights(build(cfg)).eval(), build(cfg, seed=1).eval()
        expected = model.test_step(batch())[0].pred_sem_seg.data
        use_runtime(other, of_network(Network(model), META | dict(size=list(toy.SIZE), batch=None)))
        assert torch.equal(other.test_step(batch())[0].pred_sem_seg.data, expected)
        assert len(expected.unique()) > 1

    def test_files_read_the_bytes_of_the_image(self):
        model, seen = build(model_cfg(dsrl=False, head='FCNHead')).eval(), []
        meta = META | dict(input='uint8', size=list(toy.SIZE), output='mask')
        use_runtime(model, Runtime(meta, lambda images: seen.append(images) or images[..., 0] % 5))
        model.test_step(batch(n=1))
        image = batch(n=1)['inputs'][0].flip(0).permute(1, 2, 0)  # R, G, B
        assert torch.equal(torch.from_numpy(seen[0][0]), image)

    def test_masks_of_one_channel(self):
        loss = dict(type='CrossEntropyLoss', use_sigmoid=True)
        model = build(model_cfg(False, head_cfg('FCNHead', num_classes=2, out_channels=1, loss_decode=loss))).eval()
        mask = torch.randint(2, (1, *toy.SIZE))
        use_runtime(model, Runtime(META | dict(size=list(toy.SIZE), output='mask'), lambda _: mask.numpy()))
        assert torch.equal(model.test_step(batch(n=1))[0].pred_sem_seg.data.long(), mask)

    def test_of_another_number_of_classes(self):
        model = build(model_cfg(dsrl=False, head='FCNHead')).eval()
        for output, found, message in (
            ('logits', np.zeros((1, 4, *toy.SIZE), np.float32), 'gives 4 channels, but the config 5'),
            ('mask', np.full((1, *toy.SIZE), 5, np.uint8), 'class id 5, but the config has 5 classes'),
        ):
            runtime = Runtime(META | dict(size=list(toy.SIZE), output=output), lambda _, found=found: found)
            use_runtime(model, runtime)
            with pytest.raises(ValueError, match=message):
                model.test_step(batch())


class TestPoses:
    @pytest.fixture
    def model(self):
        pytest.importorskip('mmpose')
        import toy_pose

        init_default_scope('mmpose')
        return toy_pose.build(toy_pose.model_cfg()).eval()

    def test_in_place_of_the_model(self, model):
        import toy_pose

        model.test_cfg = dict(flip_test=True, flip_mode='heatmap', shift_heatmap=False)
        expected = toy_pose.keypoints(model, toy_pose.batch())
        runtime = of_network(Network(model), META | dict(size=[128, 64], output='heatmaps'))
        other = toy_pose.build(toy_pose.model_cfg(), seed=1).eval()
        other.test_cfg = model.test_cfg
        assert not np.array_equal(toy_pose.keypoints(other, toy_pose.batch()), expected)
        use_runtime(other, runtime)
        np.testing.assert_allclose(toy_pose.keypoints(other, toy_pose.batch()), expected, atol=1e-3)
        with pytest.raises(ValueError, match='Export without --argmax'):
            use_runtime(other, Runtime(META | dict(output='keypoints'), None))

    def test_keypoints_are_the_largest_cells_in_pixels_of_the_crop(self):
        heatmaps = torch.zeros(1, 3, 32, 16)
        heatmaps[0, 0, 5, 7], heatmaps[0, 1, 31, 15], heatmaps[0, 2, 0, 1] = 0.5, 2.0, 1.0
        keypoints = peaks(heatmaps, (4, 4))
        torch.testing.assert_close(keypoints, torch.tensor([[[28.0, 20, 0.5], [60, 124, 2], [4, 0, 1]]]))
