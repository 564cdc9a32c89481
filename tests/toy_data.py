"""A tiny made-up data set on disk in CamVid's layout, and a tiny config file that trains on it in seconds."""

import gc
import json
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.visualization import Visualizer
from mmseg.visualization import SegLocalVisualizer
from PIL import Image
from toy import SIZE, auxiliary_head_cfg, build, head_cfg, model_cfg, spread_weights

from dsrl_mm.seg import CamVidDataset

REPO = Path(__file__).resolve().parents[1]
NUM_CLASSES = len(CamVidDataset.METAINFO['classes'])


def write_camvid(root: Path, train: int = 8, val: int = 5) -> Path:
    """Write ``train`` + ``val`` pairs of 48x64 PNGs: 8x8 squares of random classes, in their palette's colors.

    No pixel is void, so that the mean over a batch is the mean of the means over its halves.
    """
    rng = np.random.default_rng(0)
    palette = np.array(CamVidDataset.METAINFO['palette'])
    for split, count in (('train', train), ('val', val)):
        for i in range(count):
            label = rng.integers(NUM_CLASSES, size=(SIZE[0] // 8, SIZE[1] // 8)).repeat(8, 0).repeat(8, 1)
            image = (palette[label] + rng.integers(-20, 21, size=(*SIZE, 3))).clip(0, 255)
            for kind, pixels in (('images', image), ('labels', label)):
                path = root / kind / split / f'{split}_{i}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    return root


def write_config(folder: Path, data_root: Path, norm_cfg: dict = dict(type='BN'), **overrides) -> Path:
    """Write ``toy.py`` into ``folder``: the shipped data set and runtime, a tiny DSRL model, 4 iterations of batch 2.

    Samples come in a fixed order and without chance, so that runs can be compared. ``overrides`` replace whole keys.
    """
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    loader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=str(data_root), pipeline=pipeline))
    settings = dict(
        _base_=[str(REPO / 'configs/_base_' / name) for name in ('datasets/camvid.py', 'default_runtime.py')],
        model=model_cfg(
            head=head_cfg('FCNHead', norm_cfg, num_classes=NUM_CLASSES),
            norm_cfg=norm_cfg,
            auxiliary_head=auxiliary_head_cfg(num_classes=NUM_CLASSES, norm_cfg=norm_cfg),
        ),
        train_dataloader=dict(loader, batch_size=2, sampler=dict(shuffle=False)),
        val_dataloader=loader,
        test_dataloader=loader,
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=4, val_interval=1000),
        val_cfg=dict(type='ValLoop'),
        test_cfg=dict(type='TestLoop'),
        default_hooks=dict(logger=dict(interval=1), checkpoint=dict(interval=2)),
        randomness=dict(seed=0),
    )
    file = folder / 'toy.py'
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(''.join(f'{key} = {value!r}\n' for key, value in (settings | overrides).items()))
    return file


def write_trained(folder: Path, data_root: Path, **overrides) -> tuple[Path, Path]:
    """Write :func:`write_config`'s file, and a checkpoint of random weights beside it."""
    config, checkpoint = write_config(folder, data_root, **overrides), folder / 'toy.pth'
    torch.save(dict(state_dict=spread_weights(build(Config.fromfile(config).model)).state_dict()), checkpoint)
    return config, checkpoint


def call(command: Callable, *args) -> dict[str, float] | None:
    """Run a command of ``dsrl_mm.cli`` in this process, as a new one would, and give back what it returns.

    A new process has none of the singletons that MMEngine keeps. Formatting configs prettily, most of such a short
    run's time, is left out. Runs of a work dir begin in different seconds, by which MMEngine names their folders.
    """
    args = [str(arg) for arg in args]
    if '--work-dir' in args:
        work_dir = Path(args[args.index('--work-dir') + 1])
        while (work_dir / time.strftime('%Y%m%d_%H%M%S')).exists():
            time.sleep(0.05)
    for manager in (MessageHub, MMLogger, Visualizer, SegLocalVisualizer):
        manager._instance_dict.clear()
    with mock.patch('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True)):
        return command(args)


def logged(work_dir: Path) -> list[dict]:
    """What the newest run in a work dir logged: one dict per training iteration or evaluation."""
    newest = max(work_dir.glob('*/vis_data/scalars.json'))
    return [json.loads(line) for line in newest.read_text().splitlines()]


#: New processes are forked from one that has imported the package and has no threads: those do not survive a fork.
PROCESSES = multiprocessing.get_context('forkserver')
#: The last one is slow to import, with Matplotlib, and imported late: by SRMetric, and by every runner's visualizer.
PROCESSES.set_forkserver_preload(['dsrl_mm.cli', 'dsrl_mm.seg', 'torchmetrics.functional.image'])


def start_process(function: Callable, *args) -> multiprocessing.Process:
    """Start a function of a module in a new process."""
    process = PROCESSES.Process(target=_begin, args=(function, *args), daemon=True)
    process.start()
    return process


def _begin(function: Callable, *args) -> None:
    gc.freeze()  # as in conftest.py
    function(*args)
