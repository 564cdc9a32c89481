"""What gpu_check.sh measures, by the other tools: python tools/analysis_tools/gpu_check.py OUT.json [--seconds N]."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.fileio import dump, load

from dsrl_mm.engine.arguments import run

__all__ = ['main']

ROOT = Path(__file__).resolve().parents[2]
#: Positions N of the affinity loss: the paper's 1/8 of 1024x2048.
POSITIONS = 32768
#: Baseline and DSRL configs, and the canvas for inference.
NETWORKS = {
    'PSPNet-R101': ('pspnet_r101_cityscapes_baseline', 'pspnet_r101_cityscapes', (1024, 2048)),
    'HRNet-w32': ('hrnet_w32_coco_256x192_baseline', 'hrnet_w32_coco_256x192', (512, 384)),
}
CONFIGS = ROOT / 'configs/dsrl'
GRIDS = sorted((ROOT / 'projects/experiments/grids').glob('camvid_90x120_*.yml'))
#: Seeds to train, as far as the time goes.
SEEDS = range(10)


def _benchmarks() -> Iterator[tuple[str, list]]:
    """Name each benchmark, with its command."""
    for dtype in ('float32', 'bfloat16'):
        options = ['--positions', POSITIONS, '--channels', 32, 64, '--dtype', dtype, '--device', get_device()]
        yield f'affinity loss, {dtype}', ['benchmark_affinity.py', *options]
    for name, (baseline, dsrl, shape) in NETWORKS.items():
        configs = [CONFIGS / f'{config}.py' for config in (baseline, dsrl)]
        yield f'{name}, training step', ['benchmark_step.py', *configs, '--amp', '--channels-last']
        yield f'{name}, inference', ['benchmark_inference.py', *configs, '--shape', *shape, '--amp']


def _call(command: Sequence, seconds: float) -> str:
    """Call a Python script or module, and return its error; '' if there is none.

    When the time is over, it is asked to stop: a training then ends its processes.
    """
    process = subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        _, errors = process.communicate(timeout=max(seconds, 0))
    except subprocess.TimeoutExpired:
        process.terminate()
        process.communicate()
        return 'not finished in time'
    return ''.join(errors.splitlines(keepends=True)[-5:]) if process.returncode else ''


def _measure(command: Sequence, folder: Path, seconds: float) -> Any:
    """Return a benchmark's rows, or its error."""
    script, *options = command
    file = folder / 'rows.json'
    file.unlink(missing_ok=True)
    error = _call([Path(__file__).with_name(script), *options, '--json', file], seconds)
    return dict(error=error) if error else json.loads(file.read_text())


def _train_grids(folder: Path, seconds: float) -> dict[str, Any]:
    """Train the grids' rows as one grid in bfloat16, every row of a seed before the next seed."""
    if 'CAMVID_ROOT' not in os.environ:
        return dict(error='left out: CAMVID_ROOT is not set')
    rows = {}
    for grid in map(load, GRIDS):
        for title, row in grid['rows'].items():
            options = {**row.get('options', {}), 'optim_wrapper.type': 'BFloat16OptimWrapper'}
            rows[f'{row["id"]}: {title}'] = row | dict(options=options)
    file = folder / 'gpu_check.yml'
    dump(dict(title='GPU check', seeds=[*SEEDS], rows=rows), file)
    places = ['--out', folder / 'records', '--work-dir', folder / 'work']
    error = _call(['-m', 'projects.experiments', file, '--jobs', len(rows), *places], seconds)
    records = folder / 'records' / 'gpu_check.jsonl'
    runs = [json.loads(line) for line in records.read_text().splitlines()] if records.exists() else []
    return dict(
        runs=[{key: run[key] for key in ('id', 'seed', 'metrics', 'train_seconds')} for run in runs], error=error
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the affinity loss, training steps and inference, and train at 90x120 for the rest of the time."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('out', type=Path, help='a JSON file, written after every part')
    parser.add_argument('--seconds', type=float, default=570, help='when to stop')
    args = parser.parse_args(argv)
    end = time.monotonic() + args.seconds
    on_gpu = torch.cuda.is_available()
    result = dict(device=torch.cuda.get_device_name() if on_gpu else 'cpu', torch=torch.__version__)
    with TemporaryDirectory() as folder:
        for name, command in _benchmarks():
            print(f'{name}:', flush=True)
            result[name] = _measure(command, Path(folder), min(90, end - time.monotonic()))
            args.out.write_text(json.dumps(result, indent=1))
        result['CamVid at 90x120'] = _train_grids(Path(folder), end - time.monotonic())
    args.out.write_text(json.dumps(result, indent=1))


if __name__ == '__main__':
    run(main)
