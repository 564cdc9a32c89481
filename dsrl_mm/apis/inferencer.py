"""Prediction in Python, whatever the model is stored as."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import cv2
import mmengine
import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device

from ..engine.config import read_config
from .deploy import build_deploy_model, deploy_config, read_dataset_meta
from .exported import ExportedPredictor
from .overlay import draw_prediction
from .predictors import PosePredictor, Prediction, SegPredictor
from .runtime import is_exported

ENTRANCES = ('auto', 'low-res', 'canvas')

#: Weights next to the config of each kind of folder.
_FOLDERS = {'deploy.py': 'deploy.pth', 'config.py': 'model.safetensors'}


def model_zoo() -> dict[str, dict[str, Any]]:
    """Find the models with weights by name: their entries in the model index, with absolute paths, and their paper."""
    package = Path(__file__).parents[1]
    models = {}
    for root in (package.parent, package / '.mim'):  # a checkout, or a wheel
        for file in sorted(root.glob('configs/*/metafile.yml')):
            index = mmengine.load(file)
            papers = {collection['Name']: collection['Paper'] for collection in index['Collections']}
            for model in index['Models']:
                if 'Weights' in model:
                    paths = {key: str(root / model[key]) for key in ('Config', 'Weights')}
                    models[model['Name']] = model | paths | dict(Paper=papers[model['In Collection']])
    return models


def find_model(model: str | Path) -> tuple[str, str, dict[str, Any]]:
    """Find config, checkpoint and options of a folder, or of a name in the model zoo.

    Folders are those that ``tools/deploy.py`` and ``tools/misc/to_hub.py`` write.

    Raises:
        FileNotFoundError: if the folder or the package lacks the weights.
        ValueError: if it is neither, or the folder holds two models.
    """
    path = Path(model)
    if folder := [(path / config, path / weights) for config, weights in _FOLDERS.items() if (path / config).is_file()]:
        if len(folder) > 1:
            raise ValueError(f'{model} holds two models: name one by its config and weights, or remove the other')
        found = *map(str, folder[0]), {}
    elif (zoo := model_zoo()).get(str(model)):
        entry = zoo[str(model)]
        found = entry['Config'], entry['Weights'], entry['Metadata'].get('Options', {})
    elif path.suffix == '.py':
        raise ValueError(f'{model} is a config: name its checkpoint, too')
    elif is_exported(path):
        raise ValueError(f'{model} is an exported file: name the config that it was exported from first')
    else:
        raise ValueError(
            f'{model} is no folder of tools/deploy.py or tools/misc/to_hub.py, no exported file, and not in the model '
            f'zoo, which has {", ".join(sorted(zoo))}. For a checkpoint, name its config first.'
        )
    if not Path(found[1]).is_file():
        raise FileNotFoundError(
            f'{model}: {found[1]} is missing. A folder needs its weights, deploy.pth or model.safetensors; those of '
            'the model zoo are in the repository, not in the installed package.'
        )
    return found


def _predictor(cfg: Config, checkpoint: str | Path, entrance: str, device: str) -> SegPredictor | PosePredictor:
    low_res = entrance == 'low-res' or (entrance == 'auto' and bool(cfg.model.get('low_res_input')))
    network = build_deploy_model(cfg, checkpoint, low_res).to(device)
    predictor = SegPredictor if hasattr(network, 'decode_head') else PosePredictor
    return predictor(deploy_config(cfg, low_res), network, read_dataset_meta(cfg, checkpoint))


def _checked(device: str) -> str:
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:  # PyTorch without CUDA, no such GPU, no such name
        raise ValueError(f'device {device!r} cannot be used: {str(error).splitlines()[0]}') from error
    return device


class Inferencer:
    """Predictor of segmentation, saliency or poses, for one image after the other or in batches.

    Args:
        model (str | Path): a config, with ``checkpoint``; a folder that ``tools/deploy.py`` or ``tools/misc/to_hub.py``
            wrote; an exported file; or a name of the model zoo.
        checkpoint (str | Path, optional): the config's.
        entrance (str): 'canvas': images have the masks' size, and the model reduces them. 'low-res': images have the
            network's size, and masks are ``scale_factor`` times as large. Defaults to 'auto': as the model was
            deployed; a config for training is for the canvas.
        device (str, optional): Defaults to None: a GPU if there is one.
        batch_size (int): images of one size that are predicted together. Defaults to 1.
        cfg_options (Mapping, optional): overrides of the config, by dotted keys.

    Attributes:
        meta (dict[str, Any]): ``classes`` and ``palette`` (R, G, B) of classes or keypoints, and ``skeleton_links``.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if the model, its checkpoint and the entrance do not fit each other.
    """

    def __init__(
        self,
        model: str | Path,
        checkpoint: str | Path | None = None,
        *,
        entrance: str = 'auto',
        device: str | None = None,
        batch_size: int = 1,
        cfg_options: Mapping[str, Any] | None = None,
    ):
        if entrance not in ENTRANCES:
            raise ValueError(f'entrance is one of {", ".join(ENTRANCES)}, not {entrance!r}')
        if batch_size < 1:
            raise ValueError(f'batch_size is at least 1, not {batch_size}')
        self.batch_size = batch_size
        if checkpoint is None and is_exported(model):
            if device not in (None, 'cpu') or cfg_options:
                raise ValueError(f'{model} runs on the CPU, with the config that it was exported with')
            self.predictor = ExportedPredictor(model, entrance)
        else:
            options = {}
            if checkpoint is None:
                model, checkpoint, options = find_model(model)
            cfg = read_config(model, options | dict(cfg_options or {}))
            self.predictor = _predictor(cfg, checkpoint, entrance, _checked(device or get_device()))
        self.meta = self.predictor.meta

    def load(self, file: str | Path) -> np.ndarray:
        """Read an image as the model's test pipeline does: B G R, (H, W, 3), unless the config says otherwise."""
        return self.predictor.load(file)

    def of_video(self, image: np.ndarray) -> np.ndarray:
        """Convert a frame of a video, (H, W, 3) bytes, B G R, to what :meth:`load` returns: (H, W) for gray images."""
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if self.predictor.gray else image

    def predict_batch(
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray | None] | None = None
    ) -> list[Prediction]:
        """Predict images of one size together.

        Args:
            images (Sequence[np.ndarray]): from :meth:`load`.
            boxes (Sequence, optional): see :meth:`stream`.

        Raises:
            ValueError: for boxes of more or fewer images.
        """
        if boxes is not None and len(boxes) != len(images):
            raise ValueError(f'There are {len(images)} images, but boxes of {len(boxes)}. None is the whole image.')
        return self.predictor(images, boxes)

    def stream(
        self,
        images: Iterable[str | Path | np.ndarray],
        boxes: Iterable[Sequence[Sequence[float]] | None] | None = None,
    ) -> Iterator[Prediction]:
        """Predict one image after the other, however many there are; ``batch_size`` of them are kept at a time.

        Args:
            images (Iterable): files, or arrays as :meth:`load` reads them.
            boxes (Iterable, optional): for poses, boxes of each image, (N, 4): x0, y0, x1, y1 in pixels. None in it is
                the whole image. Defaults to None: whole images.

        Yields:
            Prediction: of each image, in order.
        """
        loaded = (image if isinstance(image, np.ndarray) else self.load(image) for image in images)
        if boxes is None:
            for batch in batches(loaded, self.batch_size, np.shape):
                yield from self.predict_batch(batch)
            return
        pairs = zip(loaded, (box if box is None else np.asarray(box, np.float32) for box in boxes), strict=True)
        for batch in batches(pairs, self.batch_size, lambda pair: pair[0].shape):
            yield from self.predict_batch(*map(list, zip(*batch)))

    def __call__(
        self,
        images: str | Path | np.ndarray | Sequence[str | Path | np.ndarray],
        boxes: Sequence | None = None,
    ) -> Prediction | list[Prediction]:
        """Predict one image, or a list of them, see :meth:`stream`; ``boxes`` of one image are (N, 4).

        Returns:
            Prediction | list[Prediction]: one for one image, a list for a list.
        """
        if isinstance(images, (str, Path, np.ndarray)):
            return next(self.stream([images], None if boxes is None else [boxes]))
        return list(self.stream(images, boxes))

    def draw(self, image: str | Path | np.ndarray, prediction: Prediction, opacity: float = 0.5) -> np.ndarray:
        """Draw a prediction on its image, enlarged to the mask; B G R bytes."""
        image = image if isinstance(image, np.ndarray) else self.load(image)
        return draw_prediction(image, prediction, self.meta, opacity)


def batches(items: Iterable, size: int, key: Callable) -> Iterator[list]:
    """Group up to ``size`` successive items of one ``key``, without reading on."""
    for _, group in groupby(items, key):
        while batch := list(islice(group, size)):
            yield batch
