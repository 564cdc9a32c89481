import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from toy import head_cfg, model_cfg
from toy_models import CLASSES, PALETTE, PIPELINE, write_model, write_pose_model
from toy_pgnet import pgnet_cfg
from uhr.toy_isd import isd_cfg

from dsrl_mm.apis import Inferencer, save_deploy
from dsrl_mm.apis.inferencer import batches, find_model

FRAME = (24, 32)


def picture(size=(48, 64), seed=0):
    return np.random.default_rng(seed).integers(256, size=(*size, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp('trained'))


@pytest.fixture(scope='module')
def inferencer(trained):
    return Inferencer(*trained, device='cpu', batch_size=2)


@pytest.fixture(scope='module')
def deployed(trained, tmp_path_factory):
    """A folder of tools/deploy.py for low-resolution frames."""
    folder = tmp_path_factory.mktemp('deployed')
    cfg = Config.fromfile(trained[0])
    cfg.crop_size = picture().shape[:2]
    save_deploy(cfg, trained[1], folder, low_res_input=True)
    return folder


class TestSegmentation:
    def test_is_what_mmsegmentation_predicts(self, tmp_path):
        steps = [PIPELINE[0], dict(type='Resize', scale=(64, 48), keep_ratio=True), *PIPELINE[1:]]
        files = write_model(tmp_path, test_pipeline=steps)
        cv2.imwrite(str(tmp_path / 'a.png'), picture((60, 80)))
        stock = init_model(*map(str, files), device='cpu')
        expected = inference_model(stock, str(tmp_path / 'a.png')).pred_sem_seg.data[0].numpy()
        prediction = Inferencer(*files, device='cpu')(tmp_path / 'a.png')
        assert prediction.mask.dtype == np.uint8 and prediction.mask.shape == (60, 80)
        assert len(np.unique(expected)) > 1
        assert (prediction.mask == expected).all()
        assert prediction.probability is None and prediction.keypoints is None

    def test_classes_and_colors(self, inferencer):
        assert inferencer.meta == dict(classes=list(CLASSES), palette=PALETTE)

    def test_without_names_and_colors(self, trained, tmp_path):
        torch.save(torch.load(trained[1], weights_only=True)['state_dict'], tmp_path / 'bare.pth')
        meta = Inferencer(trained[0], tmp_path / 'bare.pth', device='cpu').meta
        assert meta['classes'] == list('01234')
        assert np.array(meta['palette']).shape == (5, 3)

    def test_batches_of_mixed_sizes_keep_their_order(self, inferencer):
        images = [picture(size, seed) for seed, size in enumerate([(48, 64)] * 3 + [(32, 40)] + [(48, 64)])]
        together = [prediction.mask for prediction in inferencer(images)]
        alone = [inferencer(image).mask for image in images]
        assert [mask.shape for mask in together] == [image.shape[:2] for image in images]
        assert all((a == b).mean() > 0.999 for a, b in zip(together, alone))
        assert not (together[0] == together[1]).all()

    def test_boxes(self, inferencer):
        with pytest.raises(ValueError, match='boxes are for pose estimators'):
            inferencer([picture()], [[[0, 0, 1, 1]]])

    def test_draws(self, inferencer):
        prediction = inferencer(picture())
        drawn = inferencer.draw(picture(), prediction, 1)
        assert (drawn[..., ::-1] == np.array(PALETTE)[prediction.mask]).all()


def test_a_stream_is_read_as_it_is_predicted(inferencer):
    read = []

    def images():
        for i in range(100):
            read.append(i)
            yield picture()

    stream = inferencer.stream(images())
    next(stream)
    assert read == [0, 1]  # a batch
    next(stream)
    next(stream)
    assert read == [0, 1, 2, 3]


def test_batches_do_not_read_on():
    read = iter('aabbbc')
    assert next(batches(read, 2, str)) == ['a', 'a']
    assert ''.join(read) == 'bbbc'
    assert list(batches('aabbbc', 2, str)) == [['a', 'a'], ['b', 'b'], ['b'], ['c']]


class TestEntrance:
    def test_frames(self, trained, deployed):
        """A frame is what the model reduces a canvas of repeated pixels to."""
        frame = picture(FRAME)
        expected = Inferencer(*trained, device='cpu')(frame.repeat(2, 0).repeat(2, 1)).mask
        by_folder = Inferencer(deployed, device='cpu')(frame).mask
        by_option = Inferencer(*trained, entrance='low-res', device='cpu')(frame).mask
        assert by_folder.shape == (2 * FRAME[0], 2 * FRAME[1])
        with pytest.warns(UserWarning, match="not smaller than the training's.* --entrance canvas is more accurate"):
            Inferencer(deployed, device='cpu')(picture())
        assert (by_folder == expected).all() and (by_option == expected).all()

    def test_a_deployed_model_still_takes_canvases(self, trained, deployed):
        by_folder = Inferencer(deployed, entrance='canvas', device='cpu')(picture()).mask
        assert (by_folder == Inferencer(*trained, device='cpu')(picture()).mask).all()

    def test_unknown(self, trained):
        with pytest.raises(ValueError, match="auto, low-res, canvas, not 'lr'"):
            Inferencer(*trained, entrance='lr')


def test_without_logits(tmp_path):
    cfg = isd_cfg(head_cfg('FCNHead'), test_cfg=dict(mode='whole'))
    config, checkpoint = write_model(tmp_path, cfg, custom_imports=dict(imports=['dsrl_mm.uhr']))
    expected = Inferencer(config, checkpoint, device='cpu')(picture())
    options = {'model.test_cfg.keep_logits': False}
    frugal = Inferencer(config, checkpoint, device='cpu', cfg_options=options)
    assert frugal.predictor.model.test_cfg.keep_logits is False
    found = frugal(picture())
    assert np.array_equal(found.mask, expected.mask) and len(np.unique(found.mask)) > 1


def test_saliency(tmp_path):
    files = write_model(tmp_path, pgnet_cfg(), custom_imports=dict(imports=['dsrl_mm.uhr']))
    inferencer = Inferencer(*files, device='cpu')
    prediction = inferencer(picture())
    sample = inference_model(init_model(*map(str, files), device='cpu'), picture())
    expected = sample.seg_logits.data[0].numpy()  # MMSegmentation's name for probabilities of one channel
    assert 0 <= expected.min() < expected.max() <= 1
    assert prediction.probability.dtype == np.float32
    assert prediction.probability == pytest.approx(expected)
    assert (prediction.mask == (expected > 0.5)).all()


class TestPose:
    @pytest.fixture
    def files(self, tmp_path):
        return write_pose_model(tmp_path)

    def test_is_what_mmpose_predicts(self, files):
        from mmpose.apis import inference_topdown
        from mmpose.apis import init_model as init_pose

        inferencer, stock = Inferencer(*files, device='cpu'), init_pose(*map(str, files), device='cpu')
        boxes = [[10, 4, 46, 44], [0, 0, 20, 40]]
        many, whole, none = inferencer([picture()] * 3, [boxes, None, []])
        expected = inference_topdown(stock, picture(), np.array(boxes, np.float32))
        assert many.keypoints.shape == (2, 17, 3)
        assert many.keypoints[..., :2] == pytest.approx(
            np.concatenate([sample.pred_instances.keypoints for sample in expected]), abs=1e-3
        )
        assert many.keypoints[1, :, 2] == pytest.approx(expected[1].pred_instances.keypoint_scores[0])
        assert (whole.keypoints == inferencer(picture(), [[0, 0, 64, 48]]).keypoints).all()
        assert none.keypoints.shape == (0, 17, 3)
        assert inferencer.draw(picture(), many).shape == (48, 64, 3)

    def test_boxes_of_other_images_are_refused(self, files):
        with pytest.raises(ValueError, match='There are 2 images, but boxes of 1'):
            Inferencer(*files, device='cpu').predict_batch([picture()] * 2, [None])

    @pytest.mark.parametrize('kept', [('state_dict', 'meta'), ('state_dict',)])
    def test_names_of_the_checkpoint_or_the_config(self, files, kept):
        saved = torch.load(files[1], weights_only=True)
        torch.save({key: saved[key] for key in kept}, files[1])
        meta = Inferencer(*files, device='cpu').meta
        assert meta['classes'][:2] == ['nose', 'left_eye']
        assert len(meta['palette']) == 17 and [15, 13] in np.array(meta['skeleton_links']).tolist()

    def test_no_names_anywhere(self, files, tmp_path):
        torch.save(torch.load(files[1], weights_only=True)['state_dict'], files[1])
        cfg = Config.fromfile(files[0])
        for key in ('train_dataloader', 'test_dataloader'):
            cfg.pop(key)
        cfg.dump(tmp_path / 'bare.py')
        with pytest.raises(ValueError, match='no data set that names the keypoints'):
            Inferencer(tmp_path / 'bare.py', files[1], device='cpu')

    def test_frames(self, files):
        with pytest.raises(ValueError, match='low-res-input is for segmentation'):
            Inferencer(*files, entrance='low-res')


class TestFinding:
    def test_model_zoo(self):
        config, checkpoint, options = find_model('dabnet_camvid_early_sssr')
        assert config.endswith('configs/dsrl/dabnet_camvid_early.py')
        assert checkpoint.endswith('weights/dabnet_camvid_early_sssr.pth')
        assert options == {'model.sr_aux': None}

    def test_unknown_name(self):
        with pytest.raises(ValueError, match='dabnet is no folder .* has dabnet_camvid_baseline, '):
            find_model('dabnet')

    def test_config_alone(self, trained):
        with pytest.raises(ValueError, match='toy.py is a config: name its checkpoint'):
            find_model(trained[0])

    def test_exported_file_alone(self):
        with pytest.raises(ValueError, match='deploy.onnx is an exported file: name the config'):
            find_model('deployed/deploy.onnx')

    def test_folders(self, tmp_path):
        with pytest.raises(ValueError, match='is no folder of tools/deploy.py'):
            find_model(tmp_path)
        (tmp_path / 'deploy.py').touch()
        with pytest.raises(FileNotFoundError, match='deploy.pth is missing'):
            find_model(tmp_path)

    def test_folder_of_two_models(self, tmp_path):
        for name in ('deploy.py', 'config.py'):
            (tmp_path / name).touch()
        with pytest.raises(ValueError, match='holds two models'):
            find_model(tmp_path)

    def test_options_reach_the_config(self):
        options = {'model.test_cfg.mode': 'slide'}
        model = Inferencer('dabnet_camvid_early', device='cpu', cfg_options=options).predictor.model
        assert model.test_cfg.mode == 'slide'


def test_a_device_that_is_not_there(trained):
    with pytest.raises(ValueError, match="^device 'quantum' cannot be used: .*device type.*quantum"):
        Inferencer(*trained, device='quantum')


def test_batch_size(trained):
    with pytest.raises(ValueError, match='batch_size is at least 1, not 0'):
        Inferencer(*trained, batch_size=0)


def test_a_model_with_more_than_a_byte_of_classes(tmp_path):
    files = write_model(
        tmp_path, model_cfg(dsrl=False, head=dict(model_cfg(dsrl=False)['decode_head'], num_classes=300))
    )
    assert Inferencer(*files, device='cpu')(picture()).mask.dtype == np.uint16
