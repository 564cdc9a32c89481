"""Checks of data sets and class counts before anything starts, by headers alone."""

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image, ImageFile
from toy import auxiliary_head_cfg, head_cfg, model_cfg
from toy_data import write_camvid

from dsrl_mm.seg.checks.data import check_data, check_pair

ORIENTATION = 0x0112  # the EXIF tag


@pytest.fixture
def pair(tmp_path):
    """Paths of an image and a label, 12x8 pixels."""
    Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(tmp_path / 'image.jpg')
    Image.fromarray(np.zeros((8, 12), np.uint8)).save(tmp_path / 'label.png')
    return str(tmp_path / 'image.jpg'), str(tmp_path / 'label.png')


@pytest.mark.parametrize('mode', ['L', 'P', '1', 'I;16'])
def test_labels_of_one_channel_pass(pair, mode):
    Image.new(mode, (12, 8)).save(pair[1])
    check_pair(*pair)


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'LA'])
def test_labels_of_several_channels_are_refused(pair, mode):
    Image.new(mode, (12, 8)).save(pair[1])
    with pytest.raises(ValueError, match=rf'label.png is a colour image \({mode}\).*Convert it to one channel'):
        check_pair(*pair)


def test_an_image_needs_no_label(pair):
    check_pair(pair[0], None)


def test_sizes_must_agree(pair):
    Image.new('L', (8, 12)).save(pair[1])
    with pytest.raises(ValueError, match=r'label.png is 8x12 pixels, but its image .*image.jpg is 12x8'):
        check_pair(*pair)


def test_a_photo_taken_upright_has_the_size_it_is_shown_with(pair):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.new('RGB', (8, 12)).save(pair[0], exif=exif)
    check_pair(*pair)
    exif[ORIENTATION] = 3
    Image.new('RGB', (8, 12)).save(pair[0], exif=exif)
    with pytest.raises(ValueError, match='is 8x12. Labels must'):
        check_pair(*pair)


@pytest.mark.parametrize('missing', [1, 500])
def test_a_truncated_png_is_found(pair, tmp_path, missing):
    path = tmp_path / 'label.png'
    Image.fromarray(np.random.default_rng(0).integers(0, 11, (80, 120), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(ValueError, match='label.png is a truncated PNG: its end is missing. Restore it'):
        check_pair(*pair)


@pytest.mark.parametrize(('largest', 'passes'), [(255, True), (256, False)])
def test_ids_beyond_8_bits_are_found(pair, largest, passes):
    label = np.zeros((8, 12), np.uint16)
    label[3, 4] = largest
    Image.fromarray(label).save(pair[1])
    if passes:
        assert check_pair(*pair)
    else:
        with pytest.raises(ValueError, match='label.png holds values up to 256, but labels are loaded as 8-bit'):
            check_pair(*pair)


def test_labels_of_a_loader_of_ones_own_may_be_anything(pair):
    Image.new('RGB', (12, 8)).save(pair[1])
    assert check_pair(*pair, holds_ids=False)
    with pytest.raises(ValueError, match='8x12 pixels, but'):
        Image.new('RGB', (8, 12)).save(pair[1])
        check_pair(*pair, holds_ids=False)


def test_formats_that_only_a_pipeline_knows_pass_uncompared(pair, tmp_path):
    np.save(tmp_path / 'image.npy', np.zeros((8, 12, 5), np.float32))
    assert not check_pair(str(tmp_path / 'image.npy'), None)
    assert not check_pair(str(tmp_path / 'image.npy'), pair[1])
    Image.new('RGB', (12, 8)).save(pair[1])
    with pytest.raises(ValueError, match='is a colour image'):
        check_pair(str(tmp_path / 'image.npy'), pair[1])


def test_a_file_that_is_no_image_is_found(pair, tmp_path):
    (tmp_path / 'image.jpg').write_text('<html>404</html>')
    with pytest.raises(ValueError, match='image.jpg is not an image. Restore it'):
        check_pair(*pair)


def config(data_root, **model) -> Config:
    dataset = dict(
        type='CamVidDataset',
        data_root=str(data_root),
        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
    )
    model = dict(model_cfg(head=head_cfg(num_classes=11)), **model)
    return Config(dict(model=model, train_dataloader=dict(dataset=dataset)))


def test_every_pair_is_checked_and_other_phases_are_left_out(tmp_path, log):
    cfg = config(write_camvid(tmp_path, train=3, val=1))
    check_data(cfg, ('train', 'val'))
    assert log == ['Checking the 3 images and labels of train_dataloader.dataset']
    (tmp_path / 'labels/train/train_2.png').write_bytes(b'')
    with pytest.raises(ValueError, match='train_2.png is not an image'):
        check_data(cfg, ('train',))
    check_data(cfg, ('val', 'test'))


@pytest.mark.parametrize(
    ('wrap', 'key'),
    [
        (lambda inner: dict(type='RepeatDataset', times=2, dataset=inner), 'train_dataloader.dataset.dataset'),
        (lambda inner: dict(type='ConcatDataset', datasets=[inner]), 'train_dataloader.dataset.datasets.0'),
    ],
    ids=['RepeatDataset', 'ConcatDataset'],
)
def test_wrapped_data_sets_are_checked(tmp_path, wrap, key):
    cfg = config(tmp_path)
    cfg.train_dataloader.dataset = wrap(cfg.train_dataloader.dataset)
    with pytest.raises(FileNotFoundError, match=f'^{key}.data_prefix.img_path: .*{key}.data_root=FOLDER'):
        check_data(cfg, ('train',))


def test_files_that_were_not_compared_are_counted(tmp_path, log):
    write_camvid(tmp_path, train=2, val=1)
    np.save(tmp_path / 'images/train/train_0.npy', np.zeros((8, 12, 5), np.float32))
    cfg = config(tmp_path)
    cfg.train_dataloader.dataset.update(type='BaseSegDataset', img_suffix='.npy', metainfo=dict(classes=('a',) * 11))
    cfg.train_dataloader.dataset.seg_map_suffix = '.png'
    check_data(cfg, ('train',))
    assert log[1].startswith('1 of them have a format that only the pipeline may know')


@pytest.mark.parametrize('loader', ['LoadAnnotations', 'LoadMyAnnotations'])
def test_who_loads_labels_says_what_they_may_be(tmp_path, loader):
    write_camvid(tmp_path, train=1, val=1)
    Image.new('RGB', (64, 48)).save(tmp_path / 'labels/train/train_0.png')
    cfg = config(tmp_path)
    cfg.train_dataloader.dataset.pipeline = [dict(type='LoadImageFromFile'), dict(type=loader)]
    if loader == 'LoadMyAnnotations':
        check_data(cfg, ('train',))
    else:
        with pytest.raises(ValueError, match='train_0.png is a colour image'):
            check_data(cfg, ('train',))


def test_metrics_need_class_names(tmp_path):
    cfg = config(write_camvid(tmp_path, train=1, val=1))
    cfg.train_dataloader.dataset.update(type='BaseSegDataset', img_suffix='.png')
    check_data(cfg, ('train',))
    cfg.val_dataloader = cfg.train_dataloader
    with pytest.raises(ValueError, match='^val_dataloader.dataset: BaseSegDataset has no class names.*metainfo='):
        check_data(cfg, ('val',))


def test_a_test_set_may_have_no_labels(tmp_path):
    cfg = config(write_camvid(tmp_path, train=1, val=1))
    cfg.train_dataloader.dataset.data_prefix.pop('seg_map_path')
    cfg.train_dataloader.dataset.type = 'BaseSegDataset'
    cfg.train_dataloader.dataset.update(img_suffix='.png', metainfo=dict(classes=('a',) * 11))
    check_data(cfg, ('train',))


@pytest.mark.parametrize(
    ('model', 'key'),
    [
        (dict(decode_head=dict(type='SSSRHead', decode_head=head_cfg())), 'model.decode_head.decode_head'),
        (dict(decode_head=head_cfg()), 'model.decode_head'),
        (dict(auxiliary_head=auxiliary_head_cfg()), 'model.auxiliary_head'),
        (dict(auxiliary_head=[auxiliary_head_cfg(num_classes=11), auxiliary_head_cfg()]), 'model.auxiliary_head.1'),
    ],
    ids=['wrapped', 'plain', 'auxiliary', 'second auxiliary'],
)
def test_heads_must_have_the_data_sets_classes(tmp_path, model, key):
    cfg = config(write_camvid(tmp_path, train=1, val=1), **model)
    with pytest.raises(ValueError, match=rf'^{key}.num_classes is 5, but CamVidDataset .* 11 classes: .*Set it to 11'):
        check_data(cfg, ('train',))


def test_num_classes_of_a_backbone_is_its_own_business(tmp_path):
    cfg = config(write_camvid(tmp_path, train=1, val=1))
    cfg.model.backbone.num_classes = 1000
    check_data(cfg, ('train',))


def test_pixels_are_not_decoded(pair, monkeypatch):
    """So that thousands of large images are checked in seconds."""

    def decode(image):
        raise AssertionError('decoded')

    monkeypatch.setattr(ImageFile.ImageFile, 'load', decode)
    assert check_pair(*pair)
    with pytest.raises(AssertionError, match='decoded'), Image.open(pair[0]) as image:
        image.getpixel((0, 0))  # as the check would have to
