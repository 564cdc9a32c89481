import sys

import cv2
import numpy as np
import pytest
import torch
import toy
from mmengine.config import Config
from toy import model_cfg
from toy_models import CLASSES, PALETTE, PIPELINE, write_model, write_pose_model
from toy_pgnet import pgnet_cfg

from dsrl_mm.apis import ExportOptions, Inferencer, build_deploy_model, exported, save_deploy
from dsrl_mm.apis.deploy import read_dataset_meta
from dsrl_mm.apis.export import Network
from dsrl_mm.apis.export_files import _describe
from dsrl_mm.apis.runtime import Runtime, load_runtime, of_network

FRAME = (24, 32)


def picture(size=(48, 64), seed=0):
    return np.random.default_rng(seed).integers(256, size=(*size, 3), dtype=np.uint8)


@pytest.fixture
def inferencer(monkeypatch):
    """An Inferencer of a file that PyTorch runs, so that nothing need be exported."""

    def inferencer(config, checkpoint, low_res=False, argmax=False, size=None, multiple=None):
        cfg = Config.fromfile(config)
        network = Network(build_deploy_model(cfg, checkpoint, low_res), argmax)
        options = ExportOptions(['pt2'], argmax=argmax)
        meta = _describe(cfg, network, options, read_dataset_meta(cfg, checkpoint), low_res)
        meta |= dict(size=size and list(size), multiple=multiple, batch=1 if size else None)
        monkeypatch.setattr(exported, 'load_runtime', lambda file: of_network(network, meta))
        return Inferencer('deploy.pt2', batch_size=2)

    return inferencer


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp('trained'))


@pytest.fixture(scope='module')
def eager(trained):
    return Inferencer(*trained, device='cpu')


@pytest.mark.parametrize('argmax', [False, True])
def test_canvases_of_the_files_size(inferencer, trained, eager, argmax):
    found = inferencer(*trained, argmax=argmax, size=(48, 64))
    assert found.meta['classes'] == list(CLASSES) and found.meta['palette'] == PALETTE
    images = [picture(seed=0), picture(seed=1)]
    for prediction, image in zip(found(images), images):
        assert prediction.mask.dtype == np.uint8
        assert (prediction.mask == eager(image).mask).mean() > 0.999
        assert found.draw(image, prediction).shape == (48, 64, 3)


def test_entrance_is_the_files(inferencer, trained):
    inferencer(*trained, size=(48, 64))
    exported.ExportedPredictor('deploy.pt2', 'canvas')
    with pytest.raises(ValueError, match="deploy.pt2 was exported for the entrance 'canvas', not 'low-res'"):
        exported.ExportedPredictor('deploy.pt2', 'low-res')


def test_without_names_and_colors(inferencer, trained, tmp_path):
    torch.save(torch.load(trained[1], weights_only=True)['state_dict'], tmp_path / 'bare.pth')
    found = inferencer(trained[0], tmp_path / 'bare.pth', size=(48, 64))
    assert found.meta['classes'] == list('01234')
    assert found.draw(picture(), found(picture())).shape == (48, 64, 3)


@pytest.fixture
def of_function(monkeypatch):
    """An Inferencer of a file that computes logits of gray images by a function."""

    def of_function(function, **meta):
        own = dict(task='segmentation', entrance='canvas', output='logits', input='float32', batch=None, channels=1)
        meta = own | dict(mean=[0.0], std=[1.0], order='BGR', threshold=0.8) | meta
        monkeypatch.setattr(exported, 'load_runtime', lambda file: Runtime(meta, function))
        return Inferencer('deploy.onnx')

    return of_function


def test_more_than_a_byte_of_classes(of_function):
    logits = np.zeros((1, 300, 2, 2), np.float32)
    logits[:, 256] = 1
    found = of_function(lambda _: logits, size=[2, 2])
    assert found(np.zeros((2, 2), np.uint8)).mask.tolist() == [[256, 256]] * 2


def test_threshold_is_the_files(of_function):
    found = of_function(lambda images: images, size=[1, 2])(np.array([[1, 2]], np.uint8))
    assert found.probability == pytest.approx(np.array([[0.731, 0.881]]), abs=1e-3) and found.mask.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ('sizes', 'expected'),
    [
        (dict(size=[2, 1]), [[2], [2]]),  # means
        (dict(size=None, multiple=4), [[1, 3, 3, 3]] * 4),  # copies of the border
    ],
)
def test_what_a_file_sees_of_other_sizes(of_function, sizes, expected):
    seen = []
    found = of_function(lambda images: seen.append(images) or images, **sizes)
    assert found(np.array([[1, 3], [1, 3]], np.uint8)).mask.shape == (2, 2)
    assert seen[0][0, 0].tolist() == expected


@pytest.mark.parametrize('argmax', [False, True])
def test_other_canvases_are_resized_and_masks_back(inferencer, trained, eager, argmax):
    found = inferencer(*trained, argmax=argmax, size=(48, 64))
    image = picture(FRAME).repeat(4, 0).repeat(4, 1)
    mask = found(image).mask
    assert mask.shape == (96, 128)
    # Every pixel of the file's mask is 2x2 pixels of the image, or near it, where logits are interpolated.
    inside = eager(cv2.resize(image, (64, 48))).mask.repeat(2, 0).repeat(2, 1)
    assert (mask == inside).mean() > (0.999 if argmax else 0.8)


@pytest.mark.parametrize('argmax', [False, True])
def test_frames(inferencer, trained, argmax):
    found = inferencer(*trained, low_res=True, argmax=argmax, size=FRAME)
    expected = Inferencer(*trained, entrance='low-res', device='cpu')
    mask = found(picture(FRAME)).mask
    assert mask.shape == (48, 64)
    assert (mask == expected(picture(FRAME)).mask).mean() > 0.999
    assert found(picture((48, 64))).mask.shape == (96, 128)


def test_open_sizes_are_padded(inferencer, trained, eager):
    image = picture((70, 100))
    mask = inferencer(*trained, multiple=64)([image, image])[1].mask
    padded = cv2.copyMakeBorder(image, 0, 58, 0, 28, cv2.BORDER_REPLICATE)
    assert mask.shape == (70, 100)
    assert (mask == eager(padded).mask[:70, :100]).mean() > 0.999


@pytest.mark.parametrize('argmax', [False, True])
def test_saliency(inferencer, tmp_path, argmax):
    files = write_model(tmp_path, pgnet_cfg(), custom_imports=dict(imports=['dsrl_mm.uhr']))
    expected = Inferencer(*files, device='cpu')(picture())
    found = inferencer(*files, argmax=argmax, size=(48, 64))(picture())
    assert (found.mask == expected.mask).mean() > 0.999
    if argmax:
        assert found.probability is None  # the file has decided
    else:
        assert found.probability == pytest.approx(expected.probability, abs=1e-4)


@pytest.mark.parametrize(('argmax', 'padding'), [(False, 1.25), (True, 1.25), (False, 1.0)])
def test_poses(inferencer, tmp_path, argmax, padding):
    """Largest cells, which the codec refines by a quarter of a cell to the side where the neighbor is larger."""
    files, boxes = write_pose_model(tmp_path), [[10, 4, 46, 44], [0, 0, 20, 40]]
    cfg = Config.fromfile(files[0])
    (crop,) = (step for step in cfg.test_dataloader.dataset.pipeline if step['type'] == 'GetBBoxCenterScale')
    crop['padding'] = padding
    cfg.dump(files[0])
    expected = Inferencer(*files, device='cpu')(picture(), boxes).keypoints
    found = inferencer(*files, argmax=argmax, size=(64, 32))
    keypoints = found(picture(), boxes).keypoints
    # Padded, and brought to the crop's aspect of 1:2, the boxes are 72 and 40 times the padding high: 16 cells.
    distance = np.abs(keypoints - expected)[..., :2].max((1, 2))
    assert (distance < np.array([72, 40]) * padding / 16 * 0.3).all()
    assert keypoints[..., 2] == pytest.approx(expected[..., 2], abs=1e-4)
    assert (found(picture()).keypoints == found(picture(), [[0, 0, 64, 48]]).keypoints).all()
    assert found(picture(), []).keypoints.shape == (0, 17, 3)


@pytest.mark.parametrize('argmax', [False, True])
@pytest.mark.parametrize(('codec', 'pixels'), [('MSRAHeatmap', (4, 8)), ('UDPHeatmap', (32 / 7, 2 * 64 / 15))])
def test_pixels_of_a_heatmaps_cell(tmp_path, monkeypatch, argmax, codec, pixels):
    """UDP's grid of 8x16 cells reaches from edge to edge of the box, as its codec and affine transform have it."""
    config, checkpoint = write_pose_model(tmp_path)
    cfg = Config.fromfile(config)
    cfg.model.head.decoder.type = codec
    network = Network(build_deploy_model(cfg, checkpoint), argmax)
    heatmaps = torch.zeros(1, 17, 16, 8)
    heatmaps[:, :, 2, 1] = 1
    monkeypatch.setattr(network.model.head, 'forward', lambda _: heatmaps)
    meta = _describe(cfg, network, ExportOptions(['pt2'], argmax=argmax), read_dataset_meta(cfg, checkpoint), False)
    meta |= dict(size=[64, 32], multiple=None, batch=1)
    monkeypatch.setattr(exported, 'load_runtime', lambda file: of_network(network, meta))
    box = [[3.2, 6.4, 28.8, 57.6]]  # with a quarter around it, 32x64
    found = Inferencer('deploy.pt2')(picture((64, 32)), box)
    assert found.keypoints[0, 0] == pytest.approx((*pixels, 1), abs=1e-4)


@pytest.mark.parametrize('metainfo', [None, dict(from_file='configs/_base_/datasets/ochuman.py')])
def test_names_of_poses_without_a_dataset_meta(inferencer, tmp_path, metainfo):
    """From the type of the data set, or from its metainfo; in all files."""
    config, checkpoint = write_pose_model(tmp_path)
    torch.save(torch.load(checkpoint, weights_only=True)['state_dict'], checkpoint)
    cfg = Config.fromfile(config)
    if metainfo:
        cfg.train_dataloader.dataset.metainfo = metainfo
    cfg.dump(config)
    files = save_deploy(cfg, checkpoint, tmp_path / 'out')
    found = inferencer(config, checkpoint, argmax=True, size=(64, 32))
    folder = Inferencer(tmp_path / 'out', device='cpu')
    assert found.meta['classes'][:3] == ['nose', 'left_eye', 'right_eye'] and len(found.meta['classes']) == 17
    assert {key: found.meta[key] for key in folder.meta} == folder.meta
    name = 'ochuman' if metainfo else 'coco'
    assert torch.load(files[1], weights_only=False)['meta']['dataset_meta']['dataset_name'] == name
    assert found.draw(picture(), found(picture())).shape == (48, 64, 3)


def test_a_real_file(trained, tmp_path):
    options = ExportOptions(['pt2'], size=FRAME, argmax=True, precision='float16', verify=0)  # of other formats
    file = save_deploy(Config.fromfile(trained[0]), trained[1], tmp_path, low_res_input=True, export=options)[-1]
    expected = Inferencer(tmp_path, device='cpu')(picture(FRAME)).mask  # deploy.py and deploy.pth
    assert (Inferencer(file)(picture(FRAME)).mask == expected).mean() > 0.999
    with pytest.raises(ValueError, match="exported for the entrance 'low-res', not 'canvas'"):
        Inferencer(file, entrance='canvas')
    meta = load_runtime(file).meta
    assert set(meta.pop('versions')) == {'dsrl_mm', 'torch'}
    assert meta == dict(
        task='segmentation',
        entrance='low-res',
        scale_factor=2,
        input='uint8',
        channels=3,
        order='RGB',
        mean=None,
        std=None,
        output='mask',
        loading=dict(flag='color', backend=None),
        threshold=None,
        classes=list(CLASSES),
        palette=PALETTE,
        precision='float32',
        batch=1,
        size=[*FRAME],
        multiple=None,
    )


@pytest.mark.parametrize(
    ('loading', 'channels', 'stored'),
    [
        (dict(color_type='unchanged'), 3, picture().astype(np.uint16) * 200),
        (dict(color_type='grayscale'), 1, picture()),
        (dict(color_type='grayscale'), 1, picture()[..., 0].astype(np.uint16) * 200),
        (dict(imdecode_backend='pillow'), 3, picture()),
    ],
    ids=['16 bits', 'gray of color', 'gray of 16 bits', 'pillow'],
)
def test_images_are_loaded_as_the_config_does(inferencer, tmp_path, loading, channels, stored):
    preprocessor = toy.preprocessor_cfg(mean=[9000.0] * channels, std=[5000.0] * channels, bgr_to_rgb=False)
    model = model_cfg(dsrl=False) | dict(data_preprocessor=preprocessor)
    model['backbone']['in_channels'] = channels
    pipeline = [dict(type='LoadImageFromFile', **loading), *PIPELINE[1:]]
    # The steps of the test set count, not the ones a config inherits beside them.
    files = write_model(tmp_path, model, test_dataloader=dict(dataset=dict(pipeline=pipeline)))
    cv2.imwrite(str(tmp_path / 'stored.png'), stored)
    expected, found = Inferencer(*files, device='cpu'), inferencer(*files, size=(48, 64))
    images = [each.load(tmp_path / 'stored.png') for each in (expected, found)]
    assert images[0].dtype == images[1].dtype and (images[0] == images[1]).all()
    assert (found(images[1]).mask == expected(images[0]).mask).mean() > 0.999


def test_a_background_is_named_beside_a_single_class(inferencer, tmp_path):
    loss = dict(type='CrossEntropyLoss', use_sigmoid=True)
    head = toy.head_cfg('FCNHead', num_classes=1, out_channels=1, threshold=0.5, loss_decode=loss)
    config, checkpoint = write_model(tmp_path, model_cfg(dsrl=False, head=head))
    torch.save(torch.load(checkpoint, weights_only=True)['state_dict'], checkpoint)
    found = inferencer(config, checkpoint, argmax=True, size=(48, 64))
    assert found.meta['classes'] == ['background', '0']
    prediction = found(picture())
    assert set(np.unique(prediction.mask)) == {0, 1}
    assert found.draw(picture(), prediction).shape == (48, 64, 3)


def test_poses_without_mmpose(monkeypatch):
    meta = dict(task='pose', entrance='canvas', channels=3)
    monkeypatch.setattr(exported, 'load_runtime', lambda file: Runtime(meta, None))
    monkeypatch.setitem(sys.modules, 'mmpose', None)
    with pytest.raises(ImportError, match='needs mmpose, which is not installed. Type'):
        exported.ExportedPredictor('deploy.onnx', 'auto')


def test_runs_on_the_cpu_only():
    with pytest.raises(ValueError, match='a.onnx runs on the CPU'):
        Inferencer('a.onnx', device='cuda')


def test_boxes_are_for_poses(inferencer, trained):
    with pytest.raises(ValueError, match='boxes are for pose estimators'):
        inferencer(*trained, size=(48, 64))([picture()], [[[0, 0, 1, 1]]])
