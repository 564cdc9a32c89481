"""Checks of data sets and class counts before anything starts."""

from pathlib import Path

import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.fileio import BaseStorageBackend, register_backend
from mmengine.model import BaseModule
from mmseg.registry import MODELS, TRANSFORMS
from PIL import Image, ImageFile
from toy import auxiliary_head_cfg, head_cfg, model_cfg
from toy_data import write_camvid, write_config

from dsrl_mm.engine.dry_run import dry_run
from dsrl_mm.seg.checks.data import check_data
from dsrl_mm.seg.checks.files import check_pair
from dsrl_mm.seg.task import SegTask

ORIENTATION = 0x0112  # the EXIF tag
SAMPLER = dict(type='DefaultSampler', shuffle=False)
CE = dict(type='CrossEntropyLoss')


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
    with pytest.raises(ValueError, match=rf'label.png is a color image \({mode}\).*Convert it to one channel'):
        check_pair(*pair)


def cut(path: str, missing: int) -> None:
    """Leave out the last bytes of a file."""
    Path(path).write_bytes(Path(path).read_bytes()[:-missing])


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lambda _, label: Image.new('L', (8, 12)).save(label), 'label.png is 8x12 pixels, but its .*image.jpg is 12x8'),
        (lambda _, label: cut(label, 1), 'label.png is a truncated PNG: its end is missing. Restore it'),
        (lambda image, _: cut(image, 2), 'image.jpg is a truncated JPEG: its end is missing. Restore it'),
        (lambda image, _: Path(image).write_text('<html>404</html>'), 'image.jpg is not an image. Restore it'),
    ],
)
def test_a_damaged_pair_is_refused(pair, damage, message):
    damage(*pair)
    with pytest.raises(ValueError, match=message):
        check_pair(*pair)


def test_an_image_needs_no_label(pair):
    check_pair(pair[0], None)


def test_a_photo_taken_upright_has_the_size_it_is_shown_with(pair):
    exif = Image.Exif()
    for turned in (5, 6, 7, 8):
        exif[ORIENTATION] = turned
        Image.new('RGB', (8, 12)).save(pair[0], exif=exif)
        check_pair(*pair)
    exif[ORIENTATION] = 3
    Image.new('RGB', (8, 12)).save(pair[0], exif=exif)
    with pytest.raises(ValueError, match='is 8x12. Labels must'):
        check_pair(*pair)


def test_a_dangling_link_is_found(pair, tmp_path):
    (tmp_path / 'image.jpg').unlink()
    (tmp_path / 'image.jpg').symlink_to(tmp_path / 'gone.jpg')
    with pytest.raises(FileNotFoundError, match='image.jpg is a link to a file that does not exist'):
        check_pair(*pair)


@pytest.mark.parametrize(('largest', 'passes'), [(255, True), (65535, True), (256, False)])
def test_ids_beyond_8_bits_are_found(pair, largest, passes):
    label = np.zeros((8, 12), np.uint16)
    label[3, 4] = largest
    Image.fromarray(label).save(pair[1])
    if passes:
        assert check_pair(*pair)
    else:
        with pytest.raises(ValueError, match='label.png holds values up to 256, but labels are loaded as 8-bit'):
            check_pair(*pair)


def test_formats_that_only_a_pipeline_knows_pass_uncompared(pair, tmp_path):
    np.save(tmp_path / 'image.npy', np.zeros((8, 12, 5), np.float32))
    assert not check_pair(str(tmp_path / 'image.npy'), None)
    assert not check_pair(str(tmp_path / 'image.npy'), pair[1])
    Image.new('RGB', (12, 8)).save(pair[1])
    with pytest.raises(ValueError, match='is a color image'):
        check_pair(str(tmp_path / 'image.npy'), pair[1])


def test_images_beyond_pillows_limit_are_left_to_the_pipeline(pair, monkeypatch):
    assert check_pair(*pair)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)
    assert not check_pair(*pair)


def test_the_check_can_be_turned_off(tmp_path):
    cfg = Config.fromfile(write_config(tmp_path, tmp_path / 'nowhere'))
    with pytest.raises(FileNotFoundError):
        check_data(cfg, ('train',))
    cfg.check_data = False
    check_data(cfg, ('train',))


def config(data_root, **model) -> Config:
    dataset = dict(
        type='CamVidDataset',
        data_root=str(data_root),
        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')],
    )
    model = dict(model_cfg(head=head_cfg(num_classes=11)), **model)
    return Config(dict(model=model, train_dataloader=dict(dataset=dataset)))


def test_every_pair_is_checked_and_other_phases_are_left_out(tmp_path, log):
    cfg = config(write_camvid(tmp_path, train=3, val=1))
    check_data(cfg, ('train', 'val'))
    assert log[0].startswith('Checking the 3 images and labels of train_dataloader.dataset')
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
    with pytest.raises(FileNotFoundError, match=f'^{key}: .*images/train.*{key}.data_root=FOLDER'):
        check_data(cfg, ('train',))


@TRANSFORMS.register_module()
class LoadAnything(BaseTransform):
    """An own loader: images of NumPy, and labels whose colors are ids."""

    def transform(self, results):
        results.update(img=np.zeros((8, 12, 3), np.uint8), img_shape=(8, 12), ori_shape=(8, 12))
        results['gt_seg_map'] = np.full((8, 12), self.id, np.int64)
        results['seg_fields'].append('gt_seg_map')
        return results

    def __init__(self, id=0):
        self.id = id


def test_own_loaders_are_asked(tmp_path, log):
    write_camvid(tmp_path, train=2, val=1)
    np.save(tmp_path / 'images/train/train_0.npy', np.zeros((8, 12, 5), np.float32))
    cfg = config(tmp_path)
    cfg.train_dataloader.dataset.update(type='BaseSegDataset', img_suffix='.npy', metainfo=dict(classes=('a',) * 11))
    cfg.train_dataloader.dataset.pipeline = [dict(type='LoadAnything'), dict(type='PackSegInputs')]
    check_data(cfg, ('train',))
    assert any(line.startswith('1 of them were not compared by their headers') for line in log)
    cfg.train_dataloader.dataset.pipeline[0].id = -1
    with pytest.raises(ValueError, match=r'holds the class ids \[-1\], but the model has 11 classes'):
        check_data(cfg, ('train',))
    cfg.model.decode_head.decode_head.ignore_index = -1
    check_data(cfg, ('train',))


@TRANSFORMS.register_module()
class ColorsToIds(BaseTransform):
    def transform(self, results):
        results['gt_seg_map'] = results['gt_seg_map'][..., 0] // 255
        return results


@pytest.mark.parametrize('nested', [False, True])
def test_color_labels_pass_if_a_transform_makes_them_ids(tmp_path, nested):
    write_camvid(tmp_path, train=1, val=1)
    Image.new('RGB', (64, 48), (255, 0, 99)).save(tmp_path / 'labels/train/train_0.png')
    cfg = config(tmp_path)
    with pytest.raises(ValueError, match='train_0.png is a color image'):
        check_data(cfg, ('train',))
    step = dict(type='ColorsToIds')
    step = dict(type='RandomApply', transforms=[step], prob=1.0) if nested else step
    cfg.train_dataloader.dataset.pipeline.insert(2, step)
    check_data(cfg, ('train',))


def test_sizes_may_differ_if_the_pipeline_makes_them_equal(tmp_path):
    write_camvid(tmp_path, train=1, val=1)
    Image.new('L', (32, 24)).save(tmp_path / 'labels/train/train_0.png')
    cfg = config(tmp_path)
    with pytest.raises(ValueError, match='is 32x24 pixels, but its image'):
        check_data(cfg, ('train',))
    resize = dict(type='Resize', scale=(32, 48), keep_ratio=False)
    cfg.train_dataloader.dataset.pipeline.insert(2, resize)
    check_data(cfg, ('train',))
    # Evaluated labels have the size of the file, whatever the network reads.
    load, annotations, *_, pack = cfg.train_dataloader.dataset.pipeline
    resize['scale'] = (32, 24)
    cfg.val_dataloader = dict(dataset=dict(cfg.train_dataloader.dataset, pipeline=[load, resize, annotations, pack]))
    with pytest.raises(ValueError, match='is 32x24 pixels, but its image'):
        check_data(cfg, ('val',))


@register_backend('files_of_a_dict')
class DictBackend(BaseStorageBackend):
    """Stands for LMDB and others."""

    files = {}

    def __init__(self, **_):
        pass

    def get(self, path):
        return self.files[path]

    get_text = get


def test_files_of_other_backends_are_sampled(tmp_path):
    data = write_camvid(tmp_path / 'data', train=2, val=1)
    (tmp_path / 'names.txt').write_text('train_0\ntrain_1')
    DictBackend.files = {str(f.relative_to(data)): f.read_bytes() for f in data.rglob('*.png')}
    cfg = config(data)
    cfg.train_dataloader.dataset.update(data_root=None, ann_file=str(tmp_path / 'names.txt'))
    for step in cfg.train_dataloader.dataset.pipeline[:2]:
        step.backend_args = dict(backend='files_of_a_dict')
    check_data(cfg, ('train',))
    DictBackend.files['labels/train/train_1.png'] = b'nothing'
    with pytest.raises(RuntimeError, match='^labels/train/train_1.png: LoadAnnotations fails with Unidentified'):
        check_data(cfg, ('train',))


def test_damaged_pixels_before_an_intact_end_are_found(tmp_path):
    path = write_camvid(tmp_path, train=1, val=1) / 'images/train/train_0.png'
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 9] = bytes(9)
    path.write_bytes(content)
    with pytest.raises(AssertionError, match='failed to load image: .*train_0.png'):
        check_data(config(tmp_path), ('train',))


def test_images_left_out_are_counted(tmp_path, log):
    folder = write_camvid(tmp_path, train=3, val=1) / 'images/train'
    (folder / 'train_0.png').rename(folder / 'train_0.PNG')
    (folder / 'train_1.png').unlink()
    (folder / 'train_1.png').symlink_to('gone.png')
    (tmp_path / 'more').mkdir()
    (tmp_path / 'more/x.tif').touch()
    (folder / 'link').symlink_to(tmp_path / 'more')
    check_data(config(tmp_path), ('train',))
    assert any('3 image files are left out, such as' in line and f'{folder}/' in line for line in log)


def test_images_of_more_bits_than_are_loaded_are_reported(tmp_path, log):
    file = write_camvid(tmp_path, train=1, val=1) / 'images/train/train_0.png'
    values = np.arange(48 * 64).reshape(48, 64)
    Image.fromarray((20 * values).astype(np.uint16)).save(file)  # up to 61420
    check_data(config(tmp_path), ('train',))
    assert not any('16-bit' in line for line in log)
    Image.fromarray((values + 1000).astype(np.uint16)).save(file)
    check_data(config(tmp_path), ('train',))
    # 1000 // 256 = 3 to 4071 // 256 = 15
    assert any('16-bit values up to 4071, but is loaded with 8 bits: 13 gray levels remain' in line for line in log)


def test_labels_must_have_a_folder(tmp_path):
    cfg = config(write_camvid(tmp_path, train=1, val=1))
    cfg.train_dataloader.dataset.data_prefix.pop('seg_map_path')
    cfg.test_dataloader = cfg.train_dataloader
    with pytest.raises(ValueError, match='train_0.png comes without a label, which the loss needs'):
        check_data(cfg, ('train',))
    with pytest.raises(ValueError, match='leave out LoadAnnotations and set test_evaluator.format_only=True'):
        check_data(cfg, ('test',))


def test_channels_must_be_the_preprocessors(tmp_path):
    write_camvid(tmp_path, train=1, val=1)
    Image.new('RGBA', (64, 48)).save(tmp_path / 'images/train/train_0.png')
    cfg = config(tmp_path)
    cfg.update(default_scope='mmseg', test_dataloader=dict(batch_size=1, sampler=SAMPLER, **cfg.train_dataloader))
    dry_run(cfg, ('test',), SegTask())
    cfg.test_dataloader.dataset.pipeline[0].color_type = 'unchanged'
    with pytest.raises(ValueError, match='train_0.png is loaded with 4 channels, but .*mean has 3 values'):
        dry_run(cfg, ('test',), SegTask())


def test_classes_are_no_string(tmp_path):
    cfg = config(write_camvid(tmp_path, train=1, val=1))
    cfg.train_dataloader.dataset.metainfo = dict(classes='water')
    with pytest.raises(ValueError, match=r"the string 'water', which counts as 5 classes.*\('water',\)"):
        check_data(cfg, ('train',))
    (tmp_path / 'names.txt').write_text('\n'.join('abcdefghijk'))
    names = dict(type='BaseSegDataset', img_suffix='.png', metainfo=dict(classes=str(tmp_path / 'names.txt')))
    cfg.train_dataloader.dataset.update(names)
    check_data(cfg, ('train',))


@MODELS.register_module()
class OwnHead(BaseModule):
    """A head of another kind, whose loss nobody knows."""


@pytest.mark.parametrize(
    ('head', 'classes', 'passes'),
    [
        (head_cfg('FCNHead', num_classes=2, out_channels=1, loss_decode=CE), 'ab', False),
        (head_cfg('FCNHead', num_classes=2, out_channels=1, loss_decode=CE | dict(use_sigmoid=True)), 'ab', True),
        (head_cfg('FCNHead', num_classes=1), 'a', False),
        (dict(type='OwnHead', num_classes=1), 'a', True),
    ],
    ids=['softmax', 'sigmoid', 'one class', 'own'],
)
def test_one_channel_needs_a_sigmoid(tmp_path, head, classes, passes):
    data = write_camvid(tmp_path, train=1, val=1)
    Image.fromarray(np.arange(48 * 64).reshape(48, 64).astype(np.uint8) % 2).save(data / 'labels/train/train_0.png')
    cfg = config(data, decode_head=head)
    cfg.train_dataloader.dataset.update(type='BaseSegDataset', img_suffix='.png', metainfo=dict(classes=[*classes]))
    if passes:
        check_data(cfg, ('train',))
    else:
        with pytest.raises(ValueError, match='model.decode_head has one output channel.*use_sigmoid=True'):
            check_data(cfg, ('train',))


def test_evaluated_labels_have_the_metrics_ids(tmp_path):
    cfg = config(write_camvid(tmp_path, train=1, val=1))
    Image.new('L', (64, 48), 77).save(tmp_path / 'labels/train/train_0.png')
    cfg.val_dataloader = cfg.train_dataloader
    cfg.val_evaluator = dict(type='IoUMetric', ignore_index=77)
    check_data(cfg, ('val',))
    cfg.val_evaluator = [dict(type='IoUMetric')]
    with pytest.raises(ValueError, match=r'train_0.png: holds the class ids \[77\].* ignores 255'):
        check_data(cfg, ('val',))


def test_metrics_need_class_names(tmp_path):
    cfg = config(write_camvid(tmp_path, train=1, val=1))
    cfg.train_dataloader.dataset.update(type='BaseSegDataset', img_suffix='.png')
    check_data(cfg, ('train',))
    cfg.val_dataloader = cfg.train_dataloader
    with pytest.raises(ValueError, match='^val_dataloader.dataset: BaseSegDataset has no class names.*metainfo='):
        check_data(cfg, ('val',))


def test_a_test_set_may_have_no_labels(tmp_path):
    cfg = config(write_camvid(tmp_path, train=1, val=1))
    cfg.train_dataloader.dataset.pipeline.pop(1)
    cfg.train_dataloader.dataset.data_root = None
    cfg.train_dataloader.dataset.data_prefix = dict(img_path=str(tmp_path / 'images/train'), seg_map_path=None)
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
