"""Predictions drawn on images: a lookup table of colors, and OpenCV's blending."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from .predictors import Prediction


def to_picture(image: np.ndarray) -> np.ndarray:
    """Convert an image, (H, W) or (H, W, C), to bytes (H, W, 3): its first three bands (B, G, R), or its only one.

    Other values than bytes are stretched to 0-255.
    """
    image = np.atleast_3d(image)
    image = image[..., :3] if image.shape[2] >= 3 else image[..., :1].repeat(3, 2)
    if image.dtype != np.uint8:
        image = cv2.normalize(image.astype(np.float32), None, 0, 255, cv2.NORM_MINMAX).round().astype(np.uint8)
    return np.ascontiguousarray(image)


def draw_prediction(
    image: np.ndarray, prediction: Prediction, meta: Mapping[str, Any], opacity: float = 0.5
) -> np.ndarray:
    """Draw a prediction on its image.

    Args:
        image (np.ndarray): (H, W) or (H, W, C), B G R if C is 3. It is enlarged to a larger mask.
        prediction (Prediction): of the image. Classes are drawn in their colors, an object as far as it is probable,
            keypoints and the links between them if their scores reach 0.3.
        meta (Mapping[str, Any]): of the model's classes or keypoints, see :class:`Inferencer`.
        opacity (float): of masks: 0 is the image, 1 the mask. Defaults to 0.5.

    Returns:
        np.ndarray: bytes (H', W', 3) of the mask's size, B G R.
    """
    picture = to_picture(image)
    if prediction.keypoints is not None:
        return _draw_keypoints(picture, prediction.keypoints, meta)
    size = prediction.mask.shape[::-1]
    if picture.shape[1::-1] != size:
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
    colors = np.asarray(meta['palette'], np.uint8)[:, ::-1]
    if prediction.probability is None:
        return cv2.addWeighted(picture, 1 - opacity, np.take(colors, prediction.mask, 0), opacity, 0)
    weight = opacity * prediction.probability
    return cv2.blendLinear(picture, np.full_like(picture, colors[-1]), 1 - weight, weight)


def _draw_keypoints(
    picture: np.ndarray, keypoints: np.ndarray, meta: Mapping[str, Any], least: float = 0.3
) -> np.ndarray:
    picture, thick = picture.copy(), max(1, round(max(picture.shape) / 400))
    colors = np.asarray(meta['palette'])[:, ::-1].tolist()
    for person in keypoints:
        points, seen = person[:, :2].round().astype(int).tolist(), person[:, 2] >= least
        for start, end in meta.get('skeleton_links') or ():
            if seen[start] and seen[end]:
                cv2.line(picture, points[start], points[end], colors[end], thick, cv2.LINE_AA)
        for index in np.flatnonzero(seen):
            cv2.circle(picture, points[index], 2 * thick, colors[index], -1, cv2.LINE_AA)
    return picture
