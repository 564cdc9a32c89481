"""Training with FSDP2, which divides weights, gradients and optimizer state among the processes."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine._strategy import DDPStrategy
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import get_world_size, is_distributed, is_main_process
from mmengine.registry import STRATEGIES
from mmengine.utils import apply_to
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from .checkpoint import PARTIAL
from .config import type_name
from .task import hooks

#: Methods of a model's parts that the model calls in place of ``forward``.
_FORWARD_METHODS = ('loss', 'loss_and_features', 'predict', 'rebuild', 'fuse', 'classify')


def check_strategy(cfg: Config) -> None:
    """Refuse what FSDP2 cannot train.

    Raises:
        ValueError: for a training in one process, or an average of the weights (EMA).
    """
    if type_name(cfg.strategy) != 'FSDP2Strategy':
        return
    if cfg.launcher == 'none':
        raise ValueError(
            'strategy.type="FSDP2Strategy" divides the model among processes, but there is one. Start them with '
            'tools/dist_train.sh or tools/slurm_train.sh, or leave out strategy.'
        )
    for key, hook in hooks(cfg):
        if type_name(hook) == 'EMAHook':
            raise ValueError(
                f'{key}: FSDP2Strategy cannot average the weights, of which each process holds a part. Leave out the '
                'EMAHook, or strategy.'
            )


def _parts(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the backbone, the neck, the heads and the training-only parts of a model."""
    for child in model.children():
        for part in child if isinstance(child, nn.ModuleList) else [child]:
            if next(part.parameters(), None) is not None:
                yield part


def _whole(state: Any) -> Any:
    """Gather the tensors of a state dict, which takes all processes; only the main one keeps them, on the CPU."""

    def gather(tensor: Tensor) -> Tensor | None:
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        return whole.cpu() if is_main_process() else None

    return apply_to(state, torch.is_tensor, gather)


def _divided_as(parameter: Tensor, tensor: Any) -> Any:
    """Divide a tensor as a parameter of its shape is."""
    if not isinstance(tensor, Tensor) or tensor.shape != parameter.shape:
        return tensor
    return distribute_tensor(tensor.to(parameter.device), parameter.device_mesh, parameter.placements)


def _divide_loaded(model: nn.Module, state_dict: dict, *_) -> None:
    """Divide the tensors of a checkpoint that a model is about to load."""
    for name, parameter in model.named_parameters():
        if name in state_dict:
            state_dict[name] = _divided_as(parameter, state_dict[name])


@STRATEGIES.register_module(force=True)
class FSDP2Strategy(DDPStrategy):
    """Strategy of MMEngine's ``FlexibleRunner`` that shards a model by :func:`torch.distributed.fsdp.fully_shard`.

    The backbone, the neck, each head and ``sr_aux`` are gathered when they run. Checkpoints hold whole tensors, so
    trainings with and without this strategy can resume from each other's.

    Args:
        blocks (Sequence[str] | str): class names of modules inside of these parts that are gathered one at a time,
            e.g. 'Bottleneck' for a ResNet: less memory, more messages. Defaults to none.
        **others: arguments of MMEngine's ``DDPStrategy``; there is no ``model_wrapper``.
    """

    def __init__(self, *, blocks: Sequence[str] | str = (), **others):
        super().__init__(**others)
        self.blocks = [blocks] if isinstance(blocks, str) else blocks

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        modules = [(type(module).__name__, module) for module in model.modules()]
        if unknown := {*self.blocks} - {name for name, _ in modules}:
            raise ValueError(
                f'strategy.blocks: the model has no {", ".join(unknown)}. It has {", ".join(sorted({*dict(modules)}))}.'
            )
        if not is_distributed():
            raise RuntimeError('FSDP2Strategy divides a model among processes, but there is one. Set a launcher.')
        model = self.convert_model(model.to(get_device()))
        mesh = init_device_mesh(get_device(), (get_world_size(),))
        for name, module in reversed(modules):  # inner ones first
            if name in self.blocks:
                fully_shard(module, mesh=mesh)
        for part in _parts(model):
            fully_shard(part, mesh=mesh)
            for method in _FORWARD_METHODS:
                if hasattr(part, method):
                    register_fsdp_forward_method(part, method)
        fully_shard(model, mesh=mesh)
        model._register_load_state_dict_pre_hook(_divide_loaded, with_module=True)
        return model

    def model_state_dict(self) -> dict:
        """Gather the weights, see :func:`_whole`."""
        return _whole(self.model.state_dict())

    def optim_state_dict(self) -> dict:
        """Gather the optimizer's state."""
        return _whole(super().optim_state_dict())

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Load an optimizer's state of whole tensors."""
        parameters = [parameter for group in self.optim_wrapper.param_groups for parameter in group['params']]
        state = {
            number: {key: _divided_as(parameters[number], value) for key, value in values.items()}
            for number, values in state_dict['state'].items()
        }
        super().load_optim_state_dict(state_dict | dict(state=state))

    def save_checkpoint(self, filename: str, *, save_optimizer: bool = True, **others) -> None:
        """Save a checkpoint of whole tensors on the local disk. All processes gather it, the main one writes."""
        if is_main_process():
            super().save_checkpoint(f'{filename}{PARTIAL}', save_optimizer=save_optimizer, **others)
            os.replace(f'{filename}{PARTIAL}', filename)
            return
        self.model_state_dict()
        if save_optimizer:
            self.optim_state_dict()
