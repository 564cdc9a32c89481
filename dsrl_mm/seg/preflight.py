"""Checks of a config and its data before anything long starts. Every error names the key or file, and the remedy."""

import os
from collections.abc import Iterator

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import track_iter_progress
from mmseg.registry import DATASETS
from PIL import Image, UnidentifiedImageError

__all__ = ['check_data', 'check_pair']

_PNG_END = b'IEND\xaeB`\x82'


def _plain_datasets(cfg: dict, key: str) -> Iterator[tuple[str, dict]]:
    """The data sets inside wrappers such as RepeatDataset and ConcatDataset, with their keys in the config."""
    if 'dataset' in cfg:
        yield from _plain_datasets(cfg['dataset'], f'{key}.dataset')
    for i, inner in enumerate(cfg.get('datasets', ())):
        yield from _plain_datasets(inner, f'{key}.datasets.{i}')
    if 'data_prefix' in cfg:
        yield key, cfg


def _check_folders(cfg: dict, key: str) -> None:
    for name, prefix in cfg['data_prefix'].items():
        folder = os.path.join(cfg.get('data_root') or '', prefix)
        if '://' in folder:  # object storage: the data loader will say
            continue
        problem = 'does not exist' if not os.path.isdir(folder) else 'is empty' if not os.listdir(folder) else None
        if problem:
            raise FileNotFoundError(
                f'{key}.data_prefix.{name}: the folder {folder} {problem}. Point the config at your data: the '
                'environment variable that its data_root reads, or --cfg-options '
                f'{key}.data_root=FOLDER.'
            )


def _open(path: str) -> Image.Image:
    """Read an image file's header, and see that the file is whole."""
    try:
        image = Image.open(path)
    except FileNotFoundError:
        raise FileNotFoundError(
            f'{path} does not exist, though its image or label does. Every image needs a label of '
            'the same name; check data_prefix, img_suffix and seg_map_suffix.'
        ) from None
    except UnidentifiedImageError:
        raise ValueError(f'{path} is not an image. Restore it from its source.') from None
    if image.format == 'PNG':
        with open(path, 'rb') as f:
            f.seek(max(os.path.getsize(path) - 4096, 0))
            if _PNG_END not in f.read():
                raise ValueError(f'{path} is a truncated PNG: its end is missing. Restore it from its source.')
    return image


def check_pair(img_path: str, seg_map_path: str) -> None:
    """Check one image and its label by their headers: milliseconds, no decoding.

    Raises:
        FileNotFoundError: if either is missing.
        ValueError: if either is truncated or no image, the label is a colour image, or their sizes differ.
    """
    with _open(img_path) as image, _open(seg_map_path) as label:
        if len(label.getbands()) != 1:
            raise ValueError(
                f'{seg_map_path} is a colour image ({label.mode}), not class ids. Convert it to one channel of ids, as '
                'tools/dataset_converters/camvid.py does for CamVid.'
            )
        if image.size != label.size:
            raise ValueError(
                f'{seg_map_path} is {label.width}x{label.height} pixels, but its image {img_path} is '
                f"{image.width}x{image.height}. Labels must have their image's size."
            )


def _heads(model: dict, key: str = 'model') -> Iterator[tuple[str, dict]]:
    """Every head in a model config that states num_classes, with its key."""
    for name, value in model.items():
        for i, part in enumerate(value if isinstance(value, (list, tuple)) else [value]):
            if isinstance(part, dict):
                path = f'{key}.{name}.{i}' if isinstance(value, (list, tuple)) else f'{key}.{name}'
                if 'num_classes' in part:
                    yield path, part
                yield from _heads(part, path)


def check_data(cfg: Config, phases: tuple[str, ...]) -> None:
    """Check the data sets of a config, and the classes of the model against theirs.

    Args:
        cfg (Config): an MMSegmentation config.
        phases (tuple[str, ...]): of 'train', 'val', 'test'; a phase without a data loader is skipped.

    Raises:
        FileNotFoundError, ValueError: see the module.
    """
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    for phase in phases:
        loader = cfg.get(f'{phase}_dataloader')
        if not loader:
            continue
        for key, dataset_cfg in _plain_datasets(loader, f'{phase}_dataloader'):
            _check_folders(dataset_cfg, key)
            dataset = DATASETS.build(dict(dataset_cfg, pipeline=[], lazy_init=False))
            if len(dataset) == 0:
                raise ValueError(
                    f'{key}: no images under {dataset_cfg.get("data_root")} with the suffix '
                    f'{dataset.img_suffix!r}. Set img_suffix and data_prefix to what is there.'
                )
            classes = dataset.metainfo.get('classes')
            for head_key, head in _heads(cfg.model):
                if classes and head['num_classes'] != len(classes):
                    raise ValueError(
                        f'{head_key}.num_classes is {head["num_classes"]}, but {type(dataset).__name__} ({key}) has '
                        f'{len(classes)} classes: {", ".join(classes)}. Set it to {len(classes)}.'
                    )
            infos = [dataset.get_data_info(i) for i in range(len(dataset))]
            pairs = [(info['img_path'], info['seg_map_path']) for info in infos if '://' not in info['img_path']]
            print(f'Checking the {len(pairs)} images and labels of {key}')
            for pair in track_iter_progress(pairs):
                check_pair(*pair)
