"""Config, checkpoint and exported program for inference, without what only training needs."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from ..engine.config import input_channels, plain_datasets
from ..engine.loading import check_classes, load_for_inference
from .task import task_of

__all__ = ['build_deploy_model', 'deploy_config', 'export_program', 'save_deploy']


def deploy_config(cfg: Config, low_res_input: bool = False) -> Config:
    """Copy a config without the training-only parts of its model.

    Args:
        cfg (Config): of a trained model.
        low_res_input (bool): whether the model reads low-resolution frames straight from a camera, see
            :class:`~dsrl_mm.seg.DSRLSegmentor`. The config is then for inference alone, without data sets. Defaults
            to False.

    Raises:
        ValueError: if the model is no DSRLSegmentor.
    """
    return task_of(cfg).deploy_config(cfg, low_res_input)


def build_deploy_model(cfg: Config, checkpoint: str | Path, low_res_input: bool = False) -> nn.Module:
    """Build the model of a deploy config, in eval mode, with a checkpoint's weights.

    Raises:
        ValueError: if the checkpoint lacks weights that inference needs, holds NaN, or numbers the classes of the
            config's test set in another order.
    """
    model = deploy_config(cfg, low_res_input).model
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    meta = _read_meta(checkpoint)
    for _, dataset in plain_datasets(cfg.get('test_dataloader') or {}, 'test_dataloader', 'type'):
        with DATASETS.switch_scope_and_registry(None) as registry:
            own = getattr(registry.get(dataset['type']), 'METAINFO', {}) if isinstance(dataset['type'], str) else {}
        check_classes(meta, (own | dict(dataset.get('metainfo') or {})).get('classes'), str(checkpoint))
    return load_for_inference(MODELS.build(model), checkpoint)


def _read_meta(checkpoint: str | Path) -> dict:
    read = CheckpointLoader.load_checkpoint(str(checkpoint), map_location='cpu', logger='silent')
    return read.get('meta') or {}


def export_program(model: nn.Module, size: tuple[int, int], channels: int = 3) -> torch.export.ExportedProgram:
    """Export the network for inputs of one size.

    Args:
        model (nn.Module): from :func:`build_deploy_model`.
        size (tuple[int, int]): height and width of the input: a low-resolution frame's with ``low_res_input``, else
            the canvas's.
        channels (int): C, of the images. Defaults to 3.

    Returns:
        torch.export.ExportedProgram: takes normalized (RGB) images (1, C, H, W), gives logits (1, K, H, W), or
        (1, K, scale_factor H, scale_factor W) with ``low_res_input``.
    """
    return torch.export.export(model, (torch.zeros(1, channels, *size),))


def _halve(name: str, value: Tensor) -> Tensor:
    """Convert convolutions and matrices to float16; leave statistics, biases and indices as they are."""
    if value.dim() < 2 or not value.is_floating_point():
        return value
    if value.abs().max() > torch.finfo(torch.half).max:
        raise ValueError(f'deploy: {name} exceeds the range of float16; leave fp16 out')
    return value.half()


def save_deploy(
    cfg: Config,
    checkpoint: str | Path,
    out_dir: str | Path,
    low_res_input: bool = False,
    export_size: tuple[int, int] | None = None,
    fp16: bool = False,
) -> list[Path]:
    """Write ``deploy.py`` (config), ``deploy.pth`` (weights) and, on request, ``deploy.pt2`` (exported program).

    Args:
        cfg (Config): of the trained model.
        checkpoint (str | Path): of the trained model.
        out_dir (str | Path): created if missing.
        low_res_input (bool): see :func:`deploy_config`.
        export_size (tuple[int, int], optional): height and width of the exported program's input. Defaults to None:
            none is exported.
        fp16 (bool): whether ``deploy.pth`` holds convolutions and matrices in float16, which halves its size; a model
            that loads them computes in its own precision. Statistics and biases stay in float32, and so does the
            exported program. Defaults to False.

    Returns:
        list[Path]: the files written.

    Raises:
        ValueError: for ``fp16``, if a weight is beyond its range, and as :func:`build_deploy_model`.
    """
    out_dir = Path(out_dir)
    model = build_deploy_model(cfg, checkpoint, low_res_input)
    meta = _read_meta(checkpoint)
    out_dir.mkdir(parents=True, exist_ok=True)
    files = [out_dir / 'deploy.py', out_dir / 'deploy.pth']
    deploy_config(cfg, low_res_input).dump(files[0])
    kept = {key: meta[key] for key in ('dataset_meta', 'epoch', 'iter') if key in meta}
    state_dict = model.state_dict()
    if fp16:
        state_dict = {name: _halve(name, value) for name, value in state_dict.items()}
    torch.save(dict(state_dict=state_dict, meta=kept), files[1])
    if export_size is not None:
        files.append(out_dir / 'deploy.pt2')
        torch.export.save(export_program(model, export_size, input_channels(cfg.model.backbone)), files[2])
    return files
