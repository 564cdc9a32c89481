"""Leaving out what only training needs: a config, a checkpoint and an exported program for inference."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..engine.config import input_channels, type_name
from ..engine.loading import TRAINING_ONLY, load_for_inference, without_pretrained

__all__ = ['build_deploy_model', 'deploy_config', 'export_program', 'save_deploy']


def deploy_config(cfg: Config, low_res_input: bool = False) -> Config:
    """A copy of a config whose model has no training-only parts.

    Args:
        cfg (Config): of a trained model.
        low_res_input (bool): whether the model shall take LR frames straight from a camera, see
            :class:`~dsrl_mm.seg.DSRLSegmentor`. The config is then for inference alone, without data sets. Defaults
            to False.

    Raises:
        ValueError: if the model is no DSRLSegmentor.
    """
    if type_name(cfg.model) != 'DSRLSegmentor':
        raise ValueError(
            f'model.type is {type_name(cfg.model)!r}, but only a DSRLSegmentor has two entrances and training-only '
            'parts. A baseline is a DSRLSegmentor with a stock decode head.'
        )
    cfg = Config(cfg.to_dict())
    for part in TRAINING_ONLY:
        cfg.model[part] = None
    cfg.model = without_pretrained(cfg.model)
    cfg.model.low_res_input = low_res_input
    cfg.model.setdefault('test_cfg', {}).pop('with_sr', None)  # the SISR branch is left out
    if low_res_input:
        cfg.model.test_cfg = dict(mode='whole')
        # Preprocessors that pad what they test to the canvas would pad frames to it, too.
        (cfg.model.get('data_preprocessor', {}).get('test_cfg') or {}).pop('size', None)
        pipeline = _inference_pipeline(cfg)
        # Frames come at the network's size; data sets hold canvases, of which there is nothing to train or test on.
        for key in [key for key in cfg if key.startswith(('train_', 'val_', 'test_', 'tta_'))]:
            cfg.pop(key)
        cfg.test_pipeline = pipeline
        cfg.test_dataloader = dict(dataset=dict(pipeline=pipeline))  # where MMSegInferencer looks
    return cfg


def _inference_pipeline(cfg: Config) -> list[dict]:
    """How the config loads images, and nothing that changes their size or needs labels."""
    steps = cfg.get('test_pipeline') or cfg.get('test_dataloader', {}).get('dataset', {}).get('pipeline', ())
    loading = [step for step in steps if type_name(step).startswith('Load') and 'Annotation' not in type_name(step)]
    return [*(loading or [dict(type='LoadImageFromFile')]), dict(type='PackSegInputs')]


def build_deploy_model(cfg: Config, checkpoint: str | Path, low_res_input: bool = False) -> nn.Module:
    """The model of a deploy config, in eval mode, with a checkpoint's weights.

    Raises:
        ValueError: if the checkpoint lacks weights that inference needs.
    """
    return load_for_inference(MODELS.build(deploy_config(cfg, low_res_input).model), checkpoint)


def export_program(model: nn.Module, size: tuple[int, int], channels: int = 3) -> torch.export.ExportedProgram:
    """Export the network for inputs of one size.

    Args:
        model (nn.Module): from :func:`build_deploy_model`.
        size (tuple[int, int]): height and width of the input: LR frames with ``low_res_input``, else the canvas.
        channels (int): C, of the images. Defaults to 3.

    Returns:
        torch.export.ExportedProgram: takes normalised (RGB) images (1, C, H, W), gives logits (1, K, H, W), or
        (1, K, scale_factor H, scale_factor W) with ``low_res_input``.
    """
    return torch.export.export(model, (torch.zeros(1, channels, *size),))


def _halved(name: str, value: Tensor) -> Tensor:
    """Convolutions and matrices in float16; statistics, biases and indices as they are."""
    if value.dim() < 2 or not value.is_floating_point():
        return value
    if value.abs().max() > torch.finfo(torch.half).max:
        raise ValueError(f'deploy: {name} is beyond what float16 can hold; leave fp16 out')
    return value.half()


def save_deploy(
    cfg: Config,
    checkpoint: str | Path,
    out_dir: str | Path,
    low_res_input: bool = False,
    export_size: tuple[int, int] | None = None,
    fp16: bool = False,
) -> list[Path]:
    """Write ``deploy.py`` (config), ``deploy.pth`` (weights) and, on demand, ``deploy.pt2`` (exported program).

    Args:
        cfg (Config): of the trained model.
        checkpoint (str | Path): of the trained model.
        out_dir (str | Path): created where missing.
        low_res_input (bool): see :func:`deploy_config`.
        export_size (tuple[int, int], optional): height and width of the exported program's input. Defaults to None:
            none is exported.
        fp16 (bool): whether ``deploy.pth`` holds convolutions and matrices in float16, for half of its size; a model
            that loads them computes in its own precision. Statistics and biases stay in float32, and so does the
            exported program. Defaults to False.

    Returns:
        list[Path]: the files written.

    Raises:
        ValueError: for ``fp16``, if a weight is beyond its range.
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    model = build_deploy_model(cfg, checkpoint, low_res_input)
    meta = CheckpointLoader.load_checkpoint(str(checkpoint), map_location='cpu', logger='silent').get('meta', {})
    files = [out_dir / 'deploy.py', out_dir / 'deploy.pth']
    deploy_config(cfg, low_res_input).dump(files[0])
    kept = {key: meta[key] for key in ('dataset_meta', 'epoch', 'iter') if key in meta}
    state_dict = model.state_dict()
    if fp16:
        state_dict = {name: _halved(name, value) for name, value in state_dict.items()}
    torch.save(dict(state_dict=state_dict, meta=kept), files[1])
    if export_size is not None:
        files.append(out_dir / 'deploy.pt2')
        torch.export.save(export_program(model, export_size, input_channels(cfg.model.backbone)), files[2])
    return files
