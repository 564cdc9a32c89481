"""Images of more bands than three: loading, augmentation, checks, training, rebuilt images and their metrics."""

import cv2
import numpy as np
import pytest
import torch
import toy
from mmengine.registry import METRICS
from toy_data import call, write_camvid, write_config

from dsrl_mm import cli
from dsrl_mm.apis.figures.grid import to_rgb


def model_cfg(bands, **overrides):
    """A toy model for images of some bands; ``bgr_to_rgb`` stays on, as many users leave it."""
    cfg = toy.model_cfg(**overrides)
    cfg['backbone']['in_channels'] = bands
    cfg['data_preprocessor'] |= dict(mean=[100.0 + i for i in range(bands)], std=[50.0 + i for i in range(bands)])
    if cfg.get('sr_aux'):
        cfg['sr_aux']['head']['out_channels'] = bands
    return cfg


def batch(bands):
    data = toy.batch()
    generator = torch.Generator().manual_seed(1)
    data['inputs'] = [torch.randint(256, (bands, *toy.SIZE), generator=generator, dtype=torch.uint8) for _ in range(2)]
    return data


@pytest.mark.parametrize('bands', [1, 4, 8])
def test_losses_and_rebuilt_images(bands):
    model = toy.build(model_cfg(bands, test_cfg=dict(mode='whole', with_sr=True)))
    losses = toy.losses(model, batch(bands))
    assert losses['sr.loss_sisr'] > 0
    model.eval()
    # A SISR branch that rebuilds the image perfectly: what comes back are the images that were loaded.
    data = batch(bands)
    images = torch.stack(data['inputs']).float()
    model.reconstruct = lambda inputs, shared=None: inputs
    with torch.no_grad():
        samples = model.test_step(data)
    for sample, image in zip(samples, images):
        torch.testing.assert_close(sample.sr_img.data, image, atol=1e-3, rtol=0)
    metric = METRICS.build(dict(type='SRMetric', scale_factor=2))
    metric.process(data, [sample.to_dict() for sample in samples])
    scores = metric.evaluate(2)
    assert scores['sr/PSNR'] > 80 and scores['sr/SSIM'] > 0.999
    assert scores['sr/PSNR_enlarged'] < 20  # noise


def test_four_bands_from_files_to_checkpoint(tmp_path):
    root = write_camvid(tmp_path / 'camvid', train=2, val=1)
    rng = np.random.default_rng(0)
    for path in root.glob('images/*/*.png'):  # B G R and near infrared
        cv2.imwrite(str(path), np.dstack([cv2.imread(str(path)), rng.integers(256, size=toy.SIZE, dtype=np.uint8)]))
    from toy_data import NUM_CLASSES

    model = model_cfg(4, head=toy.head_cfg('FCNHead', num_classes=NUM_CLASSES))
    load = [dict(type='LoadImageFromFile', color_type='unchanged'), dict(type='LoadAnnotations')]
    train = [
        *load,
        dict(type='RandomResize', scale=(64, 48), ratio_range=(0.9, 1.2), keep_ratio=True),
        dict(type='RandomCrop', crop_size=(32, 32)),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackSegInputs'),
    ]
    config = write_config(tmp_path, root, model=model)
    text = config.read_text() + (
        f'train_dataloader["dataset"]["pipeline"] = {train!r}\n'
        f'pipeline = {[*load, dict(type="PackSegInputs")]!r}\n'
        'val_dataloader = dict(dataset=dict(pipeline=pipeline), num_workers=0, persistent_workers=False)\n'
        f'val_dataloader["dataset"]["data_root"] = {str(root)!r}\n'
        'test_dataloader = val_dataloader\n'
    )
    config.write_text(text)
    call(cli.train, config, '--work-dir', tmp_path / 'work', '--cfg-options', 'train_cfg.max_iters=2')
    metrics = call(cli.test, config, tmp_path / 'work/iter_2.pth', '--sr-metrics', '--work-dir', tmp_path / 'test')
    assert {'mIoU', 'sr/PSNR', 'sr/PSNR_enlarged'} <= metrics.keys()


@pytest.mark.parametrize(('bands', 'shown'), [(1, [0]), (2, [0]), (3, [2, 1, 0]), (8, [2, 1, 0])])
def test_pictures_show_the_first_bands(bands, shown):
    image = torch.arange(bands).float()[:, None, None].expand(bands, 2, 3)
    assert to_rgb(image)[0, 0].tolist() == shown
