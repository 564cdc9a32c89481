"""Exported files as functions of NumPy arrays, and in the place of the model that they were exported from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from torch import Tensor, nn

from ..engine.optional import optional
from .export import FORMATS, META, Network


class Runtime:
    """An exported network: images in, predictions out.

    Args:
        meta (dict[str, Any]): the file's metadata, such as ``classes``, ``palette``, ``mean`` and ``std``.
        run (Callable): from an array to an array.
    """

    def __init__(self, meta: dict[str, Any], run: Callable[[np.ndarray], np.ndarray]):
        self.meta, self._run = meta, run

    @property
    def by_bytes(self) -> bool:
        """Whether images are bytes, (B, H, W, C), and not normalized, (B, C, H, W)."""
        return self.meta['input'] == 'uint8'

    def check(self, images: np.ndarray) -> None:
        """Refuse images that the file cannot take.

        Raises:
            ValueError: for another type, number of channels, batch or size.
        """
        meta = self.meta
        layout, order = ('(B, H, W, C)', (0, 1, 2, 3)) if self.by_bytes else ('(B, C, H, W)', (0, 2, 3, 1))
        if images.ndim != 4 or images.dtype != meta['input'] or images.shape[order[3]] != meta['channels']:
            raise ValueError(
                f'The file takes images {layout} of {meta["channels"]} channels and type {meta["input"]}, not '
                f'{images.shape} of {images.dtype}.'
            )
        batch, *size = (images.shape[axis] for axis in order[:3])
        if meta['batch'] not in (None, batch):
            raise ValueError(f'The file takes one image at a time, not {batch}. Export it with --dynamic.')
        if meta['size'] is not None and size != meta['size']:
            raise ValueError(
                'The file takes images of {}x{} pixels (height x width), not {}x{}. Resize them, or export another '
                'with --size or --dynamic.'.format(*meta['size'], *size)
            )
        if meta['size'] is None and any(side % meta['multiple'] or not side for side in size):
            raise ValueError(
                'The file takes images whose sides are multiples of {} pixels, not {}x{}. Resize or pad them, or '
                'export another with --size.'.format(meta['multiple'], *size)
            )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Run the network.

        Args:
            images (ndarray): bytes, (B, H, W, C), RGB if there are three channels; or float32, (B, C, H, W),
                normalized by ``meta['mean']`` and ``meta['std']``, in the order of ``meta['order']``.

        Returns:
            ndarray: what ``meta['output']`` names: 'mask' (B, H, W), 'logits' (B, K, H, W), 'heatmaps' (B, K, h, w) or
            'keypoints' (B, K, 3).

        Raises:
            ValueError: see :meth:`check`.
        """
        self.check(images)
        return self._run(images)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Run the network on any number of images: one by one, if the file takes only one.

        Where its size is open, images may have any: they are padded by copies of the border, and the result is cropped.

        Args:
            images (ndarray): see :meth:`__call__`.

        Raises:
            ValueError: see :meth:`check`.
        """
        axes = slice(1, 3) if self.by_bytes else slice(2, 4)
        sides, pads = images.shape[axes], [(0, 0)] * images.ndim
        if self.meta['size'] is None:
            pads[axes] = [(0, -side % self.meta['multiple']) for side in sides]
            images = np.pad(images, pads, 'edge')
        parts = [images] if self.meta['batch'] is None else np.split(images, len(images))
        found = np.concatenate([self(part) for part in parts])
        if self.meta['size'] is not None:
            return found
        zoom = found.shape[-2] // images.shape[axes][0]
        height, width = (zoom * side for side in sides)
        return found[..., :height, :width]


def is_exported(file: str | Path) -> bool:
    """Whether a file is one that ``tools/deploy.py`` exports."""
    return Path(file).suffix in FORMATS.values()


def of_network(network: nn.Module, meta: dict[str, Any]) -> Runtime:
    """Run a PyTorch module as a file would be."""

    @torch.no_grad()
    def run(images: np.ndarray) -> np.ndarray:
        return network(torch.from_numpy(images)).numpy()

    return Runtime(meta, run)


def load_runtime(file: str | Path) -> Runtime:
    """Load an exported file, to run with as many threads as PyTorch has.

    Args:
        file (str | Path): '.pt2', '.onnx' or '.xml'.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if the file's runtime is not installed.
        ValueError: if it has another suffix or is damaged, or ``tools/deploy.py`` did not write it.
    """
    load = {'.pt2': _load_pt2, '.onnx': _load_onnx, '.xml': _load_openvino}.get(Path(file).suffix)
    if load is None:
        raise ValueError(f'{file}: an exported file ends in {", ".join(FORMATS.values())}')
    if not Path(file).is_file():
        raise FileNotFoundError(f'There is no {file}. tools/deploy.py --format writes such a file.')
    try:
        text, run = load(str(file))
    except ImportError:
        raise
    except Exception as error:  # of any kind: each runtime has its own
        raise ValueError(
            f'{file} cannot be read: it is truncated, damaged or another kind of file, or an .xml without its .bin. '
            'Export it again.'
        ) from error
    if not text:
        raise ValueError(f'{file} has no metadata of dsrl_mm: it was not written by tools/deploy.py')
    return Runtime(json.loads(text), run)


def _load_pt2(file: str) -> tuple[str, Callable]:
    extra = {f'{META}.json': ''}
    network = torch.export.load(file, extra_files=extra).module()
    return extra[f'{META}.json'], of_network(network, {})._run


def _load_onnx(file: str) -> tuple[str, Callable]:
    onnxruntime = optional('onnxruntime', 'export')
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    text = session.get_modelmeta().custom_metadata_map.get(META, '')
    return text, lambda images: session.run(None, {name: images})[0]


def _load_openvino(file: str) -> tuple[str, Callable]:
    openvino = optional('openvino', 'export')
    core = openvino.Core()
    model = core.read_model(file)
    text = model.get_rt_info(META).astype(str) if model.has_rt_info(META) else ''
    # Some processors would compute in bfloat16 by themselves.
    hints = {'INFERENCE_PRECISION_HINT': 'f32', 'INFERENCE_NUM_THREADS': torch.get_num_threads()}
    compiled = core.compile_model(model, 'CPU', hints)
    return text, lambda images: compiled(images)[0].copy()


def use_runtime(model: nn.Module, runtime: Runtime) -> None:
    """Let a model predict by an exported file, so that it is tested on the data sets of the model's config.

    Args:
        model (nn.Module): a segmentor or pose estimator of the config that the file was exported with. Its own weights
            are not used. It still resizes to the images' sizes and decodes keypoints.
        runtime (Runtime): the file.

    Raises:
        ValueError: if the file predicts keypoints, or other classes than the model.
    """
    network, meta = Network(model), runtime.meta
    if meta['output'] == 'keypoints':
        raise ValueError('The file gives keypoints; heatmaps are needed to test it. Export without --argmax.')

    def run(inputs: Tensor) -> Tensor:
        """Run the file on normalized canvases (B, C, H, W)."""
        images = model.network_input(inputs) if meta['entrance'] == 'low-res' else inputs
        images = network.to_bytes(images) if runtime.by_bytes else images
        return torch.from_numpy(runtime.predict(images.cpu().contiguous().numpy())).to(inputs.device)

    if not network.segments:
        model.extract_feat = run
        model.head.forward = lambda heatmaps: heatmaps
        return
    channels = model.decode_head.out_channels

    def encode_decode(inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        height, width = inputs.shape[-2:]
        found = run(inputs)[..., :height, :width]  # frames were padded
        if meta['output'] == 'mask':
            # As logits: 1 for the class, and for the object's one channel, far from any threshold.
            found = 200.0 * found[:, None] - 100 if channels == 1 else _one_hot(found, channels)
        if found.shape[1] != channels:
            raise ValueError(f'The file gives {found.shape[1]} channels, but the config {channels}: not its own.')
        return found

    model.encode_decode = encode_decode
    # Without logits, an ISDSegmentor would not call it.
    model.test_cfg = ConfigDict(model.test_cfg or {}, keep_logits=True)


def _one_hot(mask: Tensor, classes: int) -> Tensor:
    if mask.max() >= classes:
        raise ValueError(
            f'The file gives the class id {mask.max()}, but the config has {classes} classes: not its own.'
        )
    return F.one_hot(mask.long(), classes).permute(0, 3, 1, 2).float()
