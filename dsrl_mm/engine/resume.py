"""Resumed trainings that equal uninterrupted ones.

MMEngine saves no random states, and data loader workers could not restore them. Instead, the generators of Python,
NumPy and PyTorch are seeded before every sample (for augmentations) and before every iteration (for dropout and random
positions of the affinity loss). The seed is computed from the training's seed, the process and the position.
"""

import random
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.device import get_device
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import DATA_SAMPLERS, HOOKS
from mmengine.runner import CheckpointLoader, EpochBasedTrainLoop, Runner

from .config import type_name
from .loading import match_checkpoint, modules_of, unwrapped


def _seed_all(*position: int) -> None:
    """Seed the generators of Python, NumPy and PyTorch from a position in the training."""
    seed = int(np.random.SeedSequence(position).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore the generators at the end: without workers, samples are loaded in the training's own process."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _load(dataset: Any, seed: int, rank: int, drawn: Sequence[tuple[int, int, int]]) -> list:
    """Load the samples of a batch. The augmentations of each are seeded by its position."""
    samples = []
    with random_state_kept():
        for epoch, position, index in drawn:
            _seed_all(seed, rank, epoch, position)
            samples.append(dataset[index])
    return samples


@DATA_SAMPLERS.register_module(force=True)
class ResumableSampler:
    """Another sampler's order, with each sample's augmentations derived from its position in that order.

    It yields (epoch, position, index). PyTorch asks a data set's ``__getitems__`` for the samples of a batch, so the
    sampler sets one that reads these.

    Args:
        dataset (Dataset): what is sampled; given by MMEngine.
        sampler (dict): config of the sampler whose order is taken.
        seed (int): the training's; given by MMEngine.
    """

    def __init__(self, dataset: Any, sampler: dict, seed: int):
        self.sampler = DATA_SAMPLERS.build(sampler, default_args=dict(dataset=dataset, seed=seed))
        self.epoch = self.start = 0
        if isinstance(self.sampler, InfiniteSampler):  # MMEngine repeats the passes of others, and looks for ``skip``
            self.skip = self.begin_at
        dataset.__getitems__ = partial(_load, dataset, seed, get_rank())  # a worker may not know its rank

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        start, self.start = self.start, 0
        for position, index in islice(enumerate(self.sampler), start, None):
            yield self.epoch, position, index

    def __len__(self) -> int:
        return len(self.sampler)

    def set_epoch(self, epoch: int) -> None:
        """Pass the number of the epoch on."""
        self.epoch = epoch
        self.sampler.set_epoch(epoch)

    def begin_at(self, num_samples: int) -> None:
        """Begin the next pass at a sample of the order, counted from 0, without loading those before."""
        self.start = num_samples


#: What a scheduler counts; its other attributes are its settings.
_PROGRESS = ('last_step', '_global_step', '_last_value', 'verbose')
#: Settings of PyTorch's optimizers. What others adapt while they train is not among them.
_SETTINGS = {
    *('lr', 'weight_decay', 'decoupled_weight_decay', 'momentum', 'dampening', 'nesterov', 'betas', 'eps', 'amsgrad')
}


def _param_groups(state: dict) -> list[dict]:
    """Return the parameter groups in the state of an optimizer, or of several by name."""
    states = [state] if 'param_groups' in state else state.values()
    return [group for one in states for group in one['param_groups']]


def _schedulers(of: list | dict | None) -> list:
    """Return the schedulers of an optimizer, or of several by name, or their states."""
    return [one for part in of.values() for one in part] if isinstance(of, dict) else of or []


def _check_optimizer(saved: Sequence[dict], own: Sequence[dict], scheduled: set[str]) -> None:
    """Check that groups of parameters in a checkpoint have the settings of the config's; those of schedules may differ.

    Raises:
        ValueError: if they differ.
    """
    kinds = [
        [(len(group['params']), {'betas', 'momentum'} & group.keys()) for group in groups] for groups in (saved, own)
    ]
    if kinds[0] != kinds[1]:
        raise ValueError('the checkpoint was written by another optimizer or paramwise_cfg.')
    checked = _SETTINGS - scheduled - ({'betas'} if 'momentum' in scheduled else set())
    for i, (old, new) in enumerate(zip(saved, own)):
        for key in sorted(checked & old.keys() & new.keys()):
            if np.any(np.not_equal(old[key], new[key])):
                raise ValueError(
                    f'{key} of the optimizer is {new[key]} in the config and {old[key]} in the checkpoint (parameter '
                    f"group {i}), and the training would follow the checkpoint. Resume with the checkpoint's."
                )


def _check_schedulers(saved: Sequence[dict], own: Sequence) -> None:
    """Check that learning rate schedules in a checkpoint are those of the config.

    Raises:
        ValueError: if they differ.
    """
    if len(saved) != len(own):
        raise ValueError(f'the config has {len(own)} param_scheduler, the checkpoint {len(saved)}.')
    for i, (state, scheduler) in enumerate(zip(saved, own)):
        for key, value in scheduler.state_dict().items():
            if key not in _PROGRESS and state.get(key) != value:
                raise ValueError(
                    f'{key} of param_scheduler.{i} is {value!r} in the config and {state.get(key)!r} in the '
                    'checkpoint, and the learning rate would follow the checkpoint. Resume with its schedule.'
                )


def _check_fit(runner: Runner, checkpoint: dict) -> None:
    """Check that a checkpoint fits the resumed model, optimizer and schedule.

    Raises:
        ValueError: if a tensor, the optimizer or the schedule differs.
    """
    start = f'To train something else from these weights, start a new training with load_from={runner._load_from}.'
    match = match_checkpoint(unwrapped(runner.model), checkpoint['state_dict'])
    if others := match.missing + match.reshaped + match.left:
        raise ValueError(
            f'--resume: {len(others)} tensors of the model and of the checkpoint differ ({modules_of(others)}). {start}'
        )
    schedulers = _schedulers(runner.param_schedulers)
    try:
        _check_schedulers(_schedulers(checkpoint.get('param_schedulers')), schedulers)
        groups = map(_param_groups, (checkpoint['optimizer'], runner.optim_wrapper.state_dict()))
        _check_optimizer(*groups, {scheduler.param_name for scheduler in schedulers})
    except ValueError as error:
        raise ValueError(f'--resume: {error} {start}') from None


@HOOKS.register_module(force=True)
class ResumableTrainingHook(Hook):
    """Makes a resumed training equal to an uninterrupted one, and saves a checkpoint at SIGTERM.

    - It seeds the generators before every iteration from the training's seed and the iteration.
    - It refuses to resume from a checkpoint that does not fit the config.
    - At SIGTERM, which clusters send before they kill, it saves a checkpoint after the iteration, or once accumulated
      gradients are used, and ends the process with status 143. It then resumes in the middle of an epoch, too.
    """

    priority = 'VERY_LOW'  # after the checkpoint hook

    def __init__(self):
        self.terminated = False

    def _terminate(self, *_) -> None:
        self.terminated = True

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check that a resumed training fits its checkpoint, see :func:`_check_fit`."""
        if runner._resume:
            _check_fit(runner, checkpoint)

    def before_train(self, runner: Runner) -> None:
        """Listen for SIGTERM. In an epoch that is resumed in the middle, skip the samples that were seen."""
        signal.signal(signal.SIGTERM, self._terminate)
        loader, loop = runner.train_dataloader, runner.train_loop
        seen = loop.iter - loop.epoch * len(loader)
        if isinstance(loop, EpochBasedTrainLoop) and seen and isinstance(loader.sampler, ResumableSampler):
            loader.sampler.begin_at(seen * loader.batch_size)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the generators of this process."""
        _seed_all(runner.seed, get_rank(), runner.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """End after SIGTERM, with a checkpoint."""
        terminated = torch.tensor(float(self.terminated), device=get_device())
        if get_world_size() > 1:
            all_reduce(terminated, 'max')  # the signal reaches the processes in different iterations
        counts = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        if not terminated or (runner.iter + 1) % counts:  # accumulated gradients would be lost
            return
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook):
                step = runner.epoch if hook.by_epoch else runner.iter + 1
                hook.by_epoch = False  # so that the runner notes the iteration
                hook._save_checkpoint_with_step(runner, step, {})
        runner.logger.warning('SIGTERM: a checkpoint was saved. Continue with --resume.')
        sys.exit(128 + signal.SIGTERM)


def resume_from(cfg: Config, checkpoint: str) -> None:
    """Change a config so that its training continues from a checkpoint.

    Raises:
        ValueError: if the checkpoint holds no optimizer state, such as the best one (``save_best``) and deployed ones.
    """
    saved = CheckpointLoader.load_checkpoint(checkpoint, 'cpu', logger='silent')
    if not {'meta', 'optimizer'} <= saved.keys():
        raise ValueError(
            f'--resume: {checkpoint} holds weights, but not the state of the optimizer. Resume from a numbered '
            f'checkpoint of the work dir, or start a new training with load_from={checkpoint}.'
        )
    cfg.update(resume=True, load_from=checkpoint)
    cfg.randomness = dict(cfg.get('randomness') or {}, seed=saved['meta'].get('seed'))  # before data loaders take it


def make_resumable(cfg: Config) -> None:
    """Change a config so that its training can be interrupted and resumed without a difference.

    A training with its own batch sampler keeps its loader, so its augmentations differ after a resume.
    """
    loader = cfg.train_dataloader
    if 'batch_sampler' not in loader and type_name(loader.sampler) != 'ResumableSampler':
        loader.sampler = dict(type='ResumableSampler', sampler=loader.sampler)
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or ()), dict(type='ResumableTrainingHook')]
