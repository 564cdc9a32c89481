"""Cost of inference of the networks of a grid, without training."""

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn
from torch.distributed._tools.mem_tracker import MemTracker

from dsrl_mm.apis import deploy_config, latencies, task_of
from dsrl_mm.engine.complexity import measure_complexity

from .run import device_name


def peak_memory(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Count the bytes of all tensors that are alive at once: weights, the image, features and logits.

    Kernels may need more for themselves, and allocators keep more.

    Args:
        model (nn.Module): in eval mode.
        shape (tuple[int, int, int]): channels, height and width of the image.
    """
    tracker = MemTracker()
    tracker.track_external(model)
    device = next(model.parameters()).device
    with torch.no_grad(), tracker:
        model(torch.zeros(1, *shape, device=device))
    return tracker.get_tracker_snapshot('peak')[device]['Total']


def measure(configs: dict[str, Config]) -> dict:
    """Measure the cost of one image for the deployed networks on this machine, interleaved.

    Args:
        configs (dict[str, Config]): by id.

    Returns:
        dict: ``device``, ``threads``; ``rows``, by id: ``input`` (height x width in pixels), ``parameters``, ``flops``
        (a multiply-add counts as 2), ``memory`` (see :func:`peak_memory`) and ``milliseconds`` (median).
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
        memory = peak_memory(models[id_], shapes[id_])
        rows[id_] = dict(input='{}x{}'.format(*size), parameters=cost.params, flops=cost.flops)
        rows[id_] |= dict(memory=memory, milliseconds=times[id_])
    return dict(device=device_name(), threads=torch.get_num_threads(), rows=rows)
