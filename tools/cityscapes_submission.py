"""Write what the Cityscapes server scores: python tools/cityscapes_submission.py CONFIG CHECKPOINT OUT.zip."""

import argparse
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from PIL import Image
from rich.progress import track
from torch.utils.data import DataLoader

from dsrl_mm.apis.compare import quiet
from dsrl_mm.apis.deploy import build_deploy_model
from dsrl_mm.engine.arguments import OptionsAction, require_files, run
from dsrl_mm.engine.checkpoint import write_whole
from dsrl_mm.engine.config import read_config, type_name
from dsrl_mm.engine.reader import TrustCheckpoint

__all__ = ['LABEL_IDS', 'build_loader', 'check_images', 'main']

#: Label id of every train id, from road to bicycle: ``id`` and ``trainId`` in
#: https://github.com/mcordts/cityscapesScripts/blob/master/cityscapesscripts/helpers/labels.py
LABEL_IDS = np.array([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33], np.uint8)
#: Images of the test split, and their height and width.
COUNT, SIZE = 1525, (1024, 2048)


def build_loader(cfg: Config, split: str) -> DataLoader:
    """Build the config's test loader for the images of a split, without labels.

    Raises:
        ValueError: if the config's test set is not Cityscapes with its 19 classes, or has no folder of the split.
    """
    dataset = cfg.test_dataloader.dataset
    if type_name(dataset) != 'CityscapesDataset' or 'classes' in (dataset.get('metainfo') or {}):
        raise ValueError(
            f'{cfg.filename}: test_dataloader.dataset must be a CityscapesDataset with its own 19 classes, because '
            'the server scores those. Take a config of a model trained on Cityscapes.'
        )
    dataset.data_prefix = dict(img_path=f'leftImg8bit/{split}')
    folder = Path(dataset.get('data_root') or '', dataset.data_prefix.img_path)
    if not folder.is_dir():
        raise ValueError(
            f'There is no folder {folder}. Set CITYSCAPES_ROOT to the folder that holds leftImg8bit/{split}; '
            'leftImg8bit_trainvaltest.zip has it.'
        )
    dataset.pipeline = [step for step in dataset.pipeline if 'Annotation' not in type_name(step)]
    return Runner.build_dataloader(cfg.test_dataloader)


def check_images(files: Sequence[str]) -> None:
    """Check that the images are those of the whole test split, by their number and sizes.

    Raises:
        ValueError: if they are not.
    """
    if len(files) != COUNT:
        raise ValueError(
            f'The test set has {len(files)} images, but the server expects {COUNT}. Unpack '
            'leftImg8bit_trainvaltest.zip again, or try the tool with --split val.'
        )
    for file in files:
        with Image.open(file) as image:
            if (size := image.size[::-1]) != SIZE:
                raise ValueError(
                    f'{file} is {size[0]}x{size[1]}, but the server expects masks of {SIZE[0]}x{SIZE[1]}. Restore the '
                    'original image; the test pipeline resizes it.'
                )


def main(argv: Sequence[str] | None = None) -> None:
    """Predict the test split of Cityscapes, and zip masks of label ids for its server."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('config', help='config file of a model trained on Cityscapes')
    parser.add_argument('checkpoint', type=Path, help='checkpoint file')
    parser.add_argument('out', type=Path, help='the .zip to write')
    parser.add_argument(
        '--split', choices=['test', 'val'], default='test', help='val: a trial on any number and size of images (test)'
    )
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, default={}, help='KEY=VALUE for the config')
    parser.add_argument('--trust-checkpoint', action=TrustCheckpoint)
    args = parser.parse_args(argv)
    if args.out.suffix != '.zip':
        parser.error(f'{args.out}: the server takes a .zip file')
    require_files(parser, args.config, args.checkpoint)
    cfg = read_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    quiet()
    loader = build_loader(cfg, args.split)
    if args.split == 'test':
        check_images([loader.dataset.get_data_info(i)['img_path'] for i in range(len(loader.dataset))])
    model = build_deploy_model(cfg, args.checkpoint).to(get_device())

    content = BytesIO()
    with ZipFile(content, 'w') as archive, torch.no_grad():
        for batch in track(loader, 'Predicting'):
            for sample in model.test_step(batch):
                mask = LABEL_IDS[sample.pred_sem_seg.data[0].cpu().numpy()]
                # The server finds a mask by CITY_SEQUENCE_FRAME, with which an image's name begins.
                archive.writestr(Path(sample.img_path).name, cv2.imencode('.png', mask)[1].tobytes())
        count = len(archive.namelist())
    write_whole(args.out, content.getvalue())
    print(f'{args.out}: {count} masks, {args.out.stat().st_size / 2**20:.1f} MiB')


if __name__ == '__main__':
    run(main)
