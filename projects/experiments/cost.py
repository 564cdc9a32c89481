"""What the networks of a grid cost at inference; no training is needed for that."""

from functools import partial
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from dsrl_mm import cli
from dsrl_mm.apis import deploy_config, latencies, task_of
from dsrl_mm.engine.complexity import measure_complexity
from dsrl_mm.engine.config import type_name
from dsrl_mm.engine.loading import without_pretrained

from .grid import Grid, Run
from .record import device_name, read_json, tidy, write_json

__all__ = ['costs']


def _deployed(cfg: Config) -> nn.Module:
    """The model as it is shipped, with random weights."""
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    if type_name(cfg.model) == 'DSRLSegmentor':
        return MODELS.build(deploy_config(cfg, low_res_input=True).model)
    model = MODELS.build(without_pretrained(cfg.model) | dict(auxiliary_head=None))
    # In mode 'tensor', stock models leave out enlarging the logits to the image.
    model._forward = partial(_stock_logits, model)
    return model


def _stock_logits(model: nn.Module, inputs: torch.Tensor, data_samples: None = None) -> torch.Tensor:
    return model.encode_decode(inputs, [dict(img_shape=inputs.shape[-2:])])


def _measure(grid: Grid, repeats: int) -> dict[str, dict]:
    configs = {row.title: cli.training_config(Run(row, 0, grid.amp).arguments('')) for row in grid.rows}
    shapes = {title: task_of(cfg).network_input(cfg) for title, cfg in configs.items()}
    models = {title: revert_sync_batchnorm(_deployed(cfg)).to(get_device()).eval() for title, cfg in configs.items()}
    milliseconds = latencies(models, shapes, repeats)
    rows = {}
    for title, model in models.items():
        channels, *size = shapes[title]
        cost = measure_complexity(model, size, channels)
        rows[title] = dict(
            input=size,
            parameters=cost.params,
            flops=cost.flops,
            milliseconds=milliseconds[title],
        )
    return rows


def costs(grid: Grid, file: Path, repeats: int = 30) -> dict:
    """What one image costs each row's network, measured on this machine, or earlier where the file says so.

    Args:
        grid (Grid): the rows.
        file (Path): JSON; read where it is of the same rows, else written. To measure anew, remove it.
        repeats (int): of every network, which take turns. Defaults to 30.

    Returns:
        dict: ``device``, ``threads``; ``rows``, by title: ``input`` (height and width of what the network reads,
        pixels), ``parameters``, ``flops`` (a multiply-add counts as 2) and ``milliseconds`` (median).
    """
    digests = {row.title: row.digest for row in grid.rows}
    if file.exists():
        known = read_json(file, 'it is measured anew')
        if known['digests'] == digests:
            return known
    measured = dict(
        digests=digests,
        device=device_name(),
        threads=torch.get_num_threads(),
        rows=tidy(_measure(grid, repeats)),
    )
    write_json(file, measured)
    return measured
