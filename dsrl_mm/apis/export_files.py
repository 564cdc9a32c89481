"""Export of a trained model to files, each compared with PyTorch before it is kept."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import lcm
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from torch import nn

from .. import __version__
from ..engine.config import input_channels, test_pipeline, type_name
from .export import FORMATS, Network, export_program, import_writers, write
from .predictors import imread, is_udp, pose_meta, seg_meta
from .runtime import Runtime, load_runtime, of_network
from .task import task_of

#: By precision: the largest difference of logits or heatmaps, over their largest value, and the least share of equal
#: pixels or keypoints.
_BOUNDS = dict(float32=(1e-3, 0.999), float16=(3e-2, 0.98), int8=(float('inf'), 0.95))

#: End of a file's stem, by precision.
_ENDS = dict(float32='', float16='_half', int8='_int8')
#: Names of all files that exports write.
NAMES = {f'deploy{end}{suffix}' for end in _ENDS.values() for suffix in (*FORMATS.values(), '.bin')}

#: What stays open, by (size, batch).
_OPEN = {
    (True, True): 'any size and batch',
    (True, False): 'any size',
    (False, True): 'any batch',
    (False, False): '',
}


@dataclass
class ExportOptions:
    """Options of an export.

    Args:
        formats (Sequence[str]): of 'pt2', 'onnx' and 'openvino'. Defaults to none.
        size (Sequence[int], optional): height and width of the input. Defaults to None: that of the config's data.
        dynamic (bool): whether batch and size stay open. Sides are then multiples of 32 of the network's input; the
            size of person crops stays fixed. Defaults to False.
        argmax (bool): whether files take bytes and give masks or keypoints, see :class:`Network`. Defaults to False.
        precision (str): 'float32', 'float16' or 'int8'. Defaults to 'float32'.
        image_dir (Path, optional): folder of images to calibrate int8 and to compare with; sub-folders count. Defaults
            to None: random images, and no int8.
        calibration (int): number of images to calibrate with, evenly spaced. Defaults to 100.
        verify (int): number of images to compare with; 0 compares nothing. Defaults to 3.

    Raises:
        ValueError: if the options do not fit each other.
    """

    formats: Sequence[str] = ()
    size: Sequence[int] | None = None
    dynamic: bool = False
    argmax: bool = False
    precision: str = 'float32'
    image_dir: Path | None = None
    calibration: int = 100
    verify: int = 3

    def __post_init__(self):
        if not self.formats and (self.size or self.dynamic or self.argmax or self.precision == 'int8'):
            raise ValueError('--size, --dynamic, --argmax and --int8 are for exported files: name them with --format')
        if min(self.size or (1, 1)) < 1 or self.calibration < 1 or self.verify < 0:
            raise ValueError('--size and --calib-images are at least 1, and --verify at least 0')
        if self.precision == 'int8':
            if 'pt2' in self.formats:
                raise ValueError('--int8 is for --format onnx and openvino, not for pt2')
            if self.image_dir is None:
                raise ValueError('--int8 is calibrated on images like those of later use: name a folder by --calib-dir')


def _multiple(model: nn.Module) -> int:
    """Return what divides the sides of a segmentor's images in an export of open sizes."""
    return lcm(32 * getattr(model, 'reduction', 1), getattr(model, 'multiple', 1))


def default_size(cfg: Config, model: nn.Module, low_res_input: bool) -> tuple[int, int]:
    """Return height and width of the images that a config's data have.

    Raises:
        ValueError: if a segmentor's config does not say.
    """
    if not hasattr(model, 'decode_head'):
        return tuple(model.head.decoder.input_size[::-1])
    if 'crop_size' not in cfg:
        raise ValueError('The config has no crop_size, the usual size of its images: name the input size by --size H W')
    return tuple(task_of(cfg).network_input(cfg)[1:] if low_res_input else cfg.crop_size)


def _describe(
    cfg: Config, network: Network, options: ExportOptions, dataset_meta: dict, low_res_input: bool
) -> dict[str, Any]:
    """Metadata of all files but the size."""
    model, segments = network.model, network.segments
    decided, raw = ('mask', 'logits') if segments else ('keypoints', 'heatmaps')
    steps, channels = test_pipeline(cfg), input_channels(cfg.model.backbone)
    loading = dict(flag='color' if channels == 3 else 'unchanged')
    if segments:
        own = seg_meta(dataset_meta, model.num_classes) | dict(threshold=model.decode_head.threshold)
        if len(own['classes']) == 1:  # masks are 0 and 1
            own |= dict(classes=['background', *own['classes']], palette=[[0, 0, 0], *own['palette']])
        read = steps[0] if steps else {}
        loading = dict(flag=read.get('color_type', loading['flag']), backend=read.get('imdecode_backend'))
    else:
        decoder = model.head.decoder
        own = pose_meta(dataset_meta) | dict(cell=np.asarray(decoder.scale_factor).tolist(), udp=is_udp(decoder))
        crops = [step for step in steps if type_name(step) == 'GetBBoxCenterScale']
        own |= dict(padding=crops[0].get('padding', 1.25)) if crops else {}
    return own | dict(
        task='segmentation' if segments else 'pose',
        entrance='low-res' if low_res_input else 'canvas',
        scale_factor=getattr(model, 'scale_factor', 1),
        input='uint8' if options.argmax else 'float32',
        channels=channels,
        loading=loading,
        order='RGB' if options.argmax else network.order,
        mean=None if options.argmax else network.mean.flatten().tolist(),
        std=None if options.argmax else network.std.flatten().tolist(),
        output=decided if options.argmax else raw,
        versions=dict(dsrl_mm=__version__, torch=str(torch.__version__)),
    )


class _Images(Sequence):
    """Evenly spaced images of files, read one at a time, or random bytes without files; RGB, or as they are.

    Args:
        files (Sequence[Path]): from :func:`_image_files`.
        size (tuple[int, int]): height and width.
        count (int): number of images.
        meta (dict[str, Any]): of the export: how files are loaded, and what the network takes.
        prepare (Callable): from loaded images (1, H, W, C) to what the network reads.
    """

    def __init__(self, files: Sequence[Path], size: tuple[int, int], count: int, meta: dict, prepare: Callable):
        self.size, self.meta, self.prepare = size, meta, prepare
        self.files = [files[i * len(files) // count] for i in range(count)] if files else [None] * count

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> np.ndarray:
        (height, width), channels, file = self.size, self.meta['channels'], self.files[index]
        if file is None:
            coarse = (height // 16 + 2, width // 16 + 2, channels)
            image = np.random.default_rng(index).integers(256, size=coarse, dtype=np.uint8)
        else:
            image = _read(file, self.meta)
        smaller = image.shape[0] >= height and image.shape[1] >= width
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
        if channels == 3:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        return self.prepare(image.reshape(1, height, width, channels))


def _read(file: Path, meta: dict[str, Any]) -> np.ndarray:
    """Read an image of ``--calib-dir`` as the config does.

    Raises:
        ValueError: if it is no image, or none that the network takes.
    """
    bytes_only = meta['input'] == 'uint8'
    try:
        image = imread(file, **meta['loading'])
        fits = np.atleast_3d(image).shape[2] == meta['channels'] and (image.dtype == np.uint8 or not bytes_only)
    except Exception:  # of any decoder
        fits = False
    if not fits:
        kind = f'{meta["channels"]} channels{" of bytes" * bytes_only}'
        raise ValueError(f'--calib-dir: {file} is no image of {kind}')
    return image


def _image_files(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    files = sorted(file for file in Path(folder).rglob('*') if cv2.haveImageReader(str(file)))
    if not files:
        raise ValueError(f'--calib-dir: no image in {folder}')
    return files


def _decision(output: np.ndarray, meta: dict[str, Any]) -> np.ndarray:
    """Return the class of each pixel, or the cell of each keypoint."""
    if meta['output'] == 'logits':
        return output.argmax(1) if output.shape[1] > 1 else torch.from_numpy(output).sigmoid() > meta['threshold']
    if meta['output'] == 'heatmaps':
        return output.reshape(*output.shape[:2], -1).argmax(2)
    return output if meta['output'] == 'mask' else output[..., :2]


def check_parity(expected: Runtime, found: Runtime, batches: Sequence[np.ndarray]) -> str:
    """Compare a file with PyTorch.

    Args:
        expected (Runtime): PyTorch, in float32.
        found (Runtime): the file; ``meta['precision']`` sets the bounds.
        batches (Sequence[ndarray]): images, batch by batch. Those of every size have to agree.

    Returns:
        str: the result, to print.

    Raises:
        RuntimeError: if they differ more than rounding explains.
    """
    meta, difference, largest, equal = found.meta, 0.0, 0.0, defaultdict(list)
    for batch in batches:
        a, b = expected(batch), found(batch)
        if a.shape != b.shape:
            raise RuntimeError(f'The file gives {b.shape} for images {batch.shape}, but PyTorch gives {a.shape}.')
        difference = np.maximum(difference, np.abs(a.astype(np.float32) - b).max())  # keeps NaN, unlike max
        largest = max(largest, float(np.abs(a).max()))
        equal[batch.shape].append(_decision(a, meta) == _decision(b, meta))
    agreement = min(float(np.mean(same)) for same in equal.values())  # other sizes are few pixels
    what = 'pixels' if meta['task'] == 'segmentation' else 'keypoints'
    result = f'{100 * agreement:.2f} % of {what} agree'
    bound, least = _BOUNDS[meta['precision']]
    raw = meta['output'] in ('logits', 'heatmaps')
    if raw:
        result += f', the largest difference is {difference:.1e} of {largest:.3g}'
    if agreement < least or (raw and not difference <= bound * largest):
        raise RuntimeError(f'The file does not compute what PyTorch does: {result}. It was not kept.')
    return result


class _Exporter:
    """Exports a network to files of several formats, and compares each with PyTorch. Arguments as of export_files."""

    def __init__(self, cfg: Config, model: nn.Module, dataset_meta: dict, options: ExportOptions):
        low_res_input = cfg.model.get('low_res_input', False)
        self.options, self.network = options, Network(model, options.argmax)
        self.meta = _describe(cfg, self.network, options, dataset_meta, low_res_input)
        self.size = tuple(options.size or default_size(cfg, model, low_res_input))
        self.multiple, self.files = _multiple(model), _image_files(options.image_dir)
        self.program = cache(self._program)
        self.precisions = {FORMATS[name]: 'float32' if name == 'pt2' else options.precision for name in options.formats}
        # Before any export, which takes long, and not where layers are tried that may need to know a size.
        self.versions = {
            suffix: {name: package.__version__ for name, package in import_writers(suffix, precision).items()}
            for suffix, precision in self.precisions.items()
        }
        if self.files:
            self._check_files()

    def _check_files(self) -> None:
        """Read every image that will be needed, so that a wrong one is named before an export.

        Raises:
            ValueError: if one is no image, or has another number of channels.
        """
        counts = {self.options.verify, 2} if self.options.verify else set()
        if self.options.precision == 'int8':
            counts.add(self.options.calibration)
        for count in counts:
            for _ in self._images(self.size, count):
                pass

    def _program(self, open_size: bool, open_batch: bool) -> torch.export.ExportedProgram:
        multiple = self.multiple if open_size else None
        dtype = torch.uint8 if self.options.argmax else torch.float32
        return export_program(self.network, self.size, self.meta['channels'], multiple, open_batch, dtype)

    def _prepare(self, image: np.ndarray) -> np.ndarray:
        return image if self.options.argmax else self.network.normalize(torch.from_numpy(image)).numpy()

    def _images(self, size: tuple[int, int], count: int) -> _Images:
        return _Images(self.files, size, count, self.meta, self._prepare)

    def _export(self, file: Path, open_size: bool, open_batch: bool) -> str:
        """Write a file and return the result of its comparison."""
        options, multiple, precision = self.options, self.multiple, self.precisions[file.suffix]
        fitting = tuple(-(-side // multiple) * multiple for side in self.size) if open_size else self.size
        own = dict(
            self.meta,
            batch=None if open_batch else 1,
            size=None if open_size else list(self.size),
            multiple=multiple if open_size else None,
            precision=precision,
            versions=self.meta['versions'] | self.versions[file.suffix],
        )
        calibration = self._images(fitting, options.calibration) if precision == 'int8' else ()
        write(self.program(open_size, open_batch), file, own, precision, calibration)
        if not options.verify:
            return 'not compared with PyTorch'
        compared = [*self._images(fitting, options.verify)]
        if open_batch:
            compared.append(np.concatenate([*self._images(fitting, 2)]))
        if open_size:
            compared += [self._images((h * multiple, w * multiple), 1)[0] for h, w in ((2, 3), (3, 2))]
        return check_parity(of_network(self.network, own), load_runtime(file), compared)

    def export(self, file: Path) -> None:
        """Write a file with as much open as its layers and the options allow, and print the result."""
        ways = [(False, False)]
        if self.options.dynamic:
            ways = [(True, True), (True, False), *ways] if self.network.segments else [(False, True), *ways]
        for way in ways:
            try:
                result = self._export(file, *way)
                break
            except Exception as error:  # of any kind: layers of any library may not take open sizes
                if way == ways[-1]:
                    raise
                reason = str(error).strip() or type(error).__name__
                print(f'{file.name}: {_OPEN[way]} cannot stay open: {reason.splitlines()[0][:200]}')
        print(f'{file.name}, for {_OPEN[way] or "one image of {}x{}".format(*self.size)}: {result}')


def export_files(cfg: Config, model: nn.Module, dataset_meta: dict, folder: Path, options: ExportOptions) -> list[Path]:
    """Export a model, and compare each file with PyTorch.

    Args:
        cfg (Config): from :func:`deploy_config`.
        model (nn.Module): from :func:`build_deploy_model`.
        dataset_meta (dict): of the data the model was trained on.
        folder (Path): where the files go.
        options (ExportOptions): what to export.

    Returns:
        list[Path]: the files.

    Raises:
        ImportError: if a package that writes a file is not installed.
        RuntimeError: if a file does not compute what PyTorch does; see :func:`check_parity`.
        ValueError: if the size of the images is unknown, or the folder of images has none, or one that cannot be read.
    """
    if not options.formats:
        return []
    exporter, written = _Exporter(cfg, model, dataset_meta, options), []
    end = _ENDS[options.precision]
    for name in options.formats:
        file = folder / f'deploy{"" if name == "pt2" else end}{FORMATS[name]}'
        exporter.export(file)
        written += [file] if name != 'openvino' else [file, file.with_suffix('.bin')]
    return written
