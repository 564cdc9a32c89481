"""Checks of a pose config and its data before training. Errors name the key or file, and the remedy."""

import json
import math
import os
from collections.abc import Iterable
from functools import cache
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmpose.datasets.datasets.base import BaseCocoStyleDataset
from mmpose.evaluation import CocoMetric
from mmpose.models import TopdownPoseEstimator
from mmpose.registry import DATASETS, METRICS, MODELS
from PIL import Image, UnidentifiedImageError

from ..engine.config import builds, class_of, plain_datasets
from ..engine.task import evaluators
from .estimator import check_crop

#: Methods of BaseCocoStyleDataset that read its files. A data set that overrides one is not checked.
_READERS = ('load_data_list', '_load_annotations', '_load_detection_results', 'parse_data_info', '_is_valid_instance')

#: Number of image headers read per data set, evenly spread over it.
_SAMPLE = 100


def _coco_dataset(cfg: dict) -> BaseCocoStyleDataset | None:
    """Build the data set with its paths joined and no annotations loaded; None if its type is unknown."""
    if not builds(cfg, DATASETS, BaseCocoStyleDataset):
        return None
    cls = class_of(cfg, DATASETS)
    if any(getattr(cls, name) is not getattr(BaseCocoStyleDataset, name) for name in _READERS):
        return None
    return DATASETS.build(dict(cfg, pipeline=[], lazy_init=True))


def _is_remote(path: str) -> bool:
    """Tell whether a path is in object storage, which is not checked: the data loader reports missing files."""
    return '://' in path


def _check_file(path: str, key: str) -> None:
    if not _is_remote(path) and not os.path.isfile(path):
        boxes = ' To test on the boxes of the annotations instead: bbox_file=None.' if key.endswith('bbox_file') else ''
        raise FileNotFoundError(
            f'{key}: the file {path} does not exist. Point the config at your data: the environment variable that its '
            f'data_root reads, such as COCO_ROOT, or --cfg-options {key}=FILE.{boxes}'
        )


def _load(path: str, key: str) -> Any:
    _check_file(path, key)
    with open(path, encoding='utf-8') as f:
        try:
            return json.load(f)
        except ValueError as error:  # of the text's encoding, too
            raise ValueError(f'{key}: {path} is not JSON: {error}. Restore it from its source.') from None


def _load_annotations(dataset: BaseCocoStyleDataset, key: str) -> dict[str, list]:
    """Load a COCO annotation file and check its lists; a test set with detected boxes needs no annotations."""
    content = _load(dataset.ann_file, f'{key}.ann_file')
    needed = ('images', 'categories') if dataset.bbox_file else ('images', 'categories', 'annotations')
    missing = [
        f'"{name}"' for name in needed if not isinstance(content, dict) or not isinstance(content.get(name), list)
    ]
    if missing:
        raise ValueError(
            f'{key}.ann_file: {dataset.ann_file} is no COCO annotation file: it has no list '
            f'{" and no ".join(missing)}. Keypoints are in files such as person_keypoints_train2017.json.'
        )
    for name, fields in (('images', ('id', 'file_name', 'width', 'height')), ('annotations', ('id', 'image_id'))):
        by_id = {}
        for i, item in enumerate(content.get(name, ())):
            if lacking := [field for field in fields if field not in item]:
                raise ValueError(
                    f'{key}.ann_file: {dataset.ann_file} is no COCO file: {name}[{i}] has no "{lacking[0]}".'
                )
            if name == 'images' and isinstance(item['id'], str):
                raise ValueError(
                    f'{key}.ann_file: images[{i}] of {dataset.ann_file} has the id {item["id"]!r}, but MMPose computes '
                    "with ids. Number the images, and write the numbers to the annotations' image_id, too."
                )
            if by_id.setdefault(item['id'], item) != item:
                raise ValueError(
                    f'{key}.ann_file: {dataset.ann_file} has several {name} with the id {item["id"]}, of which MMPose '
                    f'would take one. Number the {name} without repetition.'
                )
    return content


def _check_categories(dataset: BaseCocoStyleDataset, content: dict, key: str) -> None:
    names = [dataset.metainfo['keypoint_id2name'][i] for i in range(dataset.metainfo['num_keypoints'])]
    for category in content['categories']:
        labeled = category.get('keypoints') or names  # other objects have none
        reordered = sorted(labeled) == sorted(names) and labeled != names  # flips and the metric need the order
        if len(labeled) != len(names) or reordered:
            raise ValueError(
                f'{key}: the category "{category.get("name")}" of {dataset.ann_file} has {len(labeled)} keypoints in '
                f'the order {", ".join(labeled)}, but {type(dataset).__name__} has {len(names)} in the order '
                f'{", ".join(names)}. Give the data set the metainfo of its keypoints, or take the type that has them.'
            )


def _check_numbers(dataset: BaseCocoStyleDataset, key: str, ann: dict) -> None:
    """Check that a box and the labeled keypoints are finite and as many as the data set has."""
    keypoints, bbox, num_values = ann['keypoints'], ann['bbox'], 3 * dataset.metainfo['num_keypoints']
    if len(keypoints) != num_values or len(bbox) != 4:
        raise ValueError(
            f'{key}: annotation {ann["id"]} of {dataset.ann_file} has {len(keypoints)} numbers as keypoints and '
            f'{len(bbox)} as bbox. {type(dataset).__name__} needs {num_values}, for x, y and visibility of '
            f'{num_values // 3} keypoints, and 4.'
        )
    labeled = [v for i in range(0, num_values, 3) if keypoints[i + 2] != 0 for v in keypoints[i : i + 3]]
    for name, values in (('bbox', bbox), ('keypoints', labeled)):
        if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in values):
            raise ValueError(
                f'{key}: annotation {ann["id"]} of {dataset.ann_file} has a {name} with values that are not finite '
                f'numbers ({values}). Correct it or leave the annotation out.'
            )


def _has_area(bbox: list[float], image: dict) -> bool:
    """Tell whether a box (x, y, w, h) has an area in the image, as MMPose clips it."""
    (x, y, w, h), right, bottom = bbox, image['width'] - 1, image['height'] - 1
    return min(x + w, right) > max(x, 0) and min(y + h, bottom) > max(y, 0)


def _check_persons(dataset: BaseCocoStyleDataset, content: dict, key: str) -> set[int]:
    """Check the annotations; return the ids of the images that have a person to train or test on.

    MMPose uses persons with keypoints and a box in the image that are no crowds, and leaves the others out silently.
    """
    images, used, empty = {image['id']: image for image in content['images']}, [], 0
    for ann in content['annotations']:
        keypoints, image = ann.get('keypoints'), images.get(ann['image_id'])
        if keypoints is None or ann.get('bbox') is None or image is None:
            continue
        if ann.get('iscrowd') or ann.get('num_keypoints') == 0:
            continue
        _check_numbers(dataset, key, ann)
        if max(keypoints[0::3]) <= 0 and max(keypoints[1::3]) <= 0:
            continue
        if _has_area(ann['bbox'], image):
            used.append(ann['image_id'])
        else:
            empty += 1
    if not used:
        raise ValueError(
            f'{key}: no person in {dataset.ann_file} can be used: {len(content["annotations"])} annotations, '
            f'{empty} of them with keypoints in a box without area, the others crowds, without keypoints, without a '
            'box, or of images that are not in the file.'
        )
    print_log(f'Checking the {len(used)} persons with keypoints in {len({*used})} images of {key}', 'current')
    if empty:
        print_log(
            f'{key}: {empty} persons with keypoints have a box without area in the image; MMPose leaves them out',
            'current',
        )
    return {*used}


def _check_detections(dataset: BaseCocoStyleDataset, content: dict, key: str) -> set[int]:
    """Check a file of detected boxes; return the ids of the images that have one to test on."""
    file, key = dataset.bbox_file, f'{key}.bbox_file'
    detections = _load(file, key)
    fields = ('image_id', 'category_id', 'bbox', 'score')
    if not isinstance(detections, list) or not all(set(fields) <= set(found) for found in detections):
        raise ValueError(f'{key}: {file} is no list of detections, each with {", ".join(fields)}.')
    threshold = (dataset.filter_cfg or {}).get('bbox_score_thr', -float('inf'))
    persons = [found for found in detections if found['category_id'] == 1]
    kept = {found['image_id'] for found in persons if found['score'] >= threshold}
    unknown = {found['image_id'] for found in persons} - {image['id'] for image in content['images']}
    if unknown or not kept:
        raise ValueError(
            f'{key}: no box to test on, or boxes of other data, in {file}: {len(detections)} detections, '
            f'{len(persons)} of category 1 (person), in {len(kept)} images with a score of at least filter_cfg.'
            f'bbox_score_thr={threshold}; {len(unknown)} images are not in {dataset.ann_file}, such as '
            f'{min(unknown, default=None)}.'
        )
    print_log(f'Checking the boxes detected in {len(kept)} images of {key}', 'current')
    return kept


def _missing(paths: Iterable[str]) -> list[str]:
    """Return the paths that do not exist. Folders are listed: a call per file takes minutes on a network disk."""

    @cache
    def names(folder: str) -> set[str]:
        return set(os.listdir(folder)) if os.path.isdir(folder) else set()

    return [path for path in paths if os.path.basename(path) not in names(os.path.dirname(path))]


def _check_size(path: str, image: dict) -> None:
    try:
        with Image.open(path) as opened:
            size = opened.size
    except UnidentifiedImageError:
        raise ValueError(f'{path} is not an image. Restore it from its source.') from None
    # In either order: a camera held upright stores its photo rotated.
    if sorted(size) != sorted((image['width'], image['height'])):
        raise ValueError(
            f'{path} is {size[0]}x{size[1]} pixels, but its annotations are for {image["width"]}x{image["height"]}: '
            'boxes and keypoints would lie elsewhere. Take the images that were annotated.'
        )


def _check_images(dataset: BaseCocoStyleDataset, images: list[dict], key: str) -> None:
    folder = dataset.data_prefix['img']
    if _is_remote(folder):
        return
    paths = [os.path.join(folder, image['file_name']) for image in images]
    if missing := _missing(paths):
        raise FileNotFoundError(
            f'{key}.data_prefix.img: {len(missing)} of {len(paths)} images that {dataset.ann_file} names are not in '
            f'{folder}{"" if os.path.isdir(folder) else " (which does not exist)"}: {", ".join(missing[:3])}'
            f'{", ..." if missing[3:] else ""}. Point the config at your data: the environment variable that its '
            f'data_root reads; with --cfg-options, {key}.data_root, bbox_file, and the ann_file of the evaluators.'
        )
    for i in range(0, len(paths), max(len(paths) // _SAMPLE, 1)):
        _check_size(paths[i], images[i])


def _check_head(model: dict, dataset: BaseCocoStyleDataset, pipeline: list[dict], key: str) -> None:
    head = model.get('head') or {}
    # Keypoints may be converted to another data set's, or selected from the model's, for example AIC with COCO.
    converted = any(transform['type'] == 'KeypointConverter' for transform in pipeline)
    picked = (model.get('test_cfg') or {}).get('output_keypoint_indices')
    if 'out_channels' not in head or converted or picked:
        return
    num_keypoints = dataset.metainfo['num_keypoints']
    # A 'combined' codec has two offsets in addition to every heatmap.
    combined = (head.get('decoder') or {}).get('heatmap_type') == 'combined'
    channels = 3 * num_keypoints if combined else num_keypoints
    if head['out_channels'] != channels:
        raise ValueError(
            f'model.head.out_channels is {head["out_channels"]}, but {type(dataset).__name__} ({key}) has '
            f'{num_keypoints} keypoints. Set it to {channels}.'
        )


def _check_metric(dataset: BaseCocoStyleDataset, content: dict, used: set[int], key: str, metric: dict) -> None:
    """Check what a CocoMetric reads of the annotations, which would else fail at the first validation."""
    sigmas, num_keypoints = len(dataset.metainfo['sigmas']), dataset.metainfo['num_keypoints']
    if sigmas not in (1, num_keypoints):
        raise ValueError(
            f'{key}: CocoMetric needs a sigma per keypoint, but the metainfo of the data set has {sigmas} sigmas for '
            f'{num_keypoints} keypoints. Correct "sigmas" in it.'
        )
    measured = [ann for ann in content.get('annotations', ()) if 'keypoints' in ann and ann['image_id'] in used]
    without = [ann['id'] for ann in measured if 'area' not in ann] if metric.get('use_area', True) else []
    if without:
        raise ValueError(
            f'{key}: CocoMetric measures by the annotations\' "area", which {len(without)} of {len(measured)} in its '
            f'ann_file {dataset.ann_file} lack, such as {without[0]}. Add it, or set {key}.use_area=False: '
            '0.53 times the area of the box.'
        )
    names = [ann['id'] for ann in measured if isinstance(ann['id'], str) and not ann['id'].isdigit()]
    if names:
        raise ValueError(
            f'{key}: CocoMetric counts by annotation ids, but {dataset.ann_file} has ids such as {names[0]!r}. Number '
            'the annotations.'
        )


def _check_dataset(dataset: BaseCocoStyleDataset, key: str, metrics: dict[str, dict]) -> None:
    if any(_is_remote(path) for path in (dataset.ann_file, dataset.bbox_file or '')):
        return
    content = _load_annotations(dataset, key)
    _check_categories(dataset, content, key)
    if dataset.bbox_file:
        used = _check_detections(dataset, content, key)
    elif dataset.data_mode == 'topdown' or not dataset.test_mode:
        used = _check_persons(dataset, content, key)
    else:  # tested on whole images, with persons or without
        used = {image['id'] for image in content['images']}
    _check_images(dataset, [image for image in content['images'] if image['id'] in used], key)
    for metric_key, metric in metrics.items():
        _check_metric(dataset, content, used, metric_key, metric)


def _coco_metrics(cfg: Config, phase: str, ann_file: str) -> dict[str, dict]:
    """Return the metrics of a phase that compare with an annotation file as it is, by their keys."""
    return {
        key: metric
        for key, metric in evaluators(cfg, phase).items()
        if builds(metric, METRICS, CocoMetric)
        and os.path.abspath(metric.get('ann_file') or ann_file) == os.path.abspath(ann_file)
        and not any(metric.get(option) for option in ('format_only', 'gt_converter', 'pred_converter'))
    }


def check_data(cfg: Config, phases: tuple[str, ...]) -> None:
    """Check the COCO-style data sets of a config, and the model's keypoints against theirs.

    Data sets of other types are not checked. An annotation file of COCO's size takes seconds, mostly for parsing.
    ``check_data=False`` in the config turns the check off.

    Raises:
        FileNotFoundError: if an annotation file, a file of boxes or images are missing.
        ValueError: if the content of a file is wrong, or differs from the data set's, the model's or the metric's.
    """
    if not cfg.get('check_data', True):
        return
    init_default_scope(cfg.get('default_scope', 'mmpose'))
    checked = []
    for phase in phases:
        loader = cfg.get(f'{phase}_dataloader') or {}
        for key, dataset_cfg in plain_datasets(loader, f'{phase}_dataloader', 'ann_file'):
            dataset = _coco_dataset(dataset_cfg)
            if dataset is None:
                continue
            _check_head(cfg.model, dataset, dataset_cfg.get('pipeline', []), key)
            metrics = {} if phase == 'train' else _coco_metrics(cfg, phase, dataset.ann_file)
            files = {**dataset_cfg, 'pipeline': None}
            if (found := (files, [*metrics.values()])) not in checked:  # val and test are often one
                checked.append(found)
                _check_dataset(dataset, key, metrics)
        for key, metric in evaluators(cfg, phase).items():
            if metric.get('ann_file'):
                _check_file(metric['ann_file'], f'{key}.ann_file')


def check_batch(cfg: Config, phase: str, batch: Any) -> None:
    """Check that the crops of the first batch have the size that the head's codec decodes for.

    Raises:
        ValueError: if not: keypoints would be decoded wrongly.
    """
    input_size = ((cfg.model.get('head') or {}).get('decoder') or {}).get('input_size')
    if input_size and builds(cfg.model, MODELS, TopdownPoseEstimator):
        check_crop(batch['inputs'][0].shape[:0:-1], input_size, f'{phase}_dataloader.dataset.pipeline')
