"""Files that run without this repository: ``torch.export`` programs, ONNX, OpenVINO; in float32, float16 or int8."""

import io
import json
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import revert_sync_batchnorm
from torch import Tensor, nn

from ..engine.optional import optional

#: Suffix of the file of each format.
FORMATS = dict(pt2='.pt2', onnx='.onnx', openvino='.xml')
#: Name of the metadata in a file.
META = 'dsrl_mm'

_NO_HEATMAPS = 'Poses are exported as one heatmap for each keypoint, which {} does not give'


class Network(nn.Module):
    """A model as it is exported: from images to logits or heatmaps, or from bytes to predictions.

    Args:
        model (nn.Module): a segmentor or a pose estimator, in eval mode.
        decide (bool): whether images are bytes, (B, H, W, C) of dtype uint8 and, with three channels, RGB. Masks are
            then (B, H, W), uint8 class ids. Keypoints are (B, K, 3): x and y in pixels of the image, of the cell with
            the highest value, and that value. Defaults to False: from normalized images, (B, C, H, W), to logits
            (B, K, H, W) or heatmaps (B, K, h, w).

    Raises:
        ValueError: for a cascade of heads, such as PointRend; for a pose estimator that gives no heatmaps; for
            ``decide``, if class ids exceed a byte.
    """

    def __init__(self, model: nn.Module, decide: bool = False):
        super().__init__()
        self.model, self.decide = model, decide
        self.segments = hasattr(model, 'decode_head')
        if self.segments and isinstance(model.decode_head, nn.ModuleList):
            raise ValueError(
                f'{type(model).__name__} is a cascade of heads, such as PointRend, which cannot be exported. Without '
                '--format, tools/deploy.py writes its config and weights alone.'
            )
        preprocessor = model.data_preprocessor
        swaps = (getattr(preprocessor, name, False) for name in ('channel_conversion', '_channel_conversion'))
        #: Order of the network's channels; pipelines load B, G, R.
        self.order = 'RGB' if any(swaps) else 'BGR'
        for name, default in (('mean', 0.0), ('std', 1.0)):
            value = getattr(preprocessor, name, None)
            self.register_buffer(name, torch.full((1, 1, 1), default) if value is None else value.detach().clone())
        decoder = None if self.segments else model.head.decoder
        combined = getattr(decoder, 'heatmap_type', '') == 'combined'  # UDP's: with two offsets for each heatmap
        if not self.segments and (combined or not hasattr(decoder, 'heatmap_size')):
            raise ValueError(_NO_HEATMAPS.format(type(decoder if combined else model.head).__name__))
        if decide and self.segments and model.decode_head.num_classes > 256:
            raise ValueError(f'--argmax: {model.decode_head.num_classes} classes do not fit a byte; leave it out')

    def normalize(self, images: Tensor) -> Tensor:
        """Convert bytes (B, H, W, C) to what the model reads, (B, C, H, W)."""
        x = images.permute(0, 3, 1, 2).float()
        if x.shape[1] == 3 and self.order == 'BGR':
            x = x.flip(1)
        return (x - self.mean) / self.std

    def to_bytes(self, x: Tensor) -> Tensor:
        """Convert what the model reads, or an image that it rebuilds, (B, C, H, W), to bytes (B, H, W, C).

        The inverse of :meth:`normalize`.
        """
        x = x * self.std + self.mean
        if x.shape[1] == 3 and self.order == 'BGR':
            x = x.flip(1)
        return x.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.normalize(images) if self.decide else images
        if not self.segments:
            heatmaps = self.model(x, None)
            if not isinstance(heatmaps, Tensor):
                raise ValueError(_NO_HEATMAPS.format(type(self.model.head).__name__))
            return peaks(heatmaps, self.model.head.decoder.scale_factor) if self.decide else heatmaps
        logits = self.model.encode_decode(x, [dict(img_shape=x.shape[-2:])])
        if not self.decide:
            return logits
        if logits.shape[1] == 1:
            return (logits.sigmoid() > self.model.decode_head.threshold)[:, 0].to(torch.uint8)
        return logits.argmax(1).to(torch.uint8)


def peaks(heatmaps: Tensor, cell: Sequence[float]) -> Tensor:
    """Return x, y and value of the largest cells of heatmaps (B, K, h, w): (B, K, 3); cells have ``cell`` pixels."""
    score, index = heatmaps.flatten(2).max(2)
    width = heatmaps.shape[3]
    cells = torch.stack((index % width, index // width), 2) * torch.as_tensor(cell, dtype=score.dtype)
    return torch.cat((cells, score[..., None]), 2)


class _MatrixPool(nn.Module):
    """Adaptive average pooling as two matrix products, which are exact at every size of the input.

    Cell k of n on a side of s pixels is the mean of the pixels from ``k s // n`` up to ``ceil((k + 1) s / n)``.
    Exporters write these bounds down for the size they see.
    """

    def __init__(self, size: int | Sequence[int | None]):
        super().__init__()
        self.cells = (size, size) if isinstance(size, int) else tuple(size)

    @staticmethod
    def _means(side: int, cells: int, like: Tensor) -> Tensor:
        """Weights of each pixel in each cell, (cells, side)."""
        k, pixel = (torch.arange(n, device=like.device) for n in (cells, side))
        start, end = k * side // cells, ((k + 1) * side + cells - 1) // cells
        inside = (pixel >= start[:, None]) & (pixel < end[:, None])
        return inside.to(like.dtype) / (end - start)[:, None].to(like.dtype)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self.cells
        if rows is not None:
            x = self._means(x.shape[-2], rows, x) @ x
        return x if columns is None else x @ self._means(x.shape[-1], columns, x).T


class _SameConv(nn.Module):
    """timm's ``Conv2dSame``, whose padding follows from the image's size, in whole numbers: symbols stay exact.

    A side of x pixels, at stride s and under a kernel of k pixels, gets (-x mod s) + k - s, an odd one at its end.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        c, pads = self.conv, []
        for side, size, stride, dilation in zip(x.shape[-2:], c.kernel_size, c.stride, c.dilation):
            pad = max(-side % stride + dilation * (size - 1) + 1 - stride, 0)
            pads = [pad // 2, pad - pad // 2, *pads]
        return F.conv2d(F.pad(x, pads), c.weight, c.bias, c.stride, 0, c.dilation, c.groups)


def _exportable(network: nn.Module) -> nn.Module:
    """Copy a network, and replace layers that exporters do not take by equal ones."""
    network = revert_sync_batchnorm(deepcopy(network))
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.AdaptiveAvgPool2d) and child.output_size not in (1, (1, 1)):
                setattr(parent, name, _MatrixPool(child.output_size))
            elif type(child).__name__ == 'Conv2dSame':
                setattr(parent, name, _SameConv(child))
    return network.eval()


@torch.no_grad()
def export_program(
    network: nn.Module,
    size: tuple[int, int],
    channels: int = 3,
    multiple: int | None = None,
    open_batch: bool = False,
    dtype: torch.dtype = torch.float32,
) -> torch.export.ExportedProgram:
    """Export a network for images of one size, or of any.

    Args:
        network (nn.Module): a :class:`Network`, or a model from :func:`build_deploy_model`.
        size (tuple[int, int]): height and width of the input: a low-resolution frame's with ``low_res_input``, else
            the canvas's. Not used with ``multiple``.
        channels (int): C, of the images. Defaults to 3.
        multiple (int, optional): divisor of the sides, which stay open. Defaults to None: they are those of ``size``.
        open_batch (bool): whether the batch stays open. Defaults to False: one image.
        dtype (torch.dtype): of the images; uint8 images are (B, H, W, C). Defaults to float32.

    Returns:
        torch.export.ExportedProgram: see :class:`Network` for its input and output.

    Raises:
        RuntimeError: or another error, if a layer needs to know what stays open.
    """
    by_bytes, dims = dtype == torch.uint8, {}
    if open_batch:
        dims[0] = torch.export.Dim('batch')
    if multiple is not None:
        size = 3 * multiple, 4 * multiple  # different from each other, and not 1, which an export takes for constant
        for axis, name in zip((1, 2) if by_bytes else (2, 3), 'hw'):
            dims[axis] = multiple * torch.export.Dim(name)
    shape = (2 if open_batch else 1, *((*size, channels) if by_bytes else (channels, *size)))
    images = torch.zeros(shape, dtype=dtype)
    return torch.export.export(_exportable(network), (images,), dynamic_shapes=(dims,) if dims else None, strict=False)


def import_writers(suffix: str, precision: str) -> dict[str, ModuleType]:
    """Import the packages that write a file with a suffix of :data:`FORMATS`, besides PyTorch, and return them by name.

    Raises:
        ImportError: if one is not installed.
    """
    if suffix == '.pt2':
        return {}
    packages = [optional('onnx', 'export'), optional('onnxscript', 'export')]
    if suffix == '.xml':
        packages.append(optional('openvino', 'export'))
        if precision == 'int8':
            packages.append(optional('nncf', 'nncf'))
    elif precision != 'float32':
        packages.append(optional('onnxruntime', 'export'))
    return {package.__name__: package for package in packages}


def write(
    program: torch.export.ExportedProgram,
    file: Path,
    meta: dict[str, Any],
    precision: str = 'float32',
    images: Sequence[Any] = (),
) -> None:
    """Write a program to a file of the format that its suffix names, with metadata.

    Args:
        program (torch.export.ExportedProgram): see :func:`export_program`.
        file (Path): '.pt2', '.onnx', or '.xml' of OpenVINO, which writes a '.bin', too.
        meta (dict[str, Any]): to keep in the file, as JSON.
        precision (str): 'float32', 'float16' or 'int8'; a '.pt2' is always in float32. Defaults to 'float32'.
        images (Sequence[ndarray]): batches of real images to calibrate int8 with. Defaults to none.
    """
    text = json.dumps(meta)
    if file.suffix == '.pt2':
        torch.export.save(program, file, extra_files={f'{META}.json': text})
        return
    packages = import_writers(file.suffix, precision)
    proto = torch.onnx.export(program, dynamo=True, input_names=['images'], verbose=False).model_proto
    if file.suffix == '.onnx':
        if precision == 'int8':
            proto = _quantized(proto, images)
        elif precision == 'float16':
            from onnxruntime.transformers.float16 import convert_float_to_float16

            proto = convert_float_to_float16(proto, keep_io_types=True)
        packages['onnx'].helper.set_model_props(proto, {META: text})
        packages['onnx'].save(proto, file)
        return
    openvino = packages['openvino']
    model = openvino.convert_model(io.BytesIO(proto.SerializeToString()))
    if precision == 'int8':
        nncf = packages['nncf']
        data = nncf.Dataset(images)
        model = nncf.quantize(model, data, preset=nncf.QuantizationPreset.MIXED, subset_size=len(images))
    model.set_rt_info(text, META)
    openvino.save_model(model, file, compress_to_fp16=precision == 'float16')


def _quantized(proto: Any, images: Sequence[Any]) -> Any:
    """Quantize a whole ONNX graph: weights per channel, and the inputs and outputs of all operators.

    Of convolutions alone, the outputs would be quantized before their activation, which halves the mIoU of
    EfficientNet-Lite0.
    """
    onnx, quantization = optional('onnx', 'export'), optional('onnxruntime.quantization', 'export')
    shapes = optional('onnxruntime.quantization.shape_inference', 'export')

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.rest = iter(images)

        def get_next(self):
            batch = next(self.rest, None)
            return None if batch is None else {'images': batch}

    with tempfile.TemporaryDirectory() as folder:
        plain, out = Path(folder, 'plain.onnx'), Path(folder, 'int8.onnx')
        onnx.save(proto, plain)
        shapes.quant_pre_process(plain, plain, skip_symbolic_shape=True)
        quantization.quantize_static(
            plain,
            out,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return onnx.load(out)
