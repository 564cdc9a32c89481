"""Checks of a config and its data before training. Every error names the key or file, and the remedy.

Files are judged by their headers; what looks wrong is refused only if the data set's own pipeline cannot read it
either. A sample of the labels is decoded. ``check_data=False`` in a config turns all this off.
"""

import copy
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import mmcv
import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from torch import Tensor

from ...engine.config import builds, class_of, plain_datasets, type_name
from ...engine.task import evaluators
from .files import PILLOW_SUFFIXES, Suspicion, check_pair
from .label_check import check_labels, no_label

#: Labels decoded of each data set, evenly spaced.
_SAMPLE = 100


def _heads(model: dict, key: str = 'model') -> Iterator[tuple[str, dict]]:
    """Find the decode and auxiliary heads with num_classes in a model config, wrapped ones too, with their keys."""
    for name in ('decode_head', 'auxiliary_head'):
        value = model.get(name) or ()
        several = isinstance(value, (list, tuple))
        for i, head in enumerate(value if several else [value]):
            path = f'{key}.{name}.{i}' if several else f'{key}.{name}'
            if 'num_classes' in head:
                yield path, head
            yield from _heads(head, path)


def _is_one_channel(head: Mapping) -> bool:
    return head.get('out_channels', head['num_classes']) == 1


def _check_classes(model: dict, classes: Sequence[str], dataset: str) -> None:
    for key, head in _heads(model):
        if head['num_classes'] != len(classes):
            raise ValueError(
                f'{key}.num_classes is {head["num_classes"]}, but {dataset} has {len(classes)} classes: '
                f'{", ".join(classes)}. Set it to {len(classes)}.'
            )


def _check_losses(model: dict) -> None:
    """Refuse heads that cannot learn: softmax over one channel is 1, and its loss 0."""
    for key, head in _heads(model):
        losses = head.get('loss_decode', dict(type='CrossEntropyLoss'))
        losses = losses if isinstance(losses, (list, tuple)) else [losses]
        softmax = all(type_name(loss) == 'CrossEntropyLoss' and not loss.get('use_sigmoid') for loss in losses)
        if _is_one_channel(head) and softmax and builds(head, MODELS, BaseDecodeHead):
            raise ValueError(
                f'{key} has one output channel, and softmax over one channel is always 1: nothing would be learned. '
                "Use two classes, metainfo.classes=('background', 'object'), with labels 0 and 1, num_classes=2, "
                "and either no out_channels or out_channels=1 with loss_decode=dict(type='CrossEntropyLoss', "
                'use_sigmoid=True).'
            )


def _steps(pipeline: Sequence) -> Iterator[Any]:
    """Find all steps of a pipeline, those inside others, too."""
    for step in pipeline:
        if isinstance(step, (list, tuple)):
            yield from _steps(step)
        else:
            yield step
            yield from _steps(step.get('transforms', ()) if isinstance(step, dict) else ())


def _is_stock(step: Any) -> bool:
    """Tell whether a transform is the libraries'; others may change ids, channels and sizes."""
    cls = class_of(step, TRANSFORMS) if isinstance(step, dict) else None
    return getattr(cls, '__module__', '').startswith(('mmcv.', 'mmseg.', 'dsrl_mm.'))


def _is_local(cfg: Mapping) -> bool:
    args = cfg.get('backend_args') or cfg.get('file_client_args') or {}
    return args.get('backend', 'local') in ('local', 'disk')


def _reader(steps: Sequence, stock: type) -> dict | None:
    """Find the stock loader of images or labels, if it reads local files as Pillow does."""
    for step in steps:
        if isinstance(step, dict) and class_of(step, TRANSFORMS) is stock and _is_local(step):
            return None if step.get('imdecode_backend') == 'tifffile' or step.get('ignore_empty') else step
    return None


def _label(results: Mapping) -> tuple[Any, Tensor | None]:
    """Return what a pipeline says of a sample, and its label (H, W)."""
    sample = results.get('data_samples', results)
    if 'gt_sem_seg' in sample:
        return sample, sample.gt_sem_seg.data.squeeze(0)
    return sample, torch.from_numpy(sample['gt_seg_map'].copy()) if 'gt_seg_map' in sample else None


def _refutes(dataset: BaseSegDataset, i: int, training: bool) -> bool:
    """Tell whether the data set's whole pipeline makes a sample of what looked wrong."""
    try:
        results = dataset.pipeline(dataset.get_data_info(i))
        sample, label = _label(results)
    except Exception:
        return False
    size = sample.get('img_shape' if training else 'ori_shape')
    return label is None or size is None or label.shape == tuple(size[:2])


def _check_files(dataset: BaseSegDataset, images: bool, labels: bool, training: bool) -> None:
    """Check the files that the stock loaders will read, and say how many were not compared."""
    compared = refuted = 0
    for i in range(len(dataset) if images or labels else 0):
        info = dataset.get_data_info(i)
        paths = [info.get('img_path') if images else None, info.get('seg_map_path') if labels else None]
        try:
            compared += check_pair(*(path if path and '://' not in path else None for path in paths))
        except Suspicion as suspicion:
            if not _refutes(dataset, i, training):
                raise ValueError(str(suspicion)) from None
            refuted += 1
            if refuted == 10:  # another layout than assumed
                break
    if compared < len(dataset):
        print_log(
            f'{len(dataset) - compared} of them were not compared by their headers: only the pipeline may know their '
            'format or where they are',
            'current',
        )


def _report_left_out(dataset: BaseSegDataset, key: str) -> None:
    """Warn of image files that the data set does not list, such as NAME.PNG among NAME.png, and dangling links."""
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    used = {os.path.normpath(info[name]) for info in infos for name in ('img_path', 'seg_map_path') if name in info}
    files = {
        os.path.normpath(os.path.join(folder, name))
        for folder, _, names in os.walk(dataset.data_prefix['img_path'], followlinks=True)
        for name in names
        if name.lower().endswith((*PILLOW_SUFFIXES, '.tif', '.tiff', dataset.img_suffix.lower()))
    }
    if left := files - used:
        print_log(
            f'{key}: {len(left)} image files are left out, such as {min(left)}: they do not end in '
            f'img_suffix={dataset.img_suffix!r}, or are links to files that do not exist',
            'current',
            logging.WARNING,
        )


def _check_depth(path: str, key: str) -> None:
    """Warn of an image whose values are crowded in few of the 8-bit levels that it is loaded with."""
    stored = mmcv.imread(path, 'unchanged')
    if stored is not None and stored.dtype == np.uint16 and stored.max() < 2**14:
        print_log(
            f'{path} ({key}) holds 16-bit values up to {stored.max()}, but is loaded with 8 bits: '
            f'{len(np.unique(stored // 256))} gray levels remain. Stretch the values to 65535, or load them with '
            "color_type='unchanged', and mean and std of that range.",
            'current',
            logging.WARNING,
        )


def _build(dataset_cfg: Mapping, key: str) -> BaseSegDataset:
    try:  # not serialized: MMEngine fails on an empty list with an error of NumPy's
        dataset = DATASETS.build(dict(dataset_cfg, lazy_init=False, serialize_data=False))
    except TypeError:  # a class with fewer options
        dataset = DATASETS.build(dict(dataset_cfg))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{key}: {error}. Point the config at your data: its data_root, the environment variable that data_root '
            f'reads, such as CAMVID_ROOT, or --cfg-options {key}.data_root=FOLDER.'
        ) from error
    if len(dataset) == 0:
        raise ValueError(
            f'{key}: no images under {dataset_cfg.get("data_root")} with the suffix {dataset.img_suffix!r}. Set '
            f'img_suffix and data_prefix to what is there, or --cfg-options {key}.data_root=FOLDER.'
        )
    return dataset


def _check_names(dataset_cfg: Mapping, key: str) -> None:
    """Refuse a string for the names of classes, unless it is a file's."""
    classes = (dataset_cfg.get('metainfo') or {}).get('classes')
    if isinstance(classes, str) and not os.path.isfile(classes) and '://' not in classes:
        raise ValueError(
            f'{key}.metainfo.classes is the string {classes!r}, which counts as {len(classes)} classes. Write a tuple, '
            f'with a comma: classes=({classes!r},).'
        )


def _check_dataset(cfg: Config, dataset_cfg: Mapping, key: str, phase: str) -> None:
    """Check the classes and the files of one data set."""
    if not builds(dataset_cfg, DATASETS, BaseSegDataset):
        print_log(f'The files of {key} are not checked: it is not a BaseSegDataset', 'current')
        return
    _check_names(dataset_cfg, key)
    dataset = _build(dataset_cfg, key)
    if classes := dataset.metainfo.get('classes'):
        _check_classes(cfg.model, classes, f'{type(dataset).__name__} ({key})')
    elif phase != 'train':
        raise ValueError(
            f'{key}: {type(dataset).__name__} has no class names, which metrics need. Set {key}.metainfo='
            'dict(classes=(...), palette=[...]).'
        )
    print_log(f'Checking the {len(dataset)} images and labels of {key} (not with check_data=False)', 'current')
    steps = [*_steps(dataset_cfg.get('pipeline', ()))]
    images, labels = (_reader(steps, stock) for stock in (LoadImageFromFile, LoadAnnotations))
    frames = any(_is_stock(step) and type_name(step) == 'EnlargeFrame' for step in steps)
    if phase == 'train' and frames and cfg.model.get('sr_aux'):
        print_log(
            f'{key}.pipeline enlarges frames, which have no image of high resolution to rebuild: the SISR branch '
            'learns nothing. Set model.sr_aux=None.',
            'current',
            logging.WARNING,
        )
    listed = type(dataset).load_data_list is BaseSegDataset.load_data_list and _is_local(dataset_cfg)
    if listed and labels and 'seg_map_path' not in (first := dataset.get_data_info(0)):
        raise no_label(phase, first.get('img_path'))
    if listed and images and not dataset.ann_file and dataset_cfg.get('indices') is None:
        _report_left_out(dataset, key)
    _check_files(dataset, bool(images), bool(labels), phase == 'train')
    if images and images.get('color_type') != 'unchanged':
        _check_depth(dataset.get_data_info(0)['img_path'], key)


def _check_labels(cfg: Config, loader: Mapping, phase: str) -> None:
    """Check the ids of a sample of the labels, loaded by the first steps alone if all steps are the libraries'."""
    loader, key = copy.deepcopy(loader), f'{phase}_dataloader'
    parts = [part for _, part in plain_datasets(loader, key, 'pipeline')]
    if all(_is_stock(step) for part in parts for step in _steps(part['pipeline'])):
        for part in parts:
            part['pipeline'] = [step for step in _steps(part['pipeline']) if type_name(step).startswith('Load')]
    dataset = DATASETS.build(loader['dataset'])
    heads, classes = [head for _, head in _heads(cfg.model)], getattr(dataset, 'metainfo', {}).get('classes')
    if not (heads or classes):
        return
    num_ids = len(classes) if classes else heads[0]['num_classes']
    if phase == 'train':
        num_ids = max(num_ids, 2 * any(map(_is_one_channel, heads)))  # one channel tells two classes apart
    readers = heads if phase == 'train' else evaluators(cfg, phase).values()
    ignored = {reader.get('ignore_index', 255) for reader in readers} or {255}
    indices = np.linspace(0, len(dataset) - 1, min(len(dataset), _SAMPLE)).astype(int)
    found = (_label(dataset[i]) for i in indices)
    labels = (
        (sample.get('seg_map_path') or f'the label of {sample.get("img_path")}', label)
        for sample, label in found
        if label is not None
    )
    check_labels(labels, classes or range(num_ids), num_ids, ignored, f'{key} ({len(dataset)} labels)')


def check_data(cfg: Config, phases: tuple[str, ...]) -> None:
    """Check the data sets of a config, and the classes and losses of the model; ``check_data=False`` turns it off.

    Raises:
        FileNotFoundError, ValueError: see the module.
    """
    if not cfg.get('check_data', True):
        return
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    for phase in phases:
        if loader := cfg.get(f'{phase}_dataloader'):
            for key, dataset_cfg in plain_datasets(loader, f'{phase}_dataloader', 'data_prefix'):
                _check_dataset(cfg, dataset_cfg, key, phase)
            if phase == 'train':
                _check_losses(cfg.model)
            _check_labels(cfg, loader, phase)
