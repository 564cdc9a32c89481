"""One dry run before the first step finds at once what would otherwise end a training after hours.

It works on a model and data loaders of its own, so the training that follows is the same as without it.
"""

import copy
import inspect
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MMLogger, print_log
from mmengine.model import BaseModel
from mmengine.registry import HOOKS, LOOPS, METRICS, MODELS, OPTIMIZERS, Registry, init_default_scope
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

from .config import class_of, flat, from_known_package, nearest, type_name
from .resume import random_state_kept
from .task import Task, evaluators, hooks

_PACKED_BY = dict(SegDataPreProcessor='PackSegInputs', PoseDataPreprocessor='PackPoseInputs')
_AUTOCAST = dict(AmpOptimWrapper=torch.float16, BFloat16OptimWrapper=torch.bfloat16)


def _warn(message: str) -> None:
    print_log(message, 'current', logging.WARNING)


def _arguments(cls: type) -> set[str] | None:
    """Return the arguments that a class and its bases read; None if they may read any."""
    bases = [base for base in cls.__mro__ if '__init__' in vars(base) and base is not object]
    # EMAHook passes others on to the averaged model.
    if not all(from_known_package(base.__module__) and base.__name__ != 'EMAHook' for base in bases):
        return None
    return {name for base in bases for name in inspect.signature(base.__init__).parameters}


def _class_of(part: Mapping, registry: Registry) -> Any:
    with registry.switch_scope_and_registry(None) as scoped:  # the default scope's
        return class_of(part, scoped)


def _check_arguments(key: str, part: Mapping, registry: Registry) -> None:
    """Check that a hook or a metric reads all that its config sets; MMEngine's own keep unknown names unread."""
    if not isinstance(part, Mapping):
        return
    cls = _class_of(part, registry)
    known = _arguments(cls) if inspect.isclass(cls) else None
    for name in () if known is None else part.keys() - known - {'type', 'priority', '_scope_'}:
        near = f'Did you mean {nearest(name, known - {"self", "args", "kwargs"} or {"type"})}?'
        raise ValueError(f'{key}.{name}: {cls.__name__} has no such option. {near}')


def _check_optimizer(cfg: Config) -> None:
    type_ = (cfg.optim_wrapper.get('optimizer') or {}).get('type')
    if isinstance(type_, str) and '.' not in type_ and OPTIMIZERS.get(type_) is None:
        raise ValueError(
            f'optim_wrapper.optimizer.type="{type_}": there is no such optimizer. Did you mean '
            f'{nearest(type_, OPTIMIZERS.module_dict)}?'
        )


def _check_weights(cfg: Config) -> None:
    for key, value in flat(cfg.model).items():
        if not key.endswith(('loss_weight', 'class_weight', 'ssim_weight')):
            continue
        for weight in value if isinstance(value, list) else [value]:
            text = isinstance(weight, str) and not key.endswith('class_weight')  # which may name a file
            if text or (isinstance(weight, (int, float)) and not 0 <= weight < math.inf):
                raise ValueError(
                    f'model.{key}={value}: weights must be numbers of at least 0. '
                    'With a negative one, training increases a loss.'
                )


#: What each of MMEngine's loops counts.
_COUNTED = {EpochBasedTrainLoop: 'max_epochs', IterBasedTrainLoop: 'max_iters'}


def _check_train_cfg(loop: Mapping) -> None:
    """Check that the loop reads all that ``train_cfg`` sets, and that it knows when to end."""
    if ('type' in loop) == ('by_epoch' in loop):
        raise ValueError('train_cfg needs its type, such as "IterBasedTrainLoop", or by_epoch, and not both')
    cls = _class_of(loop, LOOPS) if 'type' in loop else [*_COUNTED][not loop['by_epoch']]
    if cls not in _COUNTED:
        return
    (other,) = _COUNTED.keys() - {cls}
    remedy = (
        f'Set {_COUNTED[cls]}, or choose the other loop by train_cfg=dict(_delete_=True, type="{other.__name__}", '
        f'{_COUNTED[other]}=..., val_interval=...).'
    )
    known = _arguments(cls) - {'self', 'runner', 'dataloader'}
    for name in loop.keys() - known - {'type', 'by_epoch', '_scope_'}:
        near = remedy if name in _COUNTED.values() else f'Did you mean {nearest(name, known)}?'
        raise ValueError(f'train_cfg.{name}: {cls.__name__} has no such option. {near}')
    if _COUNTED[cls] not in loop:
        raise ValueError(f'train_cfg does not say when {cls.__name__} ends. {remedy}')


def _check_loop(cfg: Config) -> None:
    _check_train_cfg(cfg.train_cfg)
    loop, sampler = cfg.train_cfg, cfg.train_dataloader.get('sampler') or {}
    sampler = sampler.get('sampler', sampler)  # of a ResumableSampler
    by_epoch = type_name(loop) == 'EpochBasedTrainLoop' or ('type' not in loop and loop.get('by_epoch'))
    if by_epoch and type_name(sampler) == 'InfiniteSampler' and 'num_batch_per_epoch' not in cfg.train_dataloader:
        raise ValueError(
            'train_cfg counts epochs (EpochBasedTrainLoop), but train_dataloader.sampler is an InfiniteSampler: the '
            'first epoch would never end. Set train_dataloader.sampler.type="DefaultSampler", or train_cfg='
            'dict(type="IterBasedTrainLoop", max_iters=..., val_interval=...).'
        )


def _first_batch(cfg: Config, phase: str) -> tuple[Any, dict | None]:
    """Load the first batch of a data loader in this process, and the metadata of its data set."""
    key = f'{phase}_dataloader'
    workers = ('persistent_workers', 'prefetch_factor', 'multiprocessing_context', 'timeout', 'pin_memory')
    loader = {name: value for name, value in cfg[key].items() if name not in workers} | dict(num_workers=0)
    loader = Runner.build_dataloader(loader, seed=(cfg.get('randomness') or {}).get('seed') or 0)
    try:
        return next(iter(loader)), getattr(loader.dataset, 'metainfo', None)
    except StopIteration:
        raise ValueError(
            f'{key}: its {len(loader.dataset)} samples make no batch of {loader.batch_size}. Lower batch_size, or set '
            'drop_last=False.'
        ) from None


def _check_packed(cfg: Config, phase: str, batch: Any) -> None:
    packer = _PACKED_BY.get(type_name(cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}))
    if packer and 'inputs' not in batch:
        raise ValueError(
            f'{phase}_dataloader.dataset.pipeline does not pack its samples: they hold {", ".join(batch)}. End it with '
            f'dict(type="{packer}").'
        )


def _compute_loss(cfg: Config, model: BaseModel, batch: Any) -> None:
    dtype = _AUTOCAST.get(type_name(cfg.optim_wrapper))
    model.train()
    with torch.autocast(get_device(), dtype, enabled=dtype is not None):
        model.parse_losses(model._run_forward(model.data_preprocessor(copy.deepcopy(batch), True), mode='loss'))


def _evaluate(cfg: Config, model: BaseModel, batch: Any, metainfo: dict | None) -> dict[str, Any] | None:
    """Predict the first validation batch and evaluate it; None if the metrics need more."""
    evaluator = Runner.build_evaluator(None, copy.deepcopy(cfg.val_evaluator))
    if metainfo is not None:
        evaluator.dataset_meta = metainfo
    batch = copy.deepcopy(batch)  # which models change
    model.eval()
    with torch.no_grad():
        outputs = model.val_step(batch)
    evaluator.process(data_samples=outputs, data_batch=batch)
    try:
        return evaluator.evaluate(len(outputs))
    except Exception as error:
        _warn(f'val_evaluator fails on one batch; see that it does not on all ({type(error).__name__}: {error})')
        return None


def _check_save_best(cfg: Config, metrics: dict[str, Any] | None) -> None:
    if not metrics:
        return
    types = [_class_of(metric, METRICS) for metric in evaluators(cfg, 'val').values() if 'type' in metric]
    for key, hook in hooks(cfg):
        wanted = hook.get('save_best') or ()
        for name in {*([wanted] if isinstance(wanted, str) else wanted)} - {'auto'} - metrics.keys():
            message = f'{key}.save_best: val_evaluator gives no {name!r}; it gives {", ".join(metrics)}'
            if all(from_known_package(type_.__module__) for type_ in types):
                raise ValueError(f'{message}. Did you mean {nearest(name, metrics)!r}?')
            _warn(message)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the numbers of an untrained model out of the log."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)  # logging.disable does not reach MMEngine's loggers
    try:
        with warnings.catch_warnings(), random_state_kept():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)


def _build_model(cfg: Config) -> BaseModel | None:
    settings = copy.deepcopy(cfg.model)
    if 'data_preprocessor' in cfg:
        settings.setdefault('data_preprocessor', cfg.data_preprocessor)
    model = MODELS.build(settings)
    return model.to(get_device()) if isinstance(model, BaseModel) else None


def _run_model(cfg: Config, model: BaseModel, batches: dict[str, tuple[Any, dict | None]]) -> None:
    # Alone, the first of several processes has no statistics of a whole batch.
    if 'train' in batches and cfg.get('launcher', 'none') == 'none':
        _compute_loss(cfg, model, batches['train'][0])
    if 'val' in batches and type_name(cfg.get('val_cfg') or {}) in ('', 'ValLoop'):
        _check_save_best(cfg, _evaluate(cfg, model, *batches['val']))
    torch.save(dict(meta=dict(dataset_meta=batches['train'][1]), state_dict=model.state_dict()), BytesIO())


def dry_run(cfg: Config, phases: tuple[str, ...], task: Task) -> None:
    """Try what a run will do: load a batch of every loader, compute the loss, predict, evaluate, and save.

    Nothing is learnt and nothing is written. A test has only its options and its first batch checked.

    Args:
        cfg (Config): the whole config, whose data are checked. It stays as it is.
        phases (tuple[str, ...]): of 'train', 'val', 'test'; a phase without a data loader is skipped.
        task (Task): of the config.

    Raises:
        ValueError: if the run would fail later, or never end.
    """
    cfg = copy.deepcopy(cfg)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    phases = tuple(phase for phase in phases if cfg.get(f'{phase}_dataloader'))
    for key, hook in hooks(cfg):
        _check_arguments(key, hook, HOOKS)
    for phase in {*phases} - {'train'}:
        for key, metric in evaluators(cfg, phase).items():
            _check_arguments(key, metric, METRICS)
    if 'train' in phases:
        _check_optimizer(cfg)
        _check_loop(cfg)
        _check_weights(cfg)
    with _quietly():
        batches = {phase: _first_batch(cfg, phase) for phase in phases}
        model = _build_model(cfg) if 'train' in phases else None
        for phase, (batch, _) in batches.items():
            _check_packed(cfg, phase, batch)
            task.check_batch(cfg, phase, model, batch)
        if model is None:
            return
        try:
            _run_model(cfg, model, batches)
        except torch.cuda.OutOfMemoryError:
            _warn('The dry run before the training needs more memory than there is, and was left out')
        torch.cuda.empty_cache()
