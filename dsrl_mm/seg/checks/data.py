"""Checks of a config and its data before training. Every error names the key or file, and the remedy."""

import os
from collections.abc import Iterator, Sequence

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS
from PIL import ExifTags, Image, UnidentifiedImageError

from dsrl_mm import compat

from ...engine.config import plain_datasets, type_name

__all__ = ['check_data', 'check_packages', 'check_pair']

_PNG_END = b'IEND\xaeB`\x82'

#: Suffixes of formats that Pillow reads completely. Pipelines may read others, such as multi-band TIFF.
_PILLOWS = ('.png', '.jpg', '.jpeg', '.bmp', '.gif', '.webp', '.ppm', '.pgm')


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


def _read_header(path: str) -> Image.Image | None:
    """Read the header of an image file without decoding pixels; a PNG must also have an end.

    Returns:
        Image.Image | None: None for formats unknown to Pillow, which a data set's own loader may know.
    """
    try:
        with open(path, 'rb') as f:
            image = Image.open(f)
            f.seek(max(os.path.getsize(path) - 4096, 0))
            if image.format == 'PNG' and _PNG_END not in f.read():
                raise ValueError(f'{path} is a truncated PNG: its end is missing. Restore it from its source.')
            return image
    except FileNotFoundError:
        raise FileNotFoundError(
            f'{path} does not exist, though its image or label does. Every image needs a label of the same name; check '
            'data_prefix, img_suffix and seg_map_suffix.'
        ) from None
    except UnidentifiedImageError:
        if not path.lower().endswith(_PILLOWS):
            return None
        raise ValueError(f'{path} is not an image. Restore it from its source.') from None


def _check_ids(label: Image.Image, path: str) -> None:
    """Raise a ValueError if ``LoadAnnotations`` cannot read the label's pixels as class ids."""
    if len(label.getbands()) != 1:
        raise ValueError(
            f'{path} is a colour image ({label.mode}), not class ids. Convert it to one channel of ids, as '
            'tools/dataset_converters/camvid.py does for CamVid.'
        )
    if label.mode not in ('1', 'L', 'P'):  # more than 8 bits
        with Image.open(path) as decoded:
            largest = decoded.getextrema()[1]
        if largest > 255:
            raise ValueError(
                f'{path} holds values up to {largest}, but labels are loaded as 8-bit class ids: 256 would become 0. '
                'Write ids from 0 to 255.'
            )


def check_pair(img_path: str, seg_map_path: str | None, holds_ids: bool = True) -> bool:
    """Check one image and its label, if any, by their headers; only labels of more than 8 bits are decoded.

    Args:
        img_path (str): a file.
        seg_map_path (str, optional): a file.
        holds_ids (bool): whether the label's pixels are class ids, as the stock loader expects. Defaults to True.

    Returns:
        bool: False if the sizes were not compared, because only the pipeline may know the format of one of the files.

    Raises:
        FileNotFoundError: if either is missing.
        ValueError: if either is truncated or not an image, the label is a colour image or has ids above 255, or their
            sizes differ.
    """
    image = _read_header(img_path)
    if seg_map_path is None:
        return image is not None
    label = _read_header(seg_map_path)
    if label is not None and holds_ids:
        _check_ids(label, seg_map_path)
    if image is None or label is None:
        return False
    # A camera held upright stores its photo rotated; the pipeline turns it, as EXIF says.
    rotated = 'exif' in image.info and image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    size = image.size[::-1] if rotated else image.size
    if size != label.size:
        raise ValueError(
            f'{seg_map_path} is {label.width}x{label.height} pixels, but its image {img_path} is {size[0]}x{size[1]}. '
            "Labels must have their image's size."
        )
    return True


def _heads(model: dict, key: str = 'model') -> Iterator[tuple[str, dict]]:
    """Find the decode and auxiliary heads with num_classes in a model config, wrapped ones too, with their keys."""
    for name in ('decode_head', 'auxiliary_head'):
        value = model.get(name) or ()
        several = isinstance(value, (list, tuple))
        for i, head in enumerate(value if several else [value]):
            path = f'{key}.{name}.{i}' if several else f'{key}.{name}'
            if 'num_classes' in head:
                yield path, head
            yield from _heads(head, path)


def _check_classes(model: dict, classes: Sequence[str], dataset: str) -> None:
    for key, head in _heads(model):
        if head['num_classes'] != len(classes):
            raise ValueError(
                f'{key}.num_classes is {head["num_classes"]}, but {dataset} has {len(classes)} classes: '
                f'{", ".join(classes)}. Set it to {len(classes)}.'
            )


def check_packages(cfg: Config) -> None:
    """Check that the packages that a config needs beyond MMSegmentation's own requirements are installed.

    Raises:
        ImportError: if the backbone is MMSegmentation's ``TIMMBackbone``, but timm is missing.
    """
    if type_name(cfg.get('model', {}).get('backbone', {})) == 'TIMMBackbone':
        compat.need_timm_extra('timm', 'model.backbone.type="TIMMBackbone"')


def _holds_ids(dataset_cfg: dict) -> bool:
    """Whether the stock transform loads a data set's labels."""
    loaders = [type_name(step) for step in dataset_cfg.get('pipeline', ()) if 'Annotation' in type_name(step)]
    return not loaders or 'LoadAnnotations' in loaders


def _check_files(dataset: BaseSegDataset, key: str, holds_ids: bool) -> None:
    print_log(f'Checking the {len(dataset)} images and labels of {key}', 'current')
    unknown = 0
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        if '://' not in info['img_path']:
            unknown += not check_pair(info['img_path'], info.get('seg_map_path'), holds_ids)
    if unknown:
        print_log(
            f'{unknown} of them have a format that only the pipeline may know: their sizes were not compared', 'current'
        )


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
        loader = cfg.get(f'{phase}_dataloader') or {}
        for key, dataset_cfg in plain_datasets(loader, f'{phase}_dataloader', 'data_prefix'):
            _check_folders(dataset_cfg, key)
            # Not serialized: MMEngine fails on an empty list with an error of NumPy's.
            dataset = DATASETS.build(dict(dataset_cfg, pipeline=[], lazy_init=False, serialize_data=False))
            if len(dataset) == 0:
                raise ValueError(
                    f'{key}: no images under {dataset_cfg.get("data_root")} with the suffix '
                    f'{dataset.img_suffix!r}. Set img_suffix and data_prefix to what is there.'
                )
            if dataset.metainfo.get('classes'):
                _check_classes(cfg.model, dataset.metainfo['classes'], f'{type(dataset).__name__} ({key})')
            elif phase != 'train':
                raise ValueError(
                    f'{key}: {type(dataset).__name__} has no class names, which metrics need. Set {key}.metainfo='
                    'dict(classes=(...), palette=[...]).'
                )
            _check_files(dataset, key, _holds_ids(dataset_cfg))
