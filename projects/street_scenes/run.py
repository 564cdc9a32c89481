"""``make demo``: DSRL beside its baseline, from generated scenes to a table and a picture, in minutes."""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import torch
from mmengine.config import Config
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from dsrl_mm.apis.compare import Trained, compare_models, quiet, to_markdown

from .scenes import THIN_CLASSES, write_scenes

__all__ = ['main']

ROOT = Path(__file__).parents[2]
CONFIGS = {
    'baseline': ROOT / 'projects/street_scenes/configs/street_scenes_baseline.py',
    'DSRL': ROOT / 'projects/street_scenes/configs/street_scenes.py',
}


def main(argv: list[str] | None = None) -> None:
    """Train and test DSRL and its baseline on generated street scenes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('--out', default='demo_out', type=Path, help='folder for data, logs, table and picture')
    parser.add_argument('--iters', type=int, default=400, help='training iterations of each model')
    args = parser.parse_args(argv)
    quiet()
    start = time.monotonic()
    data = (args.out / 'data').resolve()
    write_scenes(data)
    os.environ['STREET_SCENES_ROOT'] = str(data)
    work_dirs = {name: args.out / config.stem for name, config in CONFIGS.items()}
    _train_all(work_dirs, args.iters)
    checkpoints = {name: folder / f'iter_{args.iters}.pth' for name, folder in work_dirs.items()}
    table = compare_models({name: Trained(CONFIGS[name], checkpoints[name]) for name in CONFIGS}, args.out)
    print(f'\n{_summary(table)}\nPicture: {args.out / "comparison.png"}')
    print(f'{time.monotonic() - start:.0f} s in all; one seed, so small differences say nothing.')


def _summary(table: dict[str, dict[str, float]]) -> str:
    thin = [f'IoU.{name}' for name in THIN_CLASSES]
    for values in table.values():
        values['thin classes'] = sum(values[name] for name in thin) / len(thin)
    rows = ['mIoU', 'thin classes', *thin, 'parameters (M)', 'GFLOPs', 'latency (ms)']
    return to_markdown(table, rows + [f'sr/{name}' for name in ('PSNR', 'PSNR_enlarged', 'SSIM', 'SSIM_enlarged')])


def _train_all(work_dirs: dict[str, Path], iters: int) -> None:
    """Train every model at once, each in a process of one thread: on few cores, faster than one after the other."""
    # The formatter behind this writes a cache when it is first imported ever; there the two processes would collide.
    Config().pretty_text  # noqa: B018

    processes = {name: _start_training(CONFIGS[name], folder, iters) for name, folder in work_dirs.items()}
    columns = ['{task.description}', BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    try:
        with Progress(*columns) as progress:
            tasks = {name: progress.add_task(f'Training {name}', total=iters) for name in processes}
            while any(process.poll() is None for process in processes.values()):
                for name, task in tasks.items():
                    progress.update(task, completed=_iterations_done(work_dirs[name] / 'train.log'))
                time.sleep(1)
                _stop_at_failure(processes, work_dirs)
            for task in tasks.values():
                progress.update(task, completed=iters)
        _stop_at_failure(processes, work_dirs)
    finally:
        for process in processes.values():
            process.kill()


def _start_training(config: Path, work_dir: Path, iters: int) -> subprocess.Popen:
    work_dir.mkdir(parents=True, exist_ok=True)
    options = [f'{key}={iters}' for key in ('train_cfg.max_iters', 'train_cfg.val_interval', 'param_scheduler.1.end')]
    options += [f'{key}={min(20, iters // 2)}' for key in ('param_scheduler.0.end', 'param_scheduler.1.begin')]
    options.append(f'default_hooks.checkpoint.interval={iters}')
    command = [sys.executable, ROOT / 'tools/train.py', config, '--work-dir', work_dir, '--cfg-options', *options]
    if _amp_pays():
        command.insert(3, '--amp')
    # The configs import the scenes' data set from this repository.
    paths = [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]
    environment = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=os.pathsep.join(paths))
    with open(work_dir / 'train.log', 'w') as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)


def _amp_pays() -> bool:
    """Whether mixed precision pays here: a CPU without bfloat16 instructions emulates them, slower than float32."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, 'get_capabilities') else {}
    return torch.cuda.is_available() or bool(capabilities.get('avx512_bf16') or capabilities.get('amx_bf16'))


def _iterations_done(log: Path) -> int:
    done = re.findall(r'Iter\(train\) \[ *(\d+)/', log.read_text())
    return int(done[-1]) if done else 0


def _stop_at_failure(processes: dict[str, subprocess.Popen], work_dirs: dict[str, Path]) -> None:
    for name, process in processes.items():
        if process.poll():
            log = work_dirs[name] / 'train.log'
            raise RuntimeError(f'Training {name} failed. The end of {log}:\n{"".join(log.open().readlines()[-15:])}')
