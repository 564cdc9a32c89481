"""Predictor of a file that ``tools/deploy.py`` exported."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from ..compat import prepare
from .export import peaks
from .predictors import Prediction, imread, mask_dtype
from .runtime import Runtime, load_runtime


class ExportedPredictor:
    """Predictor of an exported file, on the CPU.

    Images are resized to the file's size, or padded if its size is open. Predictions have the images' size; with the
    low-resolution entrance, masks are ``scale_factor`` times as large.

    Args:
        file (str | Path): '.pt2', '.onnx' or '.xml'.
        entrance (str): 'auto', or what the file must have.

    Raises:
        ValueError: if the file has another entrance.
    """

    def __init__(self, file: str | Path, entrance: str):
        self.runtime: Runtime = load_runtime(file)
        self.meta = self.runtime.meta
        self.gray = self.meta['channels'] == 1
        if entrance not in ('auto', self.meta['entrance']):
            raise ValueError(f'{file} was exported for the entrance {self.meta["entrance"]!r}, not {entrance!r}')
        self.crop = None
        if self.meta['task'] == 'pose':
            prepare('mmpose')
            from mmengine.dataset import Compose
            from mmpose.datasets.transforms import GetBBoxCenterScale, TopdownAffine

            size, udp, padding = self.meta['size'], self.meta['udp'], self.meta.get('padding', 1.25)
            self.crop = Compose([GetBBoxCenterScale(padding), TopdownAffine(tuple(size[::-1]), udp)])

    def load(self, file: str | Path) -> np.ndarray:
        """Load an image as the config of the training did, B G R if the file takes three channels."""
        return imread(file, **self.meta.get('loading', dict(flag='color')))

    def __call__(
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray | None] | None = None
    ) -> list[Prediction]:
        """Predict images of one size, see :class:`PosePredictor` for the boxes."""
        if self.crop is not None:
            return [self._keypoints(image, box) for image, box in zip(images, boxes or [None] * len(images))]
        if boxes is not None:
            raise ValueError('boxes are for pose estimators, and this file segments whole images')
        height, width = images[0].shape[:2]
        if self.meta['size']:
            images = [cv2.resize(image, self.meta['size'][::-1]) for image in images]
        found = torch.from_numpy(self._run(np.stack(images)))
        zoom = found.shape[-2] // images[0].shape[0]
        height, width = zoom * height, zoom * width
        if self.meta['output'] == 'mask':
            masks = F.interpolate(found[:, None].float(), (height, width), mode='nearest-exact')[:, 0]
            return [Prediction(mask) for mask in masks.byte().numpy()]
        logits = F.interpolate(found, (height, width), mode='bilinear')
        if logits.shape[1] > 1:
            return [Prediction(mask) for mask in logits.argmax(1).numpy().astype(mask_dtype(logits.shape[1]))]
        return [Prediction((p > self.meta['threshold']).astype(np.uint8), p) for p in logits[:, 0].sigmoid().numpy()]

    def _run(self, images: np.ndarray) -> np.ndarray:
        """Run the file on images as they are loaded, (B, H, W) or (B, H, W, C)."""
        images = images.reshape(*images.shape[:3], -1)
        if images.shape[3] == 3 and self.meta['order'] == 'RGB':
            images = images[..., ::-1]
        if not self.runtime.by_bytes:
            images = (images - np.float32(self.meta['mean'])) / np.float32(self.meta['std'])
            images = images.transpose(0, 3, 1, 2)
        return self.runtime.predict(np.ascontiguousarray(images))

    def _keypoints(self, image: np.ndarray, boxes: np.ndarray | None) -> Prediction:
        if boxes is None:
            boxes = np.array([[0, 0, image.shape[1], image.shape[0]]], np.float32)
        people = []
        for box in boxes:
            crop = self.crop(dict(img=image, bbox=box[None]))
            found = self._run(crop['img'][None])
            size = np.array(crop['input_size']) - self.meta['udp']
            if self.meta['output'] == 'heatmaps':
                found = peaks(torch.from_numpy(found), self.meta['cell']).numpy()
            scale = crop['input_scale']
            points = found[0, :, :2] / size * scale + crop['input_center'] - scale / 2
            people.append(np.column_stack((points, found[0, :, 2])))
        return Prediction(keypoints=np.array(people, np.float32).reshape(len(boxes), len(self.meta['classes']), 3))
