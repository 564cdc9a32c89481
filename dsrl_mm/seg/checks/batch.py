"""Checks of the first batch of a data loader, and of the order of a pipeline's steps."""

import logging
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.evaluation import IoUMetric
from mmseg.registry import DATASETS, HOOKS, METRICS, TRANSFORMS
from torch import Tensor, nn

from ...engine.config import builds, input_channels, plain_datasets, type_name
from ...engine.hooks import sample_paths
from ...engine.task import evaluators, hooks
from .label_check import LabelCheckHook, check_training_batch, no_label

#: MMSegmentation's and mmcv's transforms that move pixels.
_MOVING = ('Resize', 'RandomFlip', 'RandomCrop', 'RandomRotate', 'RandomRotFlip', 'RandomResize', 'RandomChoiceResize')
_MOVING += ('ResizeToMultiple', 'ResizeShortestEdge')


def _check_order(cfg: Config) -> None:
    """Check that training images are not moved before their labels are loaded.

    Raises:
        ValueError: if they are, unless the labels have the size that the images are resized to.
    """
    for key, dataset in plain_datasets(cfg.train_dataloader, 'train_dataloader', 'pipeline'):
        steps = dataset['pipeline']
        last = next((i for i, step in enumerate(steps) if builds(step, TRANSFORMS, LoadAnnotations)), 0)
        moving = [type_name(step) for step in steps[:last] if type_name(step) in _MOVING]
        if not moving:
            continue
        loaded = DATASETS.build(dict(dataset, pipeline=steps[: last + 1], lazy_init=False))[0]
        if loaded['img'].shape[:2] != loaded['gt_seg_map'].shape or not all('Resize' in name for name in moving):
            raise ValueError(
                f'{key}.pipeline: {", ".join(moving)} comes before {type_name(steps[last])}, so images are moved and '
                'their labels are not. Load the labels right after the image.'
            )


def _needs_labels(cfg: Config, phase: str) -> bool:
    if phase == 'train':
        return any(builds(hook, HOOKS, LabelCheckHook) for _, hook in hooks(cfg))
    metrics = [metric for metric in evaluators(cfg, phase).values() if builds(metric, METRICS, IoUMetric)]
    return any(not metric.get('format_only') for metric in metrics)


def _check_channels(cfg: Config, image: Tensor, path: str) -> None:
    preprocessor, reads = cfg.model.get('data_preprocessor') or {}, input_channels(cfg.model.get('backbone', {}))
    mean = len(preprocessor.get('mean') or ()) if type_name(preprocessor) == 'SegDataPreProcessor' else 0
    channels = len(image)
    if channels == reads and mean in (0, 1, channels):
        return
    message = (
        f'{path} is loaded with {channels} channels, but model.data_preprocessor.mean has {mean} values, and '
        f"model.backbone reads {reads} channels. Load it with color_type='color', or set both to the image's channels."
    )
    if channels > 1 and mean not in (0, 1, channels):
        raise ValueError(message)
    print_log(message, 'current', logging.WARNING)


def check_batch(cfg: Config, phase: str, model: nn.Module | None, batch: Any) -> None:
    """Check that the first batch has what the model, the loss and the metrics read.

    Raises:
        ValueError: if channels or labels are not as they need them, or labels are moved otherwise than their images.
    """
    if phase == 'train':
        _check_order(cfg)
    if not isinstance(batch, dict) or 'data_samples' not in batch:
        return
    paths = sample_paths(batch)
    _check_channels(cfg, batch['inputs'][0], paths[0])
    if not _needs_labels(cfg, phase):
        return
    for path, sample in zip(paths, batch['data_samples']):
        if 'gt_sem_seg' not in sample:
            raise no_label(phase, path)
        size, original = tuple(sample.gt_sem_seg.shape[-2:]), sample.metainfo.get('ori_shape')
        if phase != 'train' and original is not None and size != tuple(original[:2]):
            raise ValueError(
                f'{phase}_dataloader.dataset.pipeline makes a label of {size} pixels for {path}, but predictions are '
                f'compared on its original {tuple(original[:2])}. Put LoadAnnotations after the steps that resize.'
            )
    if phase == 'train' and model is not None:
        check_training_batch(model, batch)
