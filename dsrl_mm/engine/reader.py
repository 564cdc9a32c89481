"""Safe reading of checkpoints: a checkpoint is data, and reading it never runs code.

MMEngine reads every checkpoint (``load_from``, ``--resume``, ``init_cfg``, ``init_model``) through
``CheckpointLoader.load_checkpoint``. Importing this module makes it weights-only, with the classes that MMEngine's own
checkpoints hold allowed (:mod:`dsrl_mm.compat`), and gives its errors a file name and a remedy.
"""

import argparse
import json
import os
import re
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.runner import CheckpointLoader, checkpoint
from torch import nn

from .loading import unwrapped
from .optional import optional


def trust_checkpoints() -> None:
    """Let checkpoints hold any Python object, and so run code while they are read. Only for files of your own."""
    os.environ['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'] = '1'  # PyTorch's own switch


class TrustCheckpoint(argparse.Action):
    """The commands' option ``--trust-checkpoint``: :func:`trust_checkpoints`."""

    def __init__(self, option_strings: list[str], dest: str):
        text = 'read checkpoints that hold more than tensors, which can run code; only for files of your own'
        super().__init__(option_strings, dest, nargs=0, help=text)

    def __call__(self, *_: Any) -> None:
        trust_checkpoints()


def _torch_load(file: Any, map_location: Any = None, weights_only: None = None) -> Any:
    """PyTorch's default, which is weights-only; the continuation of mmengine falls back to running code."""
    return torch.load(file, map_location=map_location)


if hasattr(checkpoint, '_safe_torch_load'):
    checkpoint._safe_torch_load = _torch_load

_stock = CheckpointLoader.load_checkpoint.__func__


def _load_checkpoint(cls, filename: str, map_location: Any = None, logger: str = 'current') -> dict:
    """Read a checkpoint, as MMEngine's method of this name does.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not a checkpoint, is truncated, or holds objects that are neither tensors nor what
            MMEngine writes.
    """
    if os.path.isdir(filename):
        raise ValueError(f'{filename} is a folder, not a checkpoint. Name a file in it, such as iter_4000.pth.')
    try:
        if str(filename).endswith('.safetensors'):
            read = _read_safetensors(filename)
        else:
            read = _stock(cls, filename, map_location, logger)
    except (UnpicklingError, EOFError, RuntimeError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise ValueError(_explain(filename, str(error))) from error
    if not isinstance(read, dict) or not any(map(_holds_tensors, (read, *read.values()))):
        raise ValueError(
            f'{filename} holds no tensors by name (it holds a {type(read).__name__}), so it is not a checkpoint. '
            'Name a .pth file that a training wrote.'
        )
    if isinstance(meta := read.get('meta'), dict):
        meta.pop('config', None)  # MMEngine's resume would run it as Python
    return read


def _read_safetensors(filename: str) -> dict:
    """Read tensors to the CPU, and the classes or keypoints that ``tools/misc/to_hub.py`` writes to the metadata.

    Raises:
        ImportError: if safetensors is not installed.
        ValueError: if it is no such file, or truncated.
    """
    package = optional('safetensors', 'hub')
    try:
        with package.safe_open(filename, 'pt') as file:
            tensors = {name: file.get_tensor(name) for name in file.offset_keys()}
            text = (file.metadata() or {}).get('dataset_meta', '{}')
    except package.SafetensorError as error:
        raise ValueError(str(error)) from error
    return dict(state_dict=tensors, meta=dict(dataset_meta=json.loads(text, object_hook=_with_integer_keys)))


def _with_integer_keys(found: dict[str, Any]) -> dict:
    """Undo what JSON does to ids."""
    return {int(key) if key.isdecimal() else key: value for key, value in found.items()}


CheckpointLoader.load_checkpoint = classmethod(_load_checkpoint)

_stock_load_state_dict = checkpoint.load_state_dict


def _load_state_dict(module: nn.Module, state_dict: dict, *args: Any, **kwargs: Any) -> None:
    """Load tensors as MMEngine's function of this name does, and refuse a checkpoint that has none of the module's.

    Raises:
        ValueError: if no tensor has a name of the module's. A module that renames tensors itself is left to it.
    """
    inner = unwrapped(module)
    own = inner.state_dict()
    if own and not inner._load_state_dict_pre_hooks and not own.keys() & state_dict.keys():
        raise ValueError(
            f'The checkpoint (load_from or init_cfg) fills nothing of the {type(inner).__name__}: its tensors are '
            f'named like {next(iter(state_dict), None)!r}, those of the module like {next(iter(own))!r}. Name the part '
            "that holds them by init_cfg=dict(..., prefix='backbone.'), or another checkpoint."
        )
    _stock_load_state_dict(module, state_dict, *args, **kwargs)


checkpoint.load_state_dict = _load_state_dict


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(entry, torch.Tensor) for entry in value.values())


def _explain(filename: str, error: str) -> str:
    if found := re.search(r'GLOBAL (\S+)', error):
        return (
            f'{filename} holds a Python object other than a tensor ({found[1]}), which could run code, so it was not '
            'read. If you trust its source, pass --trust-checkpoint (in Python: dsrl_mm.engine.trust_checkpoints()).'
        )
    return (
        f'{filename} cannot be read as a checkpoint: it is truncated, damaged or another kind of file. Restore it from '
        'its source, or name another file.'
    )
