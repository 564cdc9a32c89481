"""``make demo``: a baseline and DSRL on generated scenes, compared in a table and a picture, in minutes."""

import argparse
import os
import re
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from statistics import mean

import torch
from mmengine.config import Config

from dsrl_mm.apis.compare import Trained, compare_models, quiet, to_markdown
from dsrl_mm.engine.arguments import positive

from .painter import THIN_CLASSES
from .scenes import write_scenes

ROOT = Path(__file__).parents[2]
CONFIGS = {
    'baseline': ROOT / 'projects/street_scenes/configs/dabnet_street_scenes_baseline.py',
    'DSRL': ROOT / 'projects/street_scenes/configs/dabnet_street_scenes.py',
}
SPLITS = dict(train=240, val=60)
REPORT_INTERVAL = 10  # s


def main(argv: list[str] | None = None) -> None:
    """Train a baseline and DSRL on generated street scenes and compare them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('--out', default='demo_out', type=Path, help='folder for data, logs, table and picture')
    parser.add_argument('--iters', type=positive, default=800, help='training iterations of each model')
    parser.add_argument('--seed', type=int, default=0, help='of the trainings')
    args = parser.parse_args(argv)
    quiet()
    start, data = time.monotonic(), args.out.resolve() / 'data'
    print(f'Painting {sum(SPLITS.values())} street scenes', flush=True)
    write_scenes(data, SPLITS)
    os.environ['STREET_SCENES_ROOT'] = str(data)
    train(args.out, args.iters, args.seed)
    entries = {name: Trained(CONFIGS[name], args.out / name / f'iter_{args.iters}.pth') for name in CONFIGS}
    table = summarize(compare_models(entries, args.out, pictures=2))
    (args.out / 'comparison.md').write_text(table)
    print(f'\n{table}\nPicture: {args.out / "comparison.png"}. {time.monotonic() - start:.0f} s in all.')


def summarize(table: dict[str, dict[str, float]]) -> str:
    """Write the table's main rows in Markdown, with the mean IoU of the thin classes."""
    rows = {'input size': 'input size', 'mIoU': 'mIoU', 'thin classes': 'IoU of thin classes, mean'}
    rows |= {f'IoU.{name}': f'IoU of {name}s' for name in THIN_CLASSES}
    rows |= {name: name for name in ('parameters (M)', 'GFLOPs', 'latency (ms)')}
    rows |= {'sr/PSNR': 'PSNR (dB)', 'sr/PSNR_enlarged': 'PSNR of bilinear enlargement (dB)'}
    rows |= {'sr/SSIM': 'SSIM', 'sr/SSIM_enlarged': 'SSIM of bilinear enlargement'}
    for values in table.values():
        values['thin classes'] = mean(values[f'IoU.{name}'] for name in THIN_CLASSES)
    return to_markdown({name: {rows[key]: values.get(key) for key in rows} for name, values in table.items()})


def train(out: Path, iters: int, seed: int) -> None:
    """Train all models at once, each in a process of one thread, and report the progress."""
    Config().pretty_text  # noqa: B018  Its formatter writes a cache on first use. Two processes would collide there.
    processes = {name: _start(name, out / name, iters, seed) for name in CONFIGS}
    try:
        for seconds in count(1):
            time.sleep(1)
            codes = {name: process.poll() for name, process in processes.items()}
            done = all(code == 0 for code in codes.values())
            if done or seconds % REPORT_INTERVAL == 0:
                print(_progress(out), flush=True)
            if done:
                return
            for name, code in codes.items():
                if code:
                    end = ''.join((out / name / 'train.log').open().readlines()[-15:])
                    raise RuntimeError(f'Training {name} failed. The end of {out / name}/train.log:\n{end}')
    finally:
        for process in processes.values():
            process.kill()


def _start(name: str, work_dir: Path, iters: int, seed: int) -> subprocess.Popen:
    work_dir.mkdir(parents=True, exist_ok=True)
    keys = ('train_cfg.max_iters', 'param_scheduler.0.end', 'default_hooks.checkpoint.interval')
    options = [f'randomness.seed={seed}', *(f'{key}={iters}' for key in keys)]
    command = [sys.executable, ROOT / 'tools/train.py', CONFIGS[name], '--work-dir', work_dir, *_amp()]
    with open(work_dir / 'train.log', 'w') as log:
        return subprocess.Popen(
            [*command, '--cfg-options', *options],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(os.environ, OMP_NUM_THREADS='1'),
        )


def _amp() -> list[str]:
    """Mixed precision where it is faster: CPUs without bfloat16 instructions emulate them."""
    cpu = getattr(torch.cpu, 'get_capabilities', dict)()
    fast = torch.cuda.is_available() or cpu.get('avx512_bf16') or cpu.get('amx_bf16')
    return ['--amp'] if fast else []


def _progress(out: Path) -> str:
    """Summarize the iterations done and the time left, from the logs."""
    reports = []
    for name in CONFIGS:
        found = re.findall(r'\[ *(\d+/\d+)\].* eta: ([\d:]+)', (out / name / 'train.log').read_text())
        reports.append('{} {}, {} left'.format(name, *found[-1]) if found else f'{name} starting')
    return f'Training: {"; ".join(reports)}'
