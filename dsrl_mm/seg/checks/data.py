"""Checks of a config and its data before training. Every error names the key or file, and the remedy.

Files are judged by their headers; what looks wrong is refused only if the data set's own pipeline cannot read it
either. A sample of each data set is decoded. ``check_data=False`` in a config turns all this off.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import mmcv
import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from mmengine.config import Config
from mmengine.dataset import BaseDataset, Compose
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from PIL import ExifTags, Image, UnidentifiedImageError

from dsrl_mm import compat

from ...engine.config import builds, input_channels, plain_datasets, type_name
from ..datasets.frames import EnlargeFrame
from .label_check import check_labels

__all__ = ['check_data', 'check_packages', 'check_pair']

#: How complete files end, by format.
_ENDS = {'PNG': b'IEND\xaeB`\x82', 'JPEG': b'\xff\xd9'}

#: Suffixes of formats that Pillow reads as the pipeline does. A TIFF may have several pages or bands.
_PILLOWS = ('.png', '.jpg', '.jpeg', '.bmp', '.gif', '.webp', '.ppm', '.pgm')

#: Labels and images decoded of each data set, evenly spaced.
_SAMPLE = 100


class _Suspicion(ValueError):
    """What a header says is wrong; the pipeline may know better."""


def _check_folders(cfg: Mapping, key: str, names: Sequence[str]) -> None:
    for name in names:
        folder = os.path.join(cfg.get('data_root') or '', cfg['data_prefix'][name])
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
    """Read the header of an image file without decoding pixels; PNG and JPEG must also have an end.

    Returns:
        Image.Image | None: None for files that Pillow does not read as the pipeline may: other formats, several pages,
            more pixels than Pillow allows.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(
            f'{path} is a link to a file that does not exist. Restore the file, or remove the link.'
            if os.path.islink(path)
            else f'{path} does not exist, though its image or label does. Every image needs a label of the same name; '
            'check data_prefix, img_suffix and seg_map_suffix.'
        )
    if not path.lower().endswith(_PILLOWS):
        return None
    try:
        with open(path, 'rb') as f:
            image = Image.open(f)
            f.seek(max(os.path.getsize(path) - 4096, 0))
            if _ENDS.get(image.format, b'') not in f.read():
                raise _Suspicion(
                    f'{path} is a truncated {image.format}: its end is missing. Restore it from its source.'
                )
            return image
    except Image.DecompressionBombError:
        return None
    except (UnidentifiedImageError, OSError, SyntaxError):
        raise _Suspicion(f'{path} is not an image. Restore it from its source.') from None


def _check_ids(label: Image.Image, path: str) -> None:
    """Raise a ValueError if ``LoadAnnotations`` cannot read the label's pixels as class ids."""
    if len(label.getbands()) != 1:
        raise _Suspicion(
            f'{path} is a colour image ({label.mode}), not class ids. Convert it to one channel of ids, as '
            'tools/dataset_converters/camvid.py does for CamVid, or load it with LoadColorAnnotations and a palette.'
        )
    if label.mode not in ('1', 'L', 'P'):  # more than 8 bits
        with Image.open(path) as decoded:
            ids = np.array(decoded)
        beyond = ids[(ids > 255) & (ids % 256 != 255)]  # 65535 becomes 255, which is void
        if beyond.size:
            raise ValueError(
                f'{path} holds values up to {beyond.max()}, but labels are loaded as 8-bit class ids: 256 would become '
                '0. Write ids from 0 to 255.'
            )


def check_pair(img_path: str | None, seg_map_path: str | None) -> bool:
    """Check one image and its label by their headers; only labels of more than 8 bits are decoded.

    Args:
        img_path (str, optional): a file; None leaves it out.
        seg_map_path (str, optional): a file of class ids; None leaves it out.

    Returns:
        bool: False if there was nothing to compare, because only the pipeline may know the format of one of the files.

    Raises:
        FileNotFoundError: if either is missing.
        ValueError: if either is truncated or not an image, the label is a colour image or has ids above 255, or their
            sizes differ.
    """
    image = _read_header(img_path) if img_path else None
    label = _read_header(seg_map_path) if seg_map_path else None
    if label is not None:
        _check_ids(label, seg_map_path)
    if image is None or label is None:
        return False
    # A camera held upright stores its photo rotated; the pipeline turns it, as EXIF says.
    rotated = 'exif' in image.info and image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    size = image.size[::-1] if rotated else image.size
    if size != label.size:
        raise _Suspicion(
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


def _is_one_channel(head: Mapping) -> bool:
    return head.get('out_channels', head['num_classes']) == 1


def _check_classes(model: dict, classes: Sequence[str], dataset: str) -> None:
    for key, head in _heads(model):
        if head['num_classes'] != len(classes):
            raise ValueError(
                f'{key}.num_classes is {head["num_classes"]}, but {dataset} has {len(classes)} classes: '
                f'{", ".join(classes)}. Set it to {len(classes)}.'
            )


def _check_losses(model: dict) -> None:
    """Refuse heads that cannot learn: softmax over one channel is 1, and its loss 0."""
    for key, head in _heads(model):
        losses = head.get('loss_decode', dict(type='CrossEntropyLoss'))
        losses = losses if isinstance(losses, (list, tuple)) else [losses]
        softmax = all(type_name(loss) == 'CrossEntropyLoss' and not loss.get('use_sigmoid') for loss in losses)
        if _is_one_channel(head) and softmax and builds(head, MODELS, BaseDecodeHead):
            raise ValueError(
                f'{key} has one output channel, and softmax over one channel is always 1: nothing would be learned. '
                "Use two classes, metainfo.classes=('background', 'object'), with labels 0 and 1, num_classes=2, "
                "and either no out_channels or out_channels=1 with loss_decode=dict(type='CrossEntropyLoss', "
                'use_sigmoid=True).'
            )


def check_packages(cfg: Config) -> None:
    """Check that the packages that a config needs beyond MMSegmentation's own requirements are installed.

    Raises:
        ImportError: if the backbone is MMSegmentation's ``TIMMBackbone``, but timm is missing.
    """
    if type_name(cfg.get('model', {}).get('backbone', {})) == 'TIMMBackbone':
        compat.need_timm_extra('timm', 'model.backbone.type="TIMMBackbone"')


def _steps(pipeline: Sequence) -> Iterator[Any]:
    """Find all steps of a pipeline, those inside others, too."""
    for step in pipeline:
        if isinstance(step, (list, tuple)):
            yield from _steps(step)
        else:
            yield step
            yield from _steps(step.get('transforms', ()) if isinstance(step, dict) else ())


def _class_of(step: Any) -> Any:
    type_ = step.get('type') if isinstance(step, dict) else type(step)
    return TRANSFORMS.get(type_) if isinstance(type_, str) else type_


def _has_own_steps(pipeline: Sequence) -> bool:
    """Tell whether a pipeline has transforms that are not the libraries': they may change ids, channels and sizes."""
    return not all(
        isinstance(step, dict)
        and getattr(_class_of(step), '__module__', '').startswith(('mmcv.', 'mmseg.', 'dsrl_mm.'))
        for step in _steps(pipeline)
    )


def _reads_files(step: Any, stock: type) -> bool:
    """Tell whether a step is the stock loader of images or labels, of local files that Pillow understands."""
    if not isinstance(step, dict) or _class_of(step) is not stock or not _is_local(step):
        return False
    return step.get('imdecode_backend') != 'tifffile' and not step.get('ignore_empty')


def _is_local(cfg: Mapping) -> bool:
    args = cfg.get('backend_args') or cfg.get('file_client_args') or {}
    return args.get('backend', 'local') in ('local', 'disk')


def _load(pipeline: Compose, info: dict) -> tuple[Any, Any, Any]:
    """Return image (C, H, W), label (H, W) and original size, as tensors; None for what a pipeline does not give."""
    results = pipeline(info)
    if not isinstance(results, dict):  # None: the data set takes another sample
        return None, None, None
    if sample := results.get('data_samples'):
        if isinstance(sample, (list, tuple)):  # test-time augmentation
            return None, None, None
        label = sample.gt_sem_seg.data if 'gt_sem_seg' in sample else None
        return results['inputs'], label[0] if label is not None and len(label) == 1 else label, sample.get('ori_shape')
    image, label = results.get('img'), results.get('gt_seg_map')
    image = None if image is None else torch.from_numpy(np.atleast_3d(image).transpose(2, 0, 1).copy())
    return image, None if label is None else torch.from_numpy(label.copy()), results.get('ori_shape')


def _refutes(dataset: BaseDataset, i: int, training: bool) -> bool:
    """Tell whether the data set's whole pipeline makes a sample of what looked wrong."""
    try:
        image, label, size = _load(dataset.pipeline, dataset.get_data_info(i))
    except Exception:
        return False
    size = image.shape[-2:] if training and image is not None else size
    return label is None or size is None or tuple(label.shape) == tuple(size)


def _check_files(dataset: BaseDataset, images: bool, labels: bool, training: bool) -> None:
    """Check the files that the stock loaders will read, and say how many were not compared."""
    compared = refuted = 0
    for i in range(len(dataset) if images or labels else 0):
        info = dataset.get_data_info(i)
        paths = [info.get('img_path') if images else None, info.get('seg_map_path') if labels else None]
        try:
            compared += check_pair(*(path if path and '://' not in path else None for path in paths))
        except _Suspicion as suspicion:
            if not _refutes(dataset, i, training):
                raise ValueError(str(suspicion)) from None
            refuted += 1
            if refuted == 10:  # another layout than assumed
                break
    if compared < len(dataset):
        print_log(
            f'{len(dataset) - compared} of them were not compared by their headers: only the pipeline may know their '
            'format or where they are',
            'current',
        )


def _report_left_out(dataset: BaseSegDataset, key: str) -> None:
    """Warn of image files that the data set does not list, such as NAME.PNG among NAME.png, and dangling links."""
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    used = {os.path.normpath(info[name]) for info in infos for name in ('img_path', 'seg_map_path') if name in info}
    files = (
        os.path.normpath(os.path.join(folder, name))
        for folder, _, names in os.walk(dataset.data_prefix['img_path'], followlinks=True)
        for name in names
        if name.lower().endswith((*_PILLOWS, '.tif', '.tiff', dataset.img_suffix.lower()))
    )
    if left := sorted(set(files) - used):
        print_log(
            f'{key}: {len(left)} image files are left out, such as {left[0]}: they do not end in '
            f'img_suffix={dataset.img_suffix!r}, or are links to files that do not exist',
            'current',
            logging.WARNING,
        )


def _check_image(cfg: Config, path: Any, image: torch.Tensor, step: Any, key: str) -> None:
    """Check the channels and the depth of an image (C, H, W), and the step that loads it, if it is the stock one."""
    preprocessor = cfg.model.get('data_preprocessor') or {}
    mean = len(preprocessor.get('mean') or ()) if type_name(preprocessor) == 'SegDataPreProcessor' else 0
    channels = len(image)
    if channels != input_channels(cfg.model.get('backbone', {})) or mean not in (0, 1, channels):
        message = (
            f'{path} ({key}) is loaded with {channels} channels, but model.data_preprocessor.mean has {mean} values, '
            f'and model.backbone reads {input_channels(cfg.model.get("backbone", {}))} channels. Load it with '
            "color_type='color', or set both to the image's channels."
        )
        if channels > 1 and mean not in (0, 1, channels):
            raise ValueError(message)
        print_log(message, 'current', logging.WARNING)
    if step is None or image.dtype != torch.uint8:
        return
    content = fileio.get(path, backend_args=step.get('backend_args'))
    stored = mmcv.imfrombytes(content, 'unchanged', backend=step.get('imdecode_backend', 'cv2'))
    if stored.dtype == np.uint16 and stored.max() < 2**14:
        print_log(
            f'{path} ({key}) holds 16-bit values up to {stored.max()}, but is loaded with 8 bits: '
            f'{len(image.unique())} grey levels remain. Stretch the values to 65535, or load them with '
            "color_type='unchanged', and mean and std of that range.",
            'current',
            logging.WARNING,
        )


def _sample(dataset: BaseDataset, pipeline: Sequence, cfg: Config, key: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Decode a sample of a data set as its pipeline does; check an image, and yield labels (H, W) and their names."""
    load, step = dataset.pipeline, None
    if not _has_own_steps(pipeline):
        loading = [dict(step) for step in _steps(pipeline) if type_name(step).startswith('Load')]
        step = next((s for s in loading if _class_of(s) is LoadImageFromFile and 'file_client_args' not in s), None)
        load = Compose([TRANSFORMS.build(step) for step in loading])
    for i in np.linspace(0, len(dataset) - 1, min(len(dataset), _SAMPLE)).astype(int):
        info = dataset.get_data_info(i)
        path = info.get('img_path', f'sample {i} of {key}')
        image, label, _ = _load(load, info)
        if i == 0 and image is not None and 'RGB2Gray' not in map(type_name, _steps(pipeline)):
            _check_image(cfg, path, image, step, key)
        if label is not None:
            yield info.get('seg_map_path', f'the label of {path}'), label


def _check_dataset(cfg: Config, dataset_cfg: Mapping, key: str, phase: str, opaque: bool) -> None:
    """Check one data set; ``opaque`` if a wrapper's own transforms change its labels."""
    if not builds(dataset_cfg, DATASETS, BaseSegDataset):
        print_log(f'{key} is not checked: it is not a BaseSegDataset', 'current')
        return
    classes = (dataset_cfg.get('metainfo') or {}).get('classes')
    if isinstance(classes, str) and not os.path.isfile(classes) and '://' not in classes:
        raise ValueError(
            f'{key}.metainfo.classes is the string {classes!r}, which counts as {len(classes)} classes. Write a tuple, '
            f'with a comma: classes=({classes!r},).'
        )
    steps = list(_steps(dataset_cfg.get('pipeline', ())))
    cls = DATASETS.get(dataset_cfg['type']) if isinstance(dataset_cfg['type'], str) else dataset_cfg['type']
    listed = cls.load_data_list is BaseSegDataset.load_data_list and _is_local(dataset_cfg)
    images, labels = (any(_reads_files(s, stock) for s in steps) for stock in (LoadImageFromFile, LoadAnnotations))
    if listed:
        read = dict(img_path=images, seg_map_path=labels)
        names = [n for n, prefix in dataset_cfg['data_prefix'].items() if read.get(n) and prefix is not None]
        _check_folders(dataset_cfg, key, names)
    try:  # not serialized: MMEngine fails on an empty list with an error of NumPy's
        dataset = DATASETS.build(dict(dataset_cfg, lazy_init=False, serialize_data=False))
    except TypeError:  # a class with fewer options
        dataset = DATASETS.build(dict(dataset_cfg))
    if len(dataset) == 0:
        raise ValueError(
            f'{key}: no images under {dataset_cfg.get("data_root")} with the suffix '
            f'{dataset.img_suffix!r}. Set img_suffix and data_prefix to what is there.'
        )
    classes = dataset.metainfo.get('classes')
    if classes:
        _check_classes(cfg.model, classes, f'{type(dataset).__name__} ({key})')
    elif phase != 'train':
        raise ValueError(
            f'{key}: {type(dataset).__name__} has no class names, which metrics need. Set {key}.metainfo='
            'dict(classes=(...), palette=[...]).'
        )
    if phase == 'train':
        _check_losses(cfg.model)
        if cfg.model.get('sr_aux') and any(_class_of(step) is EnlargeFrame for step in steps):
            print_log(
                f'{key}.pipeline enlarges frames, which have no image of high resolution to rebuild: the SISR branch '
                'learns nothing. Set model.sr_aux=None.',
                'current',
                logging.WARNING,
            )
    print_log(f'Checking the {len(dataset)} images and labels of {key} (not with check_data=False)', 'current')
    if listed and images and not dataset.ann_file and dataset_cfg.get('indices') is None:
        _report_left_out(dataset, key)
    labels = labels and not opaque
    _check_files(dataset, images, labels, phase == 'train')
    heads = [head for _, head in _heads(cfg.model)]
    sample = _sample(dataset, dataset_cfg.get('pipeline', ()), cfg, key)
    if opaque or not (heads or classes):
        list(sample)
        return
    num_ids = len(classes) if classes else heads[0]['num_classes']
    if phase == 'train':
        num_ids = max(num_ids, 2 * any(map(_is_one_channel, heads)))  # one channel tells two classes apart
        readers = heads
    else:
        readers = cfg.get(f'{phase}_evaluator') or {}
        readers = readers.get('metrics', readers) if isinstance(readers, dict) else readers
        readers = readers if isinstance(readers, (list, tuple)) else [readers]
    ignored = {reader.get('ignore_index', 255) for reader in readers} or {255}
    check_labels(sample, classes or range(num_ids), num_ids, ignored, f'{key} ({len(dataset)} labels)')


def check_data(cfg: Config, phases: tuple[str, ...]) -> None:
    """Check the data sets of a config, and the classes of the model against theirs.

    Args:
        cfg (Config): an MMSegmentation config. ``check_data=False`` in it turns the check off.
        phases (tuple[str, ...]): of 'train', 'val', 'test'; a phase without a data loader is skipped.

    Raises:
        FileNotFoundError, ValueError: see the module.
    """
    if not cfg.get('check_data', True):
        return
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    for phase in phases:
        loader = cfg.get(f'{phase}_dataloader') or {}
        outer = loader.get('dataset', {})
        for key, dataset_cfg in plain_datasets(loader, f'{phase}_dataloader', 'data_prefix'):
            opaque = outer is not dataset_cfg and _has_own_steps(outer.get('pipeline', ()))
            _check_dataset(cfg, dataset_cfg, key, phase, opaque)
