"""The models of the page: ONNX files, and what the page says of them."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from dsrl_mm.apis import (
    ExportOptions,
    Trained,
    build_deploy_model,
    deploy_config,
    export_program,
    inferencer,
    load_runtime,
    task_of,
)
from dsrl_mm.apis.deploy import read_dataset_meta
from dsrl_mm.apis.export import Network, write
from dsrl_mm.apis.export_files import export_files
from dsrl_mm.engine.config import builds, read_config
from dsrl_mm.seg import SSSRHead
from dsrl_mm.uhr import ISDSegmentor

__all__ = ['ROLES', 'Shown', 'export', 'model_zoo']

#: What a model is for in a comparison, in the page's order.
ROLES = ('baseline', 'DSRL', '+ ISD', 'full size')


@dataclass(frozen=True)
class Shown:
    """A model to show.

    Args:
        network (str): models of one network are compared with each other.
        name (str): of the model among them.
        trained (Trained): config and checkpoint, of a segmentor.
        facts (Mapping[str, Any]): ``seed``, ``miou`` (percent) and ``license``, where they are known.
    """

    network: str
    name: str
    trained: Trained
    facts: Mapping[str, Any] = field(default_factory=dict)


def model_zoo() -> list[Shown]:
    """Return the segmentation models of the model zoo; their titles are "NETWORK, NAME"."""
    shown = []
    for model in inferencer.model_zoo().values():
        described, (result,) = model['Metadata'], model['Results']
        network, _, name = described['Title'].partition(', ')
        cfg = read_config(model['Config'], described.get('Options', {}))
        facts = dict(seed=described['Seed'], miou=result['Metrics']['mIoU'], license='research only')
        if cfg.get('default_scope') == 'mmseg':
            shown.append(Shown(network, name, Trained(cfg, model['Weights']), facts))
    return shown


def _role(trained: Trained) -> str:
    """Return which of :data:`ROLES` a model has."""
    model = trained.cfg.model
    if builds(model, MODELS, ISDSegmentor):
        return '+ ISD'
    if builds(model.decode_head, MODELS, SSSRHead):
        return 'DSRL'
    whole = task_of(trained.cfg).network_input(trained.cfg)[1:] == tuple(trained.cfg.crop_size)
    return 'full size' if whole else 'baseline'


class _Rebuild(nn.Module):
    """The SISR branch, from bytes (B, H, W, 3), RGB, to the rebuilt image in the same form."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.to_bytes(self.network.model.reconstruct(self.network.normalize(images)))


def _export_rebuilt(trained: Trained, file: Path) -> None:
    """Write the SISR branch to a file of its own: masks are timed without what only training needs.

    Raises:
        RuntimeError: if the file does not rebuild what PyTorch does.
    """
    rebuild, size = _Rebuild(Network(trained.model().cpu(), decide=True)), tuple(trained.cfg.crop_size)
    write(export_program(rebuild, size, dtype=torch.uint8), file, dict(input='uint8', channels=3, batch=1, size=size))
    image = np.random.default_rng(0).integers(256, size=(1, *size, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = rebuild(torch.from_numpy(image)).numpy()
    difference = np.abs(expected.astype(int) - load_runtime(file)(image)).max()
    if difference > 1:  # values are rounded to bytes
        raise RuntimeError(f'{file.name} differs from PyTorch by {difference} of 255')


def _export(shown: Shown, file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Export a model to a file; return what it shares with those it can be compared with, and its own entry."""
    trained = shown.trained
    network = Network(build_deploy_model(trained.cfg, trained.checkpoint))
    channels, *size = task_of(trained.cfg).network_input(trained.cfg)
    dataset = read_dataset_meta(trained.cfg, trained.checkpoint)
    if not network.segments or channels != 3 or not dataset.get('classes'):
        raise ValueError(f'{shown.network}, {shown.name}: the page shows models that label color images with classes')
    files = dict(file=file)
    with TemporaryDirectory() as made:
        options = ExportOptions(['onnx'], argmax=True)
        (written,) = export_files(deploy_config(trained.cfg), network.model, dataset, Path(made), options)
        shutil.move(written, file)
    if trained.rebuilds:
        files['rebuilt'] = file.with_stem(f'{file.stem}_rebuilt')
        _export_rebuilt(trained, files['rebuilt'])
    meta = load_runtime(file).meta
    fill = network.mean.flatten().expand(3).round().int().tolist()  # training pads with this, which is normalized to 0
    shared = dict(
        network=shown.network,
        canvas=meta['size'],
        fill=fill if network.order == 'RGB' else fill[::-1],
        classes=[dict(name=name, color=color) for name, color in zip(meta['classes'], meta['palette'])],
    )
    own = dict(name=shown.name, role=_role(trained), input=size) | dict(shown.facts)
    paths = {key: dict(path=f'{one.parent.name}/{one.name}', bytes=one.stat().st_size) for key, one in files.items()}
    return shared, own | paths


def export(models: Iterable[Shown], folder: Path) -> list[dict[str, Any]]:
    """Export models to a folder.

    Args:
        models (Iterable[Shown]): what to show.
        folder (Path): where the ONNX files go.

    Returns:
        list[dict[str, Any]]: groups of models that can be compared: ``network``, ``canvas`` (height and width of the
        images in pixels), ``fill`` (R, G, B of the canvas where there is no image), ``classes`` (``name``, ``color``)
        and ``models`` in the order of their roles: ``name``, ``role``, ``input`` (height and width of the network's
        input), ``file`` and, where the model rebuilds images, ``rebuilt`` (``path``, ``bytes``), and their ``facts``.

    Raises:
        ValueError: if a model does not segment color images.
        RuntimeError: if a file does not compute what PyTorch does.
    """
    groups = []
    for number, shown in enumerate(models):
        print(f'{shown.network}, {shown.name}:', flush=True)
        shared, own = _export(shown, folder / f'{number}.onnx')
        group = next((group for group in groups if group.items() >= shared.items()), None)
        if group is None:
            groups.append(group := dict(shared, models=[]))
        group['models'].append(own)
    for group in groups:
        group['models'].sort(key=lambda model: ROLES.index(model['role']))
    return groups
