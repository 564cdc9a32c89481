"""Checks of the first batch of a data loader, and of the order of a pipeline's steps."""

from typing import Any

from mmengine.config import Config
from mmseg.evaluation import IoUMetric
from mmseg.registry import DATASETS, HOOKS, METRICS
from torch import nn

from ...engine.config import builds, plain_datasets, type_name
from ...engine.hooks import sample_paths
from ...engine.task import evaluators, hooks
from .label_check import LabelCheckHook, check_training_batch

__all__ = ['check_batch']

#: MMSegmentation's and mmcv's transforms that move pixels.
_MOVING = ('Resize', 'RandomFlip', 'RandomCrop', 'RandomRotate', 'RandomRotFlip', 'RandomResize', 'RandomChoiceResize')
_MOVING += ('ResizeToMultiple', 'ResizeShortestEdge')


def _check_order(cfg: Config) -> None:
    """Check that training images are not moved before their labels are loaded.

    Raises:
        ValueError: if they are, unless the labels have the size that the images are resized to.
    """
    for key, dataset in plain_datasets(cfg.train_dataloader, 'train_dataloader', 'pipeline'):
        names = [type_name(step) for step in dataset['pipeline']]
        last = names.index('LoadAnnotations') if 'LoadAnnotations' in names else 0
        moving = [name for name in names[:last] if name in _MOVING]
        if not moving:
            continue
        loaded = DATASETS.build(dict(dataset, pipeline=dataset['pipeline'][: last + 1], lazy_init=False))[0]
        if loaded['img'].shape[:2] != loaded['gt_seg_map'].shape or not all('Resize' in name for name in moving):
            raise ValueError(
                f'{key}.pipeline: {", ".join(moving)} comes before LoadAnnotations, so images are moved and their '
                'labels are not. Load the labels right after the image.'
            )


def _needs_labels(cfg: Config, phase: str) -> bool:
    if phase == 'train':
        return any(builds(hook, HOOKS, LabelCheckHook) for _, hook in hooks(cfg))
    metrics = [metric for metric in evaluators(cfg, phase) if builds(metric, METRICS, IoUMetric)]
    return any(not metric.get('format_only') for metric in metrics)


def check_batch(cfg: Config, phase: str, model: nn.Module | None, batch: Any) -> None:
    """Check that the first batch has what the loss or the metrics read.

    Raises:
        ValueError: if labels are missing, are moved otherwise than their images, or fail
            :func:`~dsrl_mm.seg.checks.label_check.check_training_batch`.
    """
    if phase == 'train':
        _check_order(cfg)
    if not _needs_labels(cfg, phase) or not isinstance(batch, dict) or 'data_samples' not in batch:
        return
    for path, sample in zip(sample_paths(batch), batch['data_samples']):
        if 'gt_sem_seg' not in sample:
            without = '' if phase == 'train' else f'. To predict without labels, set {phase}_evaluator.format_only=True'
            raise ValueError(
                f'{phase}_dataloader.dataset: {path} comes without a label, which '
                f'{"the loss needs" if phase == "train" else "metrics need"}: the pipeline has no LoadAnnotations, or '
                f'data_prefix no seg_map_path{without}.'
            )
        size, original = tuple(sample.gt_sem_seg.shape[-2:]), sample.metainfo.get('ori_shape')
        if phase != 'train' and original is not None and size != tuple(original[:2]):
            raise ValueError(
                f'{phase}_dataloader.dataset.pipeline makes a label of {size} pixels for {path}, but predictions are '
                f'compared on its original {tuple(original[:2])}. Put LoadAnnotations after the steps that resize.'
            )
    if phase == 'train' and model is not None:
        check_training_batch(model, batch)
