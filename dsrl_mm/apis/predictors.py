"""Predictors of one interface: segmentors and pose estimators of a config, and exported files."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from torch import nn

from ..engine.config import test_pipeline, type_name


@dataclass
class Prediction:
    """What a model predicts for an image.

    Args:
        mask (np.ndarray, optional): class ids, (H, W), of the image's size; with the low-resolution entrance,
            ``scale_factor`` times as large.
        probability (np.ndarray, optional): of the object, (H, W), float32, 0 to 1; of models with one output channel,
            such as PGNet. The mask is then 1 above the head's threshold.
        keypoints (np.ndarray, optional): x and y in pixels of the image, and score, of each box: (N, K, 3).
    """

    mask: np.ndarray | None = None
    probability: np.ndarray | None = None
    keypoints: np.ndarray | None = None


class SegPredictor:
    """Predictor of a segmentor, with the test pipeline of its config.

    Args:
        cfg (Config): from :func:`deploy_config`.
        model (nn.Module): from :func:`build_deploy_model`.
        dataset_meta (dict[str, Any]): with ``classes`` and ``palette``, if they are known.
    """

    def __init__(self, cfg: Config, model: nn.Module, dataset_meta: dict[str, Any]):
        self.meta = seg_meta(dataset_meta, model.num_classes)
        first, *steps = test_pipeline(cfg)
        self.model, self.loading = model, Compose([first])
        self.gray = first.get('color_type', '').startswith('grayscale')
        self.canvas = cfg.get('crop_size') if cfg.model.get('low_res_input') else None
        self.pipeline = Compose([step for step in steps if not type_name(step).startswith('Load')])

    def load(self, file: str | Path) -> np.ndarray:
        """Load an image as the config does."""
        return self.loading(dict(img_path=str(file)))['img']

    @torch.no_grad()
    def __call__(self, images: Sequence[np.ndarray], boxes: None = None) -> list[Prediction]:
        """Predict masks of images of one size."""
        if boxes is not None:
            raise ValueError('boxes are for pose estimators, and this model segments whole images')
        shape = images[0].shape[:2]
        if self.canvas and all(side >= most for side, most in zip(shape, self.canvas)):
            warnings.warn(
                "Images are not smaller than the training's, but the model was built for low-resolution frames. For "
                'images of full size, --entrance canvas is more accurate.',
                stacklevel=2,
            )
        data = [self.pipeline(dict(img=image, img_shape=shape, ori_shape=shape)) for image in images]
        return [self._convert(sample) for sample in self.model.test_step(pseudo_collate(data))]

    def _convert(self, sample: Any) -> Prediction:
        mask = sample.pred_sem_seg.data[0].cpu().numpy().astype(mask_dtype(self.model.num_classes))
        if 'seg_logits' not in sample or len(sample.seg_logits.data) > 1:
            return Prediction(mask)
        return Prediction(mask, sample.seg_logits.data[0].float().cpu().numpy())


class PosePredictor:
    """Predictor of a top-down pose estimator.

    Args:
        cfg (Config): of its training.
        model (nn.Module): the estimator, in eval mode.
        dataset_meta (dict[str, Any]): from :func:`read_dataset_meta`.
    """

    def __init__(self, cfg: Config, model: nn.Module, dataset_meta: dict[str, Any]):
        model.cfg, model.dataset_meta = cfg, dataset_meta  # where MMPose looks
        self.model, self.meta, self.gray = model, pose_meta(dataset_meta), False

    def load(self, file: str | Path) -> np.ndarray:
        """Load an image, B G R."""
        return imread(file, 'color')

    def __call__(
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray | None] | None = None
    ) -> list[Prediction]:
        """Predict keypoints in boxes: x0, y0, x1 and y1 in pixels, (N, 4) for each image; None is the whole image."""
        return [self._predict(image, box) for image, box in zip(images, boxes or [None] * len(images))]

    def _predict(self, image: np.ndarray, boxes: np.ndarray | None) -> Prediction:
        from mmpose.apis import inference_topdown

        if boxes is not None and not len(boxes):  # MMPose would take the whole image
            return Prediction(keypoints=np.zeros((0, self.model.head.out_channels, 3), np.float32))
        found = [sample.pred_instances for sample in inference_topdown(self.model, image, boxes)]
        points = np.concatenate([instances.keypoints for instances in found])
        scores = np.concatenate([instances.keypoint_scores for instances in found])
        return Prediction(keypoints=np.dstack((points, scores)).astype(np.float32))


def seg_meta(meta: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return classes and colors; MMSegmentation's random ones, and numbers as names, where there are none."""
    colors = meta.get('palette') or np.random.RandomState(42).randint(256, size=(number, 3)).tolist()
    return dict(classes=list(meta.get('classes') or map(str, range(number))), palette=colors)


def pose_meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return names and colors of keypoints, and the links between them."""
    names, colors = meta['keypoint_id2name'], np.asarray(meta['keypoint_colors'])
    links = meta['skeleton_links']
    return dict(classes=[names[i] for i in sorted(names)], palette=colors.tolist(), skeleton_links=links)


def is_udp(codec: Any) -> bool:
    """Whether crops are UDP's: they reach from the center of the first pixel to that of the last."""
    return type(codec).__name__ == 'UDPHeatmap'


def mask_dtype(classes: int) -> type:
    """Return the type of masks: class ids are bytes if they fit."""
    return np.uint8 if classes <= 256 else np.uint16


def imread(file: str | Path, flag: str, backend: str | None = None) -> np.ndarray:
    """Read an image as :func:`mmcv.imread` does.

    Raises:
        ValueError: if it cannot be read.
    """
    image = mmcv.imread(str(file), flag, backend=backend)
    if image is None:
        raise ValueError('OpenCV cannot read it as an image')
    return image
