"""Checks of a pose config and its data before training. Errors name the key or file, and the remedy."""

import gc
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmpose.datasets.datasets.base import BaseCocoStyleDataset
from mmpose.evaluation import CocoMetric
from mmpose.registry import DATASETS, METRICS
from PIL import Image, UnidentifiedImageError

from ..engine.config import builds, plain_datasets
from .estimator import check_crop

__all__ = ['check_data']

#: Methods of BaseCocoStyleDataset that read its files. A data set that overrides one is not checked.
_READERS = ('load_data_list', '_load_annotations', '_load_detection_results', 'parse_data_info', '_is_valid_instance')

#: Number of image headers read per data set, evenly spread over it.
_SAMPLE = 100


@dataclass
class _Persons:
    """Persons in the annotations, by their use; MMPose leaves some out silently."""

    used: int = 0
    image_ids: set[int] = field(default_factory=set)
    empty: int = 0  # labeled, but the box is outside the image: left out
    thin: int = 0  # labeled, in a box less than a pixel wide or high


def _coco_dataset(cfg: dict) -> BaseCocoStyleDataset | None:
    """Build the data set with its paths joined and no annotations loaded; None if its type is unknown."""
    cls = DATASETS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    if not (isinstance(cls, type) and issubclass(cls, BaseCocoStyleDataset)):
        return None
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
            f'data_root reads, or --cfg-options {key}=FILE.{boxes}'
        )


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Pause garbage collection, which takes as long among millions of new lists as creating them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _load(path: str, key: str) -> Any:
    _check_file(path, key)
    with open(path, encoding='utf-8') as f, _without_garbage_collection():
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
            for missing in (one for one in fields if one not in item):
                raise ValueError(f'{key}.ann_file: {dataset.ann_file} is no COCO file: {name}[{i}] has no "{missing}".')
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
        what = f'{key}: the category "{category.get("name")}" of {dataset.ann_file}'
        if len(labeled) != len(names):
            raise ValueError(
                f'{what} has {len(labeled)} keypoints, but {type(dataset).__name__} has {len(names)}: '
                f'{", ".join(names)}. Give the data set the metainfo of its keypoints, or take the type that has them.'
            )
        if sorted(labeled) == sorted(names) and labeled != names:
            raise ValueError(
                f'{what} lists its keypoints in another order than {type(dataset).__name__}: {", ".join(labeled)}. '
                f'Flips and the metric need this one: {", ".join(names)}. Give the data set a metainfo in its order.'
            )


def _sides_in_image(bbox: list[float], image: dict) -> tuple[float, float]:
    """Compute width and height, in pixels, of the part of a box (x, y, w, h) that is in the image."""
    x, y, w, h = bbox
    right, bottom = image['width'] - 1, image['height'] - 1
    return min(max(x + w, 0), right) - min(max(x, 0), right), min(max(y + h, 0), bottom) - min(max(y, 0), bottom)


def _check_numbers(file: str, key: str, ann: dict) -> None:
    """Refuse a box or a labeled keypoint that is not finite: its crop or heatmap would be."""
    keypoints = ann['keypoints']
    try:
        if math.isfinite(sum(ann['bbox']) + sum(keypoints)):  # by far the fastest
            return
    except TypeError:
        pass
    labeled = [v for i in range(0, len(keypoints), 3) if keypoints[i + 2] != 0 for v in keypoints[i : i + 3]]
    for name, values in (('bbox', ann['bbox']), ('keypoints', labeled)):
        if any(not isinstance(value, (int, float)) or not math.isfinite(value) for value in values):
            raise ValueError(
                f'{key}: annotation {ann["id"]} of {file} has a {name} with values that are not finite numbers '
                f'({values}). Correct it or leave the annotation out.'
            )


def _count_persons(dataset: BaseCocoStyleDataset, content: dict, key: str) -> _Persons:
    """Count the persons that MMPose uses: no crowds, with keypoints and a box in the image."""
    persons, images = _Persons(), {image['id']: image for image in content['images']}
    num_values = 3 * dataset.metainfo['num_keypoints']
    for ann in content['annotations']:
        keypoints, bbox, image = ann.get('keypoints'), ann.get('bbox'), images.get(ann['image_id'])
        if keypoints is None or bbox is None or image is None:
            continue
        if ann.get('iscrowd') or ann.get('num_keypoints') == 0:
            continue
        if len(keypoints) != num_values or len(bbox) != 4:
            raise ValueError(
                f'{key}: annotation {ann["id"]} of {dataset.ann_file} has {len(keypoints)} numbers as keypoints and '
                f'{len(bbox)} as bbox. {type(dataset).__name__} needs {num_values}, for x, y and visibility of '
                f'{num_values // 3} keypoints, and 4.'
            )
        _check_numbers(dataset.ann_file, key, ann)
        if max(keypoints[0::3]) <= 0 and max(keypoints[1::3]) <= 0:
            continue
        side = min(_sides_in_image(bbox, image))
        persons.empty += side <= 0
        persons.thin += 0 < side < 1
        if side > 0:
            persons.used += 1
            persons.image_ids.add(image['id'])
    return persons


def _check_persons(dataset: BaseCocoStyleDataset, content: dict, key: str) -> set[int]:
    """Check the annotations; return the ids of the images that have a person to train or test on."""
    persons = _count_persons(dataset, content, key)
    print_log(
        f'Checking the {persons.used} persons with keypoints in {len(persons.image_ids)} images of {key}', 'current'
    )
    if persons.empty or persons.thin:
        print_log(
            f'{key}: {persons.empty} persons with keypoints have a box without area in the image, and MMPose leaves '
            f'them out; {persons.thin} have one less than a pixel wide or high.',
            'current',
        )
    if not persons.used:
        raise ValueError(
            f'{key}: no person in {dataset.ann_file} can be used: {len(content["annotations"])} annotations, '
            f'{persons.empty} of them with keypoints in a box without area, the others crowds, without keypoints, '
            'without a box, or of images that are not in the file.'
        )
    return persons.image_ids


def _check_detections(dataset: BaseCocoStyleDataset, content: dict, key: str) -> set[int]:
    """Check a file of detected boxes; return the ids of the images that have one to test on."""
    file, key = dataset.bbox_file, f'{key}.bbox_file'
    detections = _load(file, key)
    fields = ('image_id', 'category_id', 'bbox', 'score')
    if not isinstance(detections, list) or not all(set(fields) <= set(found) for found in detections):
        raise ValueError(f'{key}: {file} is no list of detections, each with {", ".join(fields)}.')
    threshold = (dataset.filter_cfg or {}).get('bbox_score_thr', -float('inf'))
    persons = [found for found in detections if found['category_id'] == 1]
    unknown = {found['image_id'] for found in persons} - {image['id'] for image in content['images']}
    if unknown:
        raise ValueError(
            f'{key}: {file} has boxes in {len(unknown)} images that are not in {dataset.ann_file}, such as '
            f'{min(unknown)}. The two are of different data.'
        )
    kept = {found['image_id'] for found in persons if found['score'] >= threshold}
    if not kept:
        raise ValueError(
            f'{key}: no box to test on in {file}: {len(detections)} detections, {len(persons)} of category 1 (person), '
            f'none of them with a score of at least filter_cfg.bbox_score_thr={threshold}.'
        )
    print_log(f'Checking the boxes detected in {len(kept)} images of {key}', 'current')
    return kept


def _missing(paths: Iterable[str]) -> list[str]:
    """Return the paths that do not exist. Folders are listed: a call per file takes minutes on a network disk."""
    listed, missing = {}, []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in listed:
            listed[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        if name not in listed[folder]:
            missing.append(path)
    return missing


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
    missing = _missing(paths)
    if missing:
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


def _check_crops(cfg: dict, input_size: Sequence[int], key: str) -> None:
    """Check the pipelines of a data loader or data set, including those in wrappers, against the codec's crops."""
    for i, transform in enumerate(cfg.get('pipeline', ())):
        if 'input_size' in transform:
            check_crop(transform['input_size'], input_size, f'{key}.pipeline.{i}')
    for i, inner in enumerate(cfg.get('datasets', ())):
        _check_crops(inner, input_size, f'{key}.datasets.{i}')
    if 'dataset' in cfg:
        _check_crops(cfg['dataset'], input_size, f'{key}.dataset')


def _evaluators(cfg: Config, phase: str) -> Iterator[tuple[str, dict]]:
    """Yield the keys and the configs of a phase's metrics."""
    evaluators = cfg.get(f'{phase}_evaluator') or ()
    if not isinstance(evaluators, (list, tuple)):
        yield f'{phase}_evaluator', evaluators
    else:
        yield from ((f'{phase}_evaluator.{i}', evaluator) for i, evaluator in enumerate(evaluators))


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
        for key, metric in _evaluators(cfg, phase)
        if builds(metric, METRICS, CocoMetric)
        and os.path.abspath(metric.get('ann_file') or ann_file) == os.path.abspath(ann_file)
        and not any(metric.get(option) for option in ('format_only', 'gt_converter', 'pred_converter'))
    }


def check_data(cfg: Config, phases: tuple[str, ...]) -> None:
    """Check the COCO-style data sets of a config, the model's keypoints against theirs, and the crops.

    Data sets of other types are not checked. An annotation file of COCO's size takes seconds, mostly for parsing.

    Args:
        cfg (Config): an MMPose config. ``check_data=False`` in it turns the check off.
        phases (tuple[str, ...]): of 'train', 'val', 'test'; a phase without a data loader is skipped.

    Raises:
        FileNotFoundError: if an annotation file, a file of boxes or images are missing.
        ValueError: if a file is not JSON or not COCO's; if nothing in it can be used; if keypoints differ in number or
            order between file, data set and model; if one of the images looked into is none or has another size than
            its annotations say; if crops are of another size than the head's codec decodes for; if ids, boxes or
            keypoints are no numbers, or an id names two things; if a CocoMetric lacks areas or sigmas.
    """
    if not cfg.get('check_data', True):
        return
    init_default_scope(cfg.get('default_scope', 'mmpose'))
    checked, input_size = [], ((cfg.model.get('head') or {}).get('decoder') or {}).get('input_size')
    for phase in phases:
        loader_key, loader = f'{phase}_dataloader', cfg.get(f'{phase}_dataloader') or {}
        if input_size is not None:
            _check_crops(loader, input_size, loader_key)
        for key, dataset_cfg in plain_datasets(loader, loader_key, 'ann_file'):
            dataset = _coco_dataset(dataset_cfg)
            if dataset is None:
                continue
            _check_head(cfg.model, dataset, dataset_cfg.get('pipeline', []), key)
            metrics = {} if phase == 'train' else _coco_metrics(cfg, phase, dataset.ann_file)
            files = {**dataset_cfg, 'pipeline': None}
            if (found := (files, [*metrics.values()])) not in checked:  # val and test are often one
                checked.append(found)
                _check_dataset(dataset, key, metrics)
        for key, metric in _evaluators(cfg, phase):
            if metric.get('ann_file'):
                _check_file(metric['ann_file'], f'{key}.ann_file')
