"""Folders that a model hub takes: weights as safetensors, a whole config and a model card."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mmengine
import torch
from mmengine.config import Config
from torch import Tensor

from ..engine.arguments import OptionsAction
from ..engine.config import read_config
from ..engine.folders import written_together
from ..engine.loading import read_state_dict
from ..engine.optional import optional
from ..engine.reader import TrustCheckpoint
from .deploy import build_deploy_model, deploy_config, read_dataset_meta
from .inferencer import find_model, model_zoo
from .task import task_of

#: The license of the model zoo's weights: see weights/README.md.
_RESEARCH_ONLY = dict(
    license='other',
    license_name='research-only',
    license_link='https://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/',
)

#: Keys that inference does not need and that tell where the model was trained.
_LOCAL = ('work_dir', 'load_from', 'resume', 'launcher')


def save_hub(
    model: str | Path,
    out_dir: str | Path,
    checkpoint: str | Path | None = None,
    *,
    license: Mapping[str, str] | None = None,
    low_res_input: bool = False,
    cfg_options: Mapping[str, Any] | None = None,
    card: str | None = None,
) -> list[Path]:
    """Write a folder that a hub takes, and that :class:`~dsrl_mm.apis.Inferencer` and the tools take for a model.

    ``model.safetensors`` has the tensors of the checkpoint that inference needs, bit for bit, and the names of the
    classes or keypoints; ``config.py`` is the config without base files and without training-only parts. Data folders
    that environment variables name stay variables. ``README.md`` is the model card.

    Args:
        model (str | Path): a config, with ``checkpoint``; a folder that ``tools/deploy.py`` wrote; or a name of the
            model zoo.
        out_dir (str | Path): created if missing. All files are written, or none.
        checkpoint (str | Path, optional): the config's.
        license (Mapping[str, str], optional): ``license`` of the weights, an identifier such as 'apache-2.0'; if it is
            'other', also ``license_name`` and ``license_link``. Defaults to None: that of the model zoo.
        low_res_input (bool): see :func:`~dsrl_mm.apis.deploy_config`. Defaults to False: as the config says.
        cfg_options (Mapping, optional): overrides of the config, by dotted keys.
        card (str, optional): 'keep' or 'replace' a ``README.md`` that is there. Defaults to None: refuse if it is
            another than the new one.

    Returns:
        list[Path]: the files written.

    Raises:
        FileExistsError: if there is another ``README.md`` and ``card`` does not say what to do.
        ImportError: if safetensors is not installed.
        ValueError: if the license is not known, or nothing reads an option; and as
            :func:`~dsrl_mm.apis.build_deploy_model`.
    """
    safetensors = optional('safetensors.torch', 'hub')
    entry, options = {}, {}
    if checkpoint is None:
        entry = model_zoo().get(str(model), {})
        model, checkpoint, options = find_model(model)
        if entry.get('Weights') != checkpoint:  # a folder of that name
            entry = {}
    license = license or (_RESEARCH_ONLY if entry else {})
    if license.get('license', 'other') == 'other' and not _RESEARCH_ONLY.keys() <= license.keys():
        raise ValueError(
            f'{checkpoint}: name the license of the weights, such as --license apache-2.0; --license other also needs '
            '--license-name and --license-link. It depends on the data that they were trained on.'
        )
    cfg = read_config(model, options | dict(cfg_options or {}), use_environment_variables=False)
    low_res_input = low_res_input or cfg.model.get('low_res_input', False)
    names = build_deploy_model(cfg, checkpoint, low_res_input).state_dict().keys()
    dataset_meta = read_dataset_meta(cfg, checkpoint)
    deployed = deploy_config(cfg, low_res_input)
    for key in _LOCAL:
        deployed.pop(key, None)
    tensors = {name: _alone(value) for name, value in read_state_dict(checkpoint).items() if name in names}
    metadata = dict(format='pt', dataset_meta=json.dumps(dataset_meta, default=lambda array: array.tolist()))
    out_dir = Path(out_dir)
    new, readme = _card(out_dir.resolve().name, entry, license, deployed, dataset_meta).encode(), out_dir / 'README.md'
    old = readme.read_bytes() if readme.is_file() else new
    if card is None and old != new:
        raise FileExistsError(
            f'{readme} is not the card that would be written: it was edited, or is of another model. Nothing was '
            'written. Choose by --card keep or --card replace.'
        )
    with written_together(out_dir) as folder:
        files = [folder / name for name in ('config.py', 'model.safetensors', 'README.md')]
        deployed.dump(files[0])
        safetensors.save_file(tensors, files[1], metadata)
        files[2].write_bytes(old if card == 'keep' else new)
    return [out_dir / file.name for file in files]


def _alone(value: Tensor) -> Tensor:
    """Copy a tensor to memory of its own, in the usual layout, as safetensors requires."""
    return value.clone(memory_format=torch.contiguous_format)


def _card(
    name: str, entry: Mapping[str, Any], license: Mapping[str, str], cfg: Config, dataset_meta: Mapping[str, Any]
) -> str:
    """Write a model card: YAML for the hub, and Markdown for people.

    Args:
        name (str): of the folder.
        entry (Mapping[str, Any]): of the model in the model zoo; empty for others.
        license (Mapping[str, str]): see :func:`save_hub`.
        cfg (Config): from :func:`~dsrl_mm.apis.deploy_config`.
        dataset_meta (Mapping[str, Any]): with ``classes`` or ``keypoint_id2name``, if they are known.
    """
    pose = cfg.get('default_scope') == 'mmpose'
    task = 'keypoint-detection' if pose else 'image-segmentation'
    described = entry.get('Metadata', {})
    network, data = described.get('Architecture', []), described.get('Training Data')
    head = dict(license) | dict(
        library_name='dsrl_mm',
        pipeline_tag=task,
        tags=['dsrl', 'mmpose' if pose else 'mmsegmentation', *(part.lower() for part in network)],
    )
    scores = [
        (result['Dataset'], result['Split'], *score)
        for result in entry.get('Results', [])
        for score in result['Metrics'].items()
    ]
    if scores:
        head |= dict(datasets=[data.lower()], metrics=['mean_iou'], **{'model-index': [_results(name, task, scores)]})
    names = dataset_meta.get('keypoint_id2name', {}).values() if pose else dataset_meta.get('classes') or ()
    rows = {'Network': ', '.join(network), 'Training data': data, 'Keypoints' if pose else 'Classes': ', '.join(names)}
    if 'crop_size' in cfg:
        _, *network_size = task_of(cfg).network_input(cfg)
        size = network_size if cfg.model.get('low_res_input') else cfg.crop_size
        rows['Image size'] = '{}x{} (height x width)'.format(*size)
        rows['Network input'] = '{}x{}'.format(*network_size)
    rows |= {f'{metric} on {where}, {split}': f'{value:.2f}' for where, split, metric, value in scores}
    paper, link = entry.get('Paper'), license.get('license_link')
    terms = license.get('license_name', license['license'])
    return _CARD.format(
        head=mmengine.dump(head, file_format='yaml', sort_keys=False),
        name=name,
        what='Pose estimation' if pose else 'Semantic segmentation',
        rows='\n'.join(f'| {key} | {value} |' for key, value in rows.items() if value),
        result='keypoints' if pose else 'mask',
        license=f'[{terms}]({link})' if link else terms,
        notes=_ZOO_NOTES.format(**paper) if entry else '',
    )


def _results(name: str, task: str, scores: Sequence[tuple[str, str, str, float]]) -> dict[str, Any]:
    """Return the scores in the form of a card's ``model-index``."""
    results = [
        dict(
            task=dict(type=task),
            dataset=dict(type=where.lower(), name=where, split=split),
            metrics=[dict(type='mean_iou', name=metric, value=value)],
        )
        for where, split, metric, value in scores
    ]
    return dict(name=name, results=results)


_CARD = """---
{head}---

# {name}

{what} with a model of the Python package dsrl_mm.

| | |
|---|---|
{rows}
{notes}
## Use

```python
from dsrl_mm.apis import Inferencer

inferencer = Inferencer({name!r})  # this folder
prediction = inferencer('image.png').{result}
```

`tools/test.py` and `tools/predict.py` take the folder, too. `config.py` is Python that they run: read it first, as you
would a script. `model.safetensors` holds nothing but data.

## License

The license of the weights is {license}. The license of dsrl_mm, Apache-2.0, does not cover them.
"""

_ZOO_NOTES = """
dsrl_mm implements [{Title}]({URL}). Its page on the model zoo says how the model was measured.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Write a folder that a model hub takes: model.safetensors, config.py and a model card."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('model', help='name in the model zoo, folder of tools/deploy.py, or config (with --checkpoint)')
    parser.add_argument('out_dir', help='folder to write; its name is the title of the card')
    parser.add_argument('--checkpoint', help="the config's checkpoint")
    parser.add_argument('--license', help='of the weights, such as apache-2.0 (research-only for the model zoo)')
    parser.add_argument('--license-name', help='for --license other')
    parser.add_argument('--license-link', help='for --license other')
    parser.add_argument('--low-res-input', action='store_true', help='as of tools/deploy.py')
    parser.add_argument(
        '--card', choices=['keep', 'replace'], help='what to do with another README.md in the folder (refuse)'
    )
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, help='as of tools/test.py')
    parser.add_argument('--trust-checkpoint', action=TrustCheckpoint)
    args = parser.parse_args(argv)
    names = ('license', 'license_name', 'license_link')
    license = {name: getattr(args, name) for name in names if getattr(args, name)}
    for file in save_hub(
        args.model,
        args.out_dir,
        args.checkpoint,
        license=license,
        low_res_input=args.low_res_input,
        cfg_options=args.cfg_options,
        card=args.card,
    ):
        print(f'{file}  {file.stat().st_size / 2**20:.1f} MiB')
