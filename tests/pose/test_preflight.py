"""Checks of pose data and of what the model and the data say of each other, before anything starts."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import DATASETS
from PIL import Image
from toy_coco import BOX, coco_config, coco_content, keypoint_names, write_coco, write_json

from dsrl_mm.engine.dry_run import dry_run
from dsrl_mm.pose.preflight import _has_area, check_data
from dsrl_mm.pose.task import PoseTask

KEY = 'train_dataloader.dataset'


@pytest.fixture
def data(tmp_path) -> Path:
    return write_coco(tmp_path / 'coco')


def config(data_root: Path, phase: str = 'train', **dataset) -> Config:
    cfg = Config(coco_config(data_root))
    cfg[f'{phase}_dataloader'].dataset.update(dataset)
    return cfg


def rewrite(data_root: Path, change: Callable[[dict], None], name: str = 'train') -> None:
    """Change the content of an annotation file."""
    content = coco_content(4)
    change(content)
    write_json(data_root / f'annotations/{name}.json', content)


def setting(part: str, index: int, **values) -> Callable[[dict], None]:
    """Return a change of one entry."""
    return lambda content: content[part][index].update(values)


def useless(content: dict) -> None:
    first, second, third, fourth = content['annotations']
    first.update(iscrowd=1)
    second.update(num_keypoints=0)
    third.update(keypoints=[0] * 51)
    fourth.update(bbox=[10, 10, 0, 20])


def test_good_data_passes(data, log):
    check_data(config(data), ('train', 'val', 'test'))
    assert log == [
        'Checking the 4 persons with keypoints in 4 images of train_dataloader.dataset',
        'Checking the 4 persons with keypoints in 4 images of val_dataloader.dataset',  # test's is the same
    ]


def test_other_phases_are_left_out(data):
    (data / 'annotations/train.json').unlink()
    check_data(config(data), ('val', 'test'))
    cfg = config(data)
    cfg.train_dataloader = None
    check_data(cfg, ('train',))


# --- files ---


def test_a_missing_annotation_file_is_named_with_its_key(data):
    (data / 'annotations/train.json').unlink()
    with pytest.raises(FileNotFoundError, match=rf'^{KEY}.ann_file: .*annotations/train.json does not exist. Point'):
        check_data(config(data), ('train',))


def test_a_folder_is_no_annotation_file(data):
    with pytest.raises(FileNotFoundError, match=f'{KEY}.ann_file: .*does not exist'):
        check_data(config(data, ann_file='annotations'), ('train',))


@pytest.mark.parametrize('several', [False, True])
def test_the_annotation_file_of_a_metric_must_exist(data, several):
    cfg = config(data)
    missing = dict(type='CocoMetric', ann_file=f'{data}/other.json')
    cfg.val_evaluator = [dict(type='PCKAccuracy'), missing] if several else missing
    key = 'val_evaluator.1.ann_file' if several else 'val_evaluator.ann_file'
    with pytest.raises(FileNotFoundError, match=f'^{key}: the file .*other.json does not exist'):
        check_data(cfg, ('val',))


@pytest.mark.parametrize('content', [b'{"images": [', b'\xff\xd8\xff\xe0'])
def test_a_file_that_is_no_json_is_named(data, content):
    (data / 'annotations/train.json').write_bytes(content)
    with pytest.raises(ValueError, match=f'^{KEY}.ann_file: .*train.json is not JSON: .* Restore it'):
        check_data(config(data), ('train',))


@pytest.mark.parametrize(
    ('content', 'missing'),
    [
        ([], '"images" and no "categories" and no "annotations"'),
        (dict(annotations={}, categories=[]), '"images" and no "annotations"'),
    ],
)
def test_a_file_that_is_not_cocos_says_what_it_lacks(data, content, missing):
    write_json(data / 'annotations/train.json', content)
    with pytest.raises(ValueError, match=f'^{KEY}.ann_file: .* no COCO annotation file: it has no list {missing}\\.'):
        check_data(config(data), ('train',))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda content: content['images'][2].pop('file_name'), r'images\[2\] has no "file_name"'),
        (lambda content: content['images'][2].pop('width'), r'images\[2\] has no "width"'),
        (lambda content: content['annotations'][2].pop('image_id'), r'annotations\[2\] has no "image_id"'),
        (setting('images', 2, id='frame_2'), rf"^{KEY}.ann_file: images\[2\] of .*train.json has the id 'frame_2'"),
        (
            setting('categories', 0, keypoints=keypoint_names()[:14]),
            'category "person" of .* has 14 keypoints .* but CocoDataset has 17 in the order nose, ',
        ),
        (
            lambda content: content['categories'][0]['keypoints'].reverse(),
            'in the order right_ankle, left_ankle.* CocoDataset has 17 in the order nose',
        ),
        (
            setting('annotations', 1, keypoints=[1, 1, 2] * 14),
            f'{KEY}: annotation 101 of .* has 42 numbers as keypoints and 4 as bbox.* needs 51, .* 17 keypoints',
        ),
        (setting('annotations', 1, bbox=[1, 2, 3]), 'annotation 101 of .* has 51 .* 3 as bbox.* needs 51'),
        (
            setting('annotations', 1, bbox=[float('nan'), 4, 36, 40]),
            f'^{KEY}: annotation 101 of .*train.json has a bbox with values that are',
        ),
        (setting('annotations', 1, keypoints=[float('inf'), 1, 2] * 17), 'has a keypoints with values that are'),
        (
            useless,
            f'{KEY}: no person in .*train.json can be used: 4 annotations, 1 of them with keypoints in a box without',
        ),
        (
            lambda content: [annotation.pop('keypoints') for annotation in content['annotations']],
            'can be used: 4 annotations, 0 of them',
        ),
    ],
)
def test_a_fault_in_the_annotations_is_named(data, change, message):
    rewrite(data, change)
    with pytest.raises(ValueError, match=message):
        check_data(config(data), ('train',))


# --- keypoints ---


def test_the_categorys_keypoints_may_be_missing_or_have_other_names(data):
    rewrite(data, lambda content: content['categories'][0].pop('keypoints'))
    check_data(config(data), ('train',))
    rewrite(data, lambda content: content['categories'][0].update(keypoints=[f'point {i}' for i in range(17)]))
    check_data(config(data), ('train',))


def test_the_head_must_have_the_data_sets_keypoints(data):
    cfg = config(data)
    cfg.model.head.out_channels = 14
    message = rf'^model.head.out_channels is 14, but CocoDataset \({KEY}\) has 17 keypoints. Set it to 17'
    with pytest.raises(ValueError, match=message):
        check_data(cfg, ('train',))


def test_a_combined_codec_has_three_channels_per_keypoint(data):
    cfg = config(data)
    cfg.model.head.decoder = dict(type='UDPHeatmap', heatmap_type='combined')
    with pytest.raises(ValueError, match='out_channels is 17, .* Set it to 51'):
        check_data(cfg, ('train',))
    cfg.model.head.out_channels = 51
    check_data(cfg, ('train',))


def test_keypoints_may_be_converted_or_picked(data):
    cfg = config(data)
    cfg.model.head.out_channels = 19
    cfg.train_dataloader.dataset.pipeline.append(dict(type='KeypointConverter'))
    check_data(cfg, ('train',))
    with pytest.raises(ValueError, match='out_channels is 19'):
        check_data(cfg, ('val',))
    cfg.model.test_cfg.output_keypoint_indices = list(range(17))
    check_data(cfg, ('val',))


# --- ids and numbers ---


@pytest.mark.parametrize('part', ['images', 'annotations'])
def test_an_id_that_names_two_things_is_refused(data, part):
    rewrite(data, lambda content: content[part].append(dict(content[part][0])))  # the same twice is one
    check_data(config(data), ('train',))
    rewrite(data, lambda content: content[part][1].update(id=content[part][0]['id']))
    with pytest.raises(ValueError, match=f'^{KEY}.ann_file: .*train.json has several {part} with the id'):
        check_data(config(data), ('train',))


def test_a_keypoint_that_is_not_labelled_may_be_nan(data):
    rewrite(
        data, lambda content: content['annotations'][1]['keypoints'].__setitem__(slice(3), [float('nan')] * 2 + [0])
    )
    check_data(config(data), ('train',))


# --- what the metric reads ---


@pytest.mark.parametrize('option', [dict(), dict(ann_file=None)])
def test_a_metric_by_area_needs_it(data, option):
    rewrite(data, lambda content: content['annotations'][2].pop('area'), 'val')
    cfg = config(data)
    cfg.val_evaluator.update(option)
    with pytest.raises(
        ValueError, match='^val_evaluator: CocoMetric .*1 of 4 .*val.json lack, such as 102.*use_area=F'
    ):
        check_data(cfg, ('train', 'val'))
    cfg.val_evaluator.use_area = False
    check_data(cfg, ('train', 'val'))
    cfg.val_evaluator = [dict(type='PCKAccuracy')]
    check_data(cfg, ('train', 'val'))


def test_training_needs_no_area(data):
    rewrite(data, lambda content: [annotation.pop('area') for annotation in content['annotations']])
    check_data(config(data), ('train', 'val'))


def test_a_metric_needs_a_sigma_per_keypoint(data):
    points = {i: dict(name=name, id=i, color=[0, 0, 0], type='', swap='') for i, name in enumerate(keypoint_names())}
    metainfo = dict(dataset_name='own', keypoint_info=points, skeleton_info={}, joint_weights=[1.0] * 17)
    metainfo['sigmas'] = [0.05] * 16
    cfg = config(data, 'val', metainfo=metainfo)
    with pytest.raises(ValueError, match='^val_evaluator: .* has 16 sigmas for 17 keypoints'):
        check_data(cfg, ('val',))
    cfg.val_evaluator = dict(type='PCKAccuracy')
    check_data(cfg, ('val',))


def test_a_metric_needs_annotations_with_numbers(data):
    rewrite(data, lambda content: content['annotations'][3].update(id='d'), 'val')
    with pytest.raises(ValueError, match="^val_evaluator: .*val.json has ids such as 'd'. Number"):
        check_data(config(data), ('val',))


# --- persons ---


def test_boxes_without_area_are_counted(data, log):
    rewrite(data, setting('annotations', 0, bbox=[10, 10, 0, 20]))
    check_data(config(data), ('train',))
    assert log == [
        f'Checking the 3 persons with keypoints in 3 images of {KEY}',
        f'{KEY}: 1 persons with keypoints have a box without area in the image; MMPose leaves them out',
    ]


@pytest.mark.parametrize(
    ('bbox', 'has_area'),
    [
        ([10, 10, 20, -3], False),
        ([63, 10, 20, 20], False),  # outside the image of 64 pixels, whose last one is 63
        ([-30, 10, 30, 20], False),
        ([10, 10, 0.5, 20], True),
        ([62.5, 10, 20, 20], True),
    ],
)
def test_boxes_are_clipped_to_the_image(bbox, has_area):
    assert _has_area(bbox, dict(width=64, height=48)) == has_area


@pytest.mark.parametrize('mode', ['topdown', 'bottomup'])
def test_only_tests_on_whole_images_need_no_person(data, mode):
    for name in ('train', 'val'):
        rewrite(data, useless, name)
    with pytest.raises(ValueError, match='no person'):
        check_data(config(data, data_mode=mode), ('train',))
    if mode == 'bottomup':
        check_data(config(data, 'val', data_mode=mode), ('val',))


# --- images ---


def test_missing_images_are_counted_and_named(data):
    for i in range(1, 4):
        (data / f'images/{i:012d}.png').unlink()
    (data / 'images/000000000003.jpg').touch()
    message = (
        rf'^{KEY}.data_prefix.img: 3 of 4 images that .*train.json names are not in .*images: .*0001.png, .*0002.png'
    )
    with pytest.raises(FileNotFoundError, match=f'{message}, .*0003.png. Point .*{KEY}.data_root, bbox_file'):
        check_data(config(data), ('train',))


def test_a_missing_folder_of_images_is_named(data):
    message = r'4 of 4 images .* not in .*other \(which does not exist\): .*0000.png, .*0001.png, .*0002.png, \.\.\.'
    with pytest.raises(FileNotFoundError, match=message):
        check_data(config(data, data_prefix=dict(img='other')), ('train',))


def test_images_without_a_person_need_not_be_there(data):
    rewrite(data, lambda content: content['annotations'].pop())
    (data / 'images/000000000003.png').unlink()
    check_data(config(data), ('train',))


def test_images_may_lie_in_folders(data):
    def move(content):
        for i, image in enumerate(content['images']):
            (data / f'images/{i}').mkdir()
            os.rename(data / 'images' / image['file_name'], data / f'images/{i}' / image['file_name'])
            image['file_name'] = f'{i}/{image["file_name"]}'

    rewrite(data, move)
    check_data(config(data), ('train',))


def test_an_image_of_another_size_than_the_annotations_is_found(data):
    Image.new('RGB', (32, 24)).save(data / 'images/000000000002.png')
    with pytest.raises(ValueError, match=r'0002.png is 32x24 pixels, but its annotations are for 64x48'):
        check_data(config(data), ('train',))
    Image.new('RGB', (48, 64)).save(data / 'images/000000000002.png')  # a photo taken upright
    check_data(config(data), ('train',))


def test_a_file_that_is_no_image_is_found(data):
    (data / 'images/000000000002.png').write_text('<html>404</html>')
    with pytest.raises(ValueError, match='0002.png is not an image'):
        check_data(config(data), ('train',))


# --- detected boxes ---


def detection(**changes) -> dict:
    return dict(dict(image_id=1, category_id=1, bbox=BOX, score=0.5), **changes)


def check_detections(data: Path, detections, **dataset) -> None:
    if detections is not None:
        write_json(data / 'boxes.json', detections)
    check_data(config(data, 'val', bbox_file=str(data / 'boxes.json'), **dataset), ('val',))


def test_detected_boxes_pass(data, log):
    rewrite(data, lambda content: content.pop('annotations'), 'val')  # a test set's are not published
    check_detections(data, [detection(), detection(category_id=3, image_id=77)])
    assert log == ['Checking the boxes detected in 1 images of val_dataloader.dataset.bbox_file']


@pytest.mark.parametrize(
    ('detections', 'message'),
    [
        (dict(boxes=[]), 'is no list of detections'),
        ([dict(image_id=1)], 'is no list of detections, each with image_id, category_id, bbox, score'),
        ([detection(image_id=77)], '; 1 images are not in .*val.json, such as 77'),
        ([], 'no box to test on.*: 0 detections'),
        ([detection(category_id=3)], '1 detections, 0 of category 1'),
        ([detection(score=0.1)], '1 of category 1 .*, in 0 images with a score of at least .*bbox_score_thr=0.2'),
    ],
)
def test_bad_detections_are_refused(data, detections, message):
    with pytest.raises(ValueError, match=f'^val_dataloader.dataset.bbox_file: .*{message}'):
        check_detections(data, detections, filter_cfg=dict(bbox_score_thr=0.2))


def test_a_missing_file_of_detections_names_the_other_way(data):
    message = '^val_dataloader.dataset.bbox_file: .*boxes.json does not exist.*bbox_file=None'
    with pytest.raises(FileNotFoundError, match=message):
        check_detections(data, None)


# --- crops ---


def dry(cfg: Config) -> None:
    dry_run(cfg, ('train', 'val'), PoseTask())


@pytest.mark.parametrize('phase', ['train', 'val'])
def test_crops_must_be_of_the_size_that_is_decoded_for(data, phase):
    cfg = config(data)
    dry(cfg)
    cfg[f'{phase}_dataloader'].dataset.pipeline[2].input_size = (64, 64)
    message = rf'^{phase}_dataloader.dataset.pipeline crops persons to \(64, 64\) .*decoder.input_size=\(32, 64\)'
    with pytest.raises(ValueError, match=message):
        dry(cfg)


def test_crops_of_wrappers_are_checked(data):
    cfg = config(data)
    inner = cfg.train_dataloader.dataset
    pipeline = inner.pop('pipeline')
    pipeline[2].input_size = (64, 64)
    metainfo = dict(from_file='configs/_base_/datasets/coco.py')
    cfg.train_dataloader.dataset = dict(
        type='CombinedDataset', metainfo=metainfo, datasets=[dict(inner, pipeline=[])], pipeline=pipeline
    )
    with pytest.raises(ValueError, match='^train_dataloader.dataset.pipeline crops'):
        dry(cfg)


def test_models_without_a_codec_take_any_crop(data):
    cfg = config(data)
    cfg.test_dataloader.dataset.pipeline[2].input_size = (64, 64)
    cfg.model.head.decoder = None
    dry_run(cfg, ('test',), PoseTask())


# --- which data sets ---


@pytest.mark.parametrize(
    ('wrap', 'key'),
    [
        (lambda inner: dict(type='RepeatDataset', times=2, dataset=inner), f'{KEY}.dataset'),
        (lambda inner: dict(type='CombinedDataset', datasets=[inner]), f'{KEY}.datasets.0'),
    ],
    ids=['RepeatDataset', 'CombinedDataset'],
)
def test_wrapped_data_sets_are_checked(data, wrap, key):
    cfg = config(data)
    cfg.train_dataloader.dataset = wrap(cfg.train_dataloader.dataset)
    check_data(cfg, ('train',))
    (data / 'annotations/train.json').unlink()
    with pytest.raises(FileNotFoundError, match=f'^{key}.ann_file: '):
        check_data(cfg, ('train',))


@pytest.mark.parametrize('name', ['MpiiDataset', 'CocoWholeBodyDataset', 'Human36mDataset', 'NotRegistered'])
def test_data_sets_that_read_in_their_own_way_are_left_alone(data, name):
    cfg = config(data, type=name, ann_file='missing.json')
    check_data(cfg, ('train',))


def test_remote_files_are_left_alone(data):
    check_data(config(data, ann_file='s3://bucket/train.json'), ('train',))
    check_data(config(data, data_prefix=dict(img='s3://bucket/images')), ('train',))


# --- real data ---


@pytest.mark.needs('COCO_ROOT')
@pytest.mark.parametrize('split', ['train', 'val'])
def test_real_persons_are_counted_as_mmpose_counts_them(split, log):
    root = Path(os.environ['COCO_ROOT'])
    annotations = sorted((root / 'annotations').glob(f'person_keypoints_{split}*.json'))[0]
    folder = root / 'images' if (root / 'images').is_dir() else root / f'{split}2017'
    cfg = config(root, ann_file=str(annotations), data_prefix=dict(img=str(folder)), pipeline=[])
    init_default_scope('mmpose')
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    check_data(cfg, ('train',))
    images = len({dataset.get_data_info(i)['img_id'] for i in range(len(dataset))})
    assert f'the {len(dataset)} persons with keypoints in {images} images' in log[0]
