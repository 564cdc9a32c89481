"""Loading of checkpoints, with a report of what fits and an error for other architectures."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

#: Attributes of a model that inference does not use.
TRAINING_ONLY = ('sr_aux', 'auxiliary_head')


@dataclass
class Match:
    """Names of tensors, by what happens to them when a checkpoint is loaded."""

    taken: list[str]
    missing: list[str]  # in the model, not in the checkpoint
    reshaped: list[str]  # in both, of different shapes: not loaded
    left: list[str]  # in the checkpoint, not in the model


def _is_for_training(name: str) -> bool:
    return name.split('.')[0] in TRAINING_ONLY


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside wrappers for distributed training and test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def modules_of(names: Iterable[str], depth: int = 2) -> str:
    """List the modules of tensors, in a form that is easy to read."""
    folded = sorted({'.'.join(name.split('.')[:depth]) for name in names}) or ['none']
    return ', '.join(folded[:8]) + (f', and {len(folded) - 8} more' if len(folded) > 8 else '')


def match_checkpoint(model: nn.Module, state_dict: dict) -> Match:
    """Compare a model's tensors with a checkpoint's, by name and shape."""
    own = model.state_dict()
    both = [name for name in own if name in state_dict]
    return Match(
        taken=[name for name in both if own[name].shape == state_dict[name].shape],
        missing=[name for name in own if name not in state_dict and not name.endswith('num_batches_tracked')],
        reshaped=[name for name in both if own[name].shape != state_dict[name].shape],
        left=[name for name in state_dict if name not in own],
    )


def check_architecture(model: nn.Module, state_dict: dict, prefix: str) -> None:
    """Log which tensors fit a model, and refuse another architecture; runs before any weight is loaded.

    Raises:
        ValueError: if nothing fits, or if fewer than three quarters of the tensors of the two backbones do: training or
            testing would silently start from random weights. The tensors of both count, because a deep ResNet has
            nearly all tensors of a shallow one.
    """
    match = match_checkpoint(
        model, {name[len(prefix) :]: value for name, value in state_dict.items() if name.startswith(prefix)}
    )
    taken, missing, reshaped, left = (
        [name for name in names if name.startswith('backbone.')]
        for names in (match.taken, match.missing, match.reshaped, match.left)
    )
    holds_a_backbone = bool(taken + reshaped + left)
    if not match.taken or (holds_a_backbone and len(taken) < 3 * len(missing + reshaped + left)):
        raise ValueError(
            f'The checkpoint belongs to another architecture. Of the tensors of the {type(model.backbone).__name__} '
            f'backbone, {len(taken)} are in it with the same name and shape, {len(missing)} are missing '
            f'({modules_of(missing, 3)}), and {len(reshaped)} have another shape ({modules_of(reshaped, 3)}); '
            f'{len(left)} are in it only ({modules_of(left, 3)}). Load a checkpoint that this config trained.'
        )
    if match.missing or match.reshaped or match.left:
        print_log(
            f'Checkpoint: {len(match.taken)} tensors taken. Not in it, so left as initialized: '
            f'{modules_of(match.missing)}. Of another shape, so not taken: {modules_of(match.reshaped)}. In it but not '
            f'in the model: {modules_of(match.left)}.',
            logger='current',
        )


def without_pretrained(part: Any) -> Any:
    """Copy a model config, or a part of one, so that building it reads no weights.

    Every ``init_cfg`` of type 'Pretrained' is removed, at any depth (BiSeNet's is in ``backbone.backbone_cfg``), and
    every ``pretrained`` is disabled, because timm's backbones read weights by default.
    """
    if isinstance(part, dict):
        kept = {key: without_pretrained(value) for key, value in part.items() if not _reads_weights(key, value)}
        if kept.get('pretrained'):
            kept['pretrained'] = False if kept['pretrained'] is True else None
        return type(part)(kept)
    if isinstance(part, (list, tuple)):
        return type(part)(without_pretrained(value) for value in part)
    return part


def _reads_weights(key: str, value: Any) -> bool:
    return key == 'init_cfg' and isinstance(value, dict) and value.get('type') == 'Pretrained'


def for_inference(model: ConfigDict) -> ConfigDict:
    """Copy a model config without training-only parts and without pretrained weights."""
    return without_pretrained(model) | {part: None for part in TRAINING_ONLY if part in model}


def check_complete(model: nn.Module, state_dict: dict, filename: str, also: tuple[str, ...] = ()) -> None:
    """Refuse a checkpoint that lacks weights that inference needs.

    Of the :data:`TRAINING_ONLY` parts, these are the SISR head with ``test_cfg.with_sr``, and tensors whose names begin
    with one of ``also``.

    Raises:
        ValueError: if a needed tensor is missing, has another shape or holds NaN; ``filename`` is for the message.
    """
    if (getattr(model, 'test_cfg', None) or {}).get('with_sr'):
        also = (*also, 'sr_aux.head.')
    match = match_checkpoint(model, state_dict)
    absent = [n for n in match.missing + match.reshaped if not _is_for_training(n) or n.startswith(also)]
    if absent:
        remedy = 'Test with the config that trained the checkpoint.'
        if all(_is_for_training(name) for name in absent):
            remedy = (
                'A deployed checkpoint has no training-only parts: take one that training wrote, or do without rebuilt '
                'images (test_cfg.with_sr, --sr-metrics).'
            )
        raise ValueError(
            f'{filename} lacks weights that this model predicts with: {modules_of(absent, depth=3)}. They would stay '
            f'random. {remedy}'
        )
    needed = {name: state_dict[name] for name in match.taken if not _is_for_training(name) or name.startswith(also)}
    broken = [name for name, value in needed.items() if isinstance(value, Tensor) and value.isnan().any()]
    if broken:
        raise ValueError(
            f'{filename}: {len(broken)} of {len(needed)} weights hold NaN, {broken[0]} for one. The training had '
            'diverged: take an earlier checkpoint.'
        )


def check_classes(meta: Mapping, classes: Iterable[str] | None, filename: str) -> None:
    """Refuse a checkpoint of a model that numbers the data set's classes in another order, by its ``meta``.

    Nothing is checked where either is unknown.

    Raises:
        ValueError: if the order differs; ``filename`` is for the message.
    """
    trained = list((meta.get('dataset_meta') or {}).get('classes') or ())
    classes = list(classes or ())
    if trained != classes and sorted(trained) == sorted(classes):
        raise ValueError(
            f'{filename} was trained on the classes {trained}, but the data set has them in the order {classes}, so '
            'predictions would have wrong names. Give metainfo.classes and the ids of the labels the order of the '
            'training.'
        )


def read_state_dict(checkpoint: str | Path) -> dict:
    """Read the tensors of a checkpoint, by name, to the CPU.

    Args:
        checkpoint (str | Path): a file, or an address that MMEngine can read; a training's, or tensors alone.
    """
    read = CheckpointLoader.load_checkpoint(str(checkpoint), map_location='cpu', logger='silent')
    return read.get('state_dict', read)


def load_for_inference(model: nn.Module, checkpoint: str | Path, also: tuple[str, ...] = ()) -> nn.Module:
    """Load a checkpoint, a file or a URL that MMEngine can read, into a model and set it to eval mode.

    Training-only parts that the model does not have are skipped silently.

    Raises:
        ValueError: if the checkpoint lacks weights that inference needs, see :func:`check_complete`.
    """
    state_dict = read_state_dict(checkpoint)
    check_complete(model, state_dict, str(checkpoint), also)
    own = set(model.state_dict())
    model.load_state_dict(
        {name: value for name, value in state_dict.items() if name in own or not _is_for_training(name)}, strict=False
    )
    return model.eval()


@HOOKS.register_module(force=True)
class CompleteCheckpointHook(Hook):
    """Hook that stops a test if the checkpoint lacks weights that inference needs, or orders classes differently."""

    def after_load_checkpoint(self, runner, checkpoint) -> None:
        """Check the checkpoint that the runner is about to load: :func:`check_complete`, :func:`check_classes`."""
        name = str(runner._load_from)
        check_complete(unwrapped(runner.model), checkpoint.get('state_dict', checkpoint), name)
        loader = getattr(getattr(runner, '_test_loop', None), 'dataloader', None)
        metainfo = getattr(getattr(loader, 'dataset', None), 'metainfo', {})
        check_classes(checkpoint.get('meta', {}), metainfo.get('classes'), name)
