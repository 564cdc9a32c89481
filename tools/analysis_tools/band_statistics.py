"""Mean and standard deviation of every band of a data set's images, for ``model.data_preprocessor``."""

import argparse
from collections.abc import Iterable, Sequence

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, TRANSFORMS
from rich.progress import track

from dsrl_mm.apis.compare import quiet
from dsrl_mm.engine.arguments import OptionsAction, run
from dsrl_mm.engine.config import plain_datasets, read_config, type_name

__all__ = ['band_statistics', 'images', 'main']


def band_statistics(images: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean and standard deviation of each band over all pixels, in one pass.

    Args:
        images (Iterable[np.ndarray]): each (H, W, C) or, with one band, (H, W). Sizes may differ.

    Returns:
        tuple[np.ndarray, np.ndarray]: each (C,), in the images' units.

    Raises:
        ValueError: if there is no image, or an image has another number of bands than the first.
    """
    count, mean, squares = 0, 0.0, 0.0  # squares: sum of squared differences to the mean
    for i, image in enumerate(images):
        pixels = image.reshape(-1, image.shape[2] if image.ndim == 3 else 1).astype(np.float64)
        if i and pixels.shape[1] != len(mean):
            raise ValueError(f'image {i} has {pixels.shape[1]} bands, but those before it have {len(mean)}')
        # Chan et al. (1979): exact also where the mean is large compared to the deviation.
        own = pixels.mean(0)
        total = count + len(pixels)
        squares += np.square(pixels - own).sum(0) + np.square(own - mean) * count * len(pixels) / total
        mean += (own - mean) * len(pixels) / total
        count = total
    if not count:
        raise ValueError('the data set has no images')
    return mean, np.sqrt(squares / count)


def images(cfg: Config) -> Iterable[np.ndarray]:
    """Load the training images of a config as its pipelines do, before any other step."""
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    for _, dataset_cfg in plain_datasets(cfg.train_dataloader, 'train_dataloader', 'data_prefix'):
        steps = [step for step in dataset_cfg['pipeline'] if type_name(step).startswith('Load')]
        load = Compose([TRANSFORMS.build(step) for step in steps if 'Annotation' not in type_name(step)])
        dataset = DATASETS.build(dict(dataset_cfg, pipeline=[], lazy_init=False))
        for i in track(range(len(dataset)), 'Reading'):
            yield load(dataset.get_data_info(i))['img']


def main(argv: Sequence[str] | None = None) -> None:
    """Print mean and std of the training images of a config, as model.data_preprocessor takes them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('config', help='a config of MMSegmentation')
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, default={}, help='KEY=VALUE for the config')
    args = parser.parse_args(argv)
    quiet()
    cfg = read_config(args.config, args.cfg_options)
    mean, std = band_statistics(images(cfg))
    if (cfg.get('model', {}).get('data_preprocessor') or {}).get('bgr_to_rgb') and len(mean) == 3:
        mean, std = mean[::-1], std[::-1]  # images are loaded as B G R, and normalized as R G B
    print(f'mean={np.round(mean, 4).tolist()}, std={np.round(std, 4).tolist()}')


if __name__ == '__main__':
    run(main)
