"""Config, checkpoint and exported files for inference, without what only training needs."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from ..engine.config import plain_datasets
from ..engine.folders import written_together
from ..engine.loading import check_classes, load_for_inference
from .export_files import NAMES, ExportOptions, export_files
from .task import task_of


def deploy_config(cfg: Config, low_res_input: bool = False) -> Config:
    """Copy a config without the training-only parts of its model.

    Args:
        cfg (Config): of a trained model.
        low_res_input (bool): whether the model reads low-resolution frames straight from a camera, see
            :class:`~dsrl_mm.seg.DSRLSegmentor`. The config is then for inference alone, without data sets. Defaults
            to False.

    Raises:
        ValueError: for ``low_res_input``, if the model does not read low-resolution frames.
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
    for metainfo in _metainfos(cfg):
        check_classes(meta, metainfo.get('classes'), str(checkpoint))
    return load_for_inference(MODELS.build(model), checkpoint)


def _metainfos(cfg: Config) -> Iterator[dict]:
    """Find the metadata of the config's test sets."""
    for _, dataset in plain_datasets(cfg.get('test_dataloader') or {}, 'test_dataloader', 'type'):
        with DATASETS.switch_scope_and_registry(None) as registry:
            own = getattr(registry.get(dataset['type']), 'METAINFO', {}) if isinstance(dataset['type'], str) else {}
        yield own | dict(dataset.get('metainfo') or {})


def _read_meta(checkpoint: str | Path) -> dict:
    read = CheckpointLoader.load_checkpoint(str(checkpoint), map_location='cpu', logger='silent')
    return read.get('meta') or {}


def read_dataset_meta(cfg: Config, checkpoint: str | Path) -> dict:
    """Read classes and palette, or keypoints, from a checkpoint; if it has none, from the config's data sets.

    Raises:
        ValueError: if neither names the keypoints of a pose estimator.
    """
    meta = _read_meta(checkpoint).get('dataset_meta') or next(_metainfos(cfg), {})
    if cfg.get('default_scope') != 'mmpose' or 'keypoint_id2name' in meta:
        return meta
    from mmpose.apis.inference import dataset_meta_from_config

    meta = dataset_meta_from_config(cfg, 'train') or dataset_meta_from_config(cfg, 'test')
    if meta is None:
        raise ValueError(
            f'{checkpoint} has no dataset_meta, and the config has no data set that names the keypoints: set '
            'test_dataloader.dataset.type or metainfo to that of the training'
        )
    return meta


def _halve(name: str, value: Tensor) -> Tensor:
    """Convert convolutions and matrices to float16; leave statistics, biases and indices as they are."""
    if value.dim() < 2 or not value.is_floating_point():
        return value
    if value.abs().max() > torch.finfo(torch.half).max:
        raise ValueError(f'deploy: {name} exceeds the range of float16; leave half (--half) out')
    return value.half()


def _fingerprint(cfg: Config, model: nn.Module) -> str:
    """Hash a model's config and weights, which tells exported files of two models apart."""
    digest = sha256(repr(cfg.model.to_dict()).encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode() + value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _exported_from_another(folder: Path, fingerprint: str) -> list[Path]:
    """Find the exported files of a folder if its ``deploy.pth`` is not of the model with this fingerprint."""
    try:
        if _read_meta(folder / 'deploy.pth').get('fingerprint') == fingerprint:
            return []
    except (FileNotFoundError, ValueError):  # there is none, or a damaged one
        pass
    return [folder / name for name in NAMES if (folder / name).is_file()]


def save_deploy(
    cfg: Config,
    checkpoint: str | Path,
    out_dir: str | Path,
    low_res_input: bool = False,
    half: bool = False,
    export: ExportOptions = ExportOptions(),
) -> list[Path]:
    """Write ``deploy.py`` (config), ``deploy.pth`` (weights) and, on request, exported files.

    All files are written, or none. Files that ``out_dir`` holds of another model's export are then removed; those of
    this model in other formats stay.

    Args:
        cfg (Config): of the trained model.
        checkpoint (str | Path): of the trained model.
        out_dir (str | Path): created if missing.
        low_res_input (bool): see :func:`deploy_config`.
        half (bool): whether ``deploy.pth`` holds convolutions and matrices in float16, which halves its size; a model
            that loads them computes in its own precision. Statistics and biases stay in float32. Defaults to False.
        export (ExportOptions): the exported files. Defaults to none.

    Returns:
        list[Path]: the files written.

    Raises:
        ValueError: for ``half``, if a weight is beyond its range, and as :func:`build_deploy_model`.
        RuntimeError: if an exported file does not compute what PyTorch does.
    """
    out_dir = Path(out_dir)
    model = build_deploy_model(cfg, checkpoint, low_res_input)
    meta = _read_meta(checkpoint)
    dataset_meta = read_dataset_meta(cfg, checkpoint)
    deployed = deploy_config(cfg, low_res_input)
    state_dict = model.state_dict()
    if half:
        state_dict = {name: _halve(name, value) for name, value in state_dict.items()}
    fingerprint = _fingerprint(deployed, model)
    old = _exported_from_another(out_dir, fingerprint)
    with written_together(out_dir) as folder:
        files = [folder / 'deploy.py', folder / 'deploy.pth']
        deployed.dump(files[0])
        kept = dict(fingerprint=fingerprint) | {key: meta[key] for key in ('epoch', 'iter') if key in meta}
        if dataset_meta:
            kept['dataset_meta'] = dataset_meta
        torch.save(dict(state_dict=state_dict, meta=kept), files[1])
        files += export_files(deployed, model, dataset_meta, folder, export)
    files = [out_dir / file.name for file in files]
    for file in sorted({*old} - {*files}):
        file.unlink()
        print(f'{file.name}: removed, because it was exported from another model')
    return files
