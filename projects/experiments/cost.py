"""Cost of inference of the networks of a grid, without training."""

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from dsrl_mm.apis import deploy_config, latencies, task_of
from dsrl_mm.engine.complexity import measure_complexity

from .run import device_name


def measure(configs: dict[str, Config]) -> dict:
    """Measure the cost of one image for the deployed networks on this machine, interleaved.

    Args:
        configs (dict[str, Config]): by id.

    Returns:
        dict: ``device``, ``threads``; ``rows``, by id: ``input`` (height x width in pixels), ``parameters``, ``flops``
        (a multiply-add counts as 2) and ``milliseconds`` (median).
    """
    models, shapes = {}, {}
    for id_, cfg in configs.items():
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        model = MODELS.build(deploy_config(cfg, low_res_input=task_of(cfg).reads_frames(cfg)).model)
        models[id_] = revert_sync_batchnorm(model).to(get_device()).eval()
        shapes[id_] = task_of(cfg).network_input(cfg)
    times, rows = latencies(models, shapes, repeats=30), {}
    for id_, (channels, *size) in shapes.items():
        cost = measure_complexity(models[id_], size, channels)
        rows[id_] = dict(input='{}x{}'.format(*size), parameters=cost.params, flops=cost.flops, milliseconds=times[id_])
    return dict(device=device_name(), threads=torch.get_num_threads(), rows=rows)
