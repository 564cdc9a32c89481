"""Measure time and memory of the affinity loss and of a naive one with N x N matrices."""

import argparse
import csv
import ctypes
import multiprocessing
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from rich.progress import track
from tabulate import tabulate
from torch import Tensor

from dsrl_mm.core import affinity_loss
from dsrl_mm.core.affinity import matrix_product

__all__ = ['main', 'naive_affinity_loss']

#: N x N matrices alive at once in the naive loss's backward pass, seen in its measured peak.
NAIVE_MATRICES = 4


def naive_affinity_loss(seg_feat: Tensor, sr_feat: Tensor, q: int = 1) -> Tensor:
    """Compute Eq. 3 and 4 of the paper literally, for p = 2. Arguments as in :func:`~dsrl_mm.core.affinity_loss`."""
    affinity = []
    for feat in (seg_feat, sr_feat):
        unit = F.normalize(feat.flatten(2), dim=1, eps=1e-6)
        affinity.append(unit.transpose(1, 2) @ unit)
    difference = affinity[0] - affinity[1]
    return (difference.abs() if q == 1 else difference.square()).mean()


LOSSES: dict[str, Callable] = {'ours': affinity_loss, 'naive': naive_affinity_loss}


def _features(n: int, channels: int, device: str) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, channels, n, 1, generator=generator).to(device).requires_grad_() for _ in ('seg', 'sr')]


def _step(loss: Callable, feats: Sequence[Tensor], q: int) -> None:
    for feat in feats:
        feat.grad = None
    loss(*feats, q=q).backward()


def _seconds(function: Callable, device: str) -> float:
    start = time.perf_counter()
    function()
    if device == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _alternate(functions: dict[str, Callable], repeats: int, device: str) -> dict[str, float]:
    """Measure the median seconds of functions, interleaved so that other load affects all alike."""
    times = {name: [] for name in functions}
    for turn in range(repeats + 1):
        for name, function in functions.items():
            seconds = _seconds(function, device)
            if turn > 0:  # the first turn warms up
                times[name].append(seconds)
    return {name: median(values) for name, values in times.items()}


def _resident_peak(name: str, n: int, channels: int, q: int) -> int:
    """Measure the peak increase of this process's resident memory in one step, in bytes. Linux only."""
    torch.set_num_threads(1)
    feats = _features(n, channels, 'cpu')
    _step(LOSSES[name], feats, q)  # loads libraries and compiles kernels
    for feat in feats:
        feat.grad = None
    ctypes.CDLL(None).malloc_trim(0)  # so that freed memory is not reused unnoticed
    Path('/proc/self/clear_refs').write_text('5')  # resets the peak
    before = _status('VmRSS')
    _step(LOSSES[name], feats, q)
    return _status('VmHWM') - before


def _status(key: str, file: str = '/proc/self/status') -> int:
    """Read a value of the kernel, in bytes."""
    with open(file) as f:
        return next(1024 * int(line.split()[1]) for line in f if line.startswith(key))


def _extra_memory(name: str, n: int, channels: int, q: int, device: str) -> int:
    """Measure the peak memory of forward and backward beyond the features, in bytes; on CPUs in a new process."""
    if device == 'cuda':
        feats = _features(n, channels, device)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        _step(LOSSES[name], feats, q)
        return torch.cuda.max_memory_allocated() - before
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        return pool.apply(_resident_peak, (name, n, channels, q))


def _free_memory(device: str) -> int:
    return torch.cuda.mem_get_info()[0] if device == 'cuda' else _status('MemAvailable', '/proc/meminfo')


def _measure(n: int, channels: int, q: int, repeats: int, device: str) -> dict[str, float | str]:
    """Measure one row of the table. Operations of q = 1: three products of width 2 C per pair of a triangle."""
    needed = NAIVE_MATRICES * 4 * n**2
    fits = needed < 0.8 * _free_memory(device)
    names = ['ours', 'naive'] if fits else ['ours']
    feats = _features(n, channels, device)
    square = torch.rand(2048, 2048, device=device)
    functions = {name: lambda name=name: _step(LOSSES[name], feats, q) for name in names}
    seconds = _alternate({**functions, 'peak': lambda: matrix_product(square, square)}, repeats, device)
    flops = 3 * n * n * 2 * channels if q == 1 else 2 * n * (2 * channels) ** 2 * 2
    row = {
        'q': q,
        'N': n,
        'C': channels,
        'ours s': seconds['ours'],
        'naive s': seconds.get('naive', f'needs {needed / 2**30:.0f} GiB'),
        'times faster': seconds['naive'] / seconds['ours'] if fits else '',
        'share of peak': (flops / seconds['ours']) / (2 * len(square) ** 3 / seconds['peak']),
    }
    memory = {name: _extra_memory(name, n, channels, q, device) / 2**20 for name in names}
    row['ours MiB'] = memory['ours']
    row['naive MiB'] = memory.get('naive', '')
    row['memory share'] = memory['ours'] / memory['naive'] if fits else ''
    return row


def _plot(rows: list[dict]) -> Figure:
    figure = Figure(figsize=(9, 4), layout='constrained')
    positions = sorted({row['N'] for row in rows})
    labels = ('forward and backward (s)', 'memory beyond the features (MiB)')
    for axis, unit, label in zip(figure.subplots(1, 2), ('s', 'MiB'), labels):
        for i, channels in enumerate(sorted({row['C'] for row in rows})):
            for name, style in (('ours', '-o'), ('naive', '--x')):
                points = [
                    (row['N'], row[f'{name} {unit}'])
                    for row in rows
                    if row['C'] == channels and row['q'] == 1 and isinstance(row[f'{name} {unit}'], float)
                ]
                if points:
                    axis.plot(*zip(*points), style, color=f'C{i}', label=f'{name}, C = {channels}')
        axis.set(xscale='log', yscale='log', xlabel='positions N', ylabel=label)
        axis.set_xticks(positions, labels=positions)
        axis.minorticks_off()
    axis.legend(fontsize=8)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Compare the affinity loss with the naive one: forward and backward time, peak extra memory."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('--positions', type=int, nargs='+', default=[2048, 8192, 16384, 32768])
    parser.add_argument('--channels', type=int, nargs='+', default=[16, 32, 64])
    parser.add_argument('--q', type=int, nargs='+', default=[1], choices=[1, 2])
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--threads', type=int, default=1, help='CPU threads')
    parser.add_argument('--device', default='cpu', choices=['cpu', 'cuda'])
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmark_affinity'))
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    cases = [(q, n, c) for q in args.q for n in args.positions for c in args.channels]
    rows = [_measure(n, c, q, args.repeats, args.device) for q, n, c in track(cases, 'Measuring')]
    table = tabulate(rows, 'keys', 'pipe', floatfmt='.3g')
    print(table)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / 'benchmark.md').write_text(table + '\n')
    with open(args.out / 'benchmark.csv', 'w', newline='') as f:
        writer = csv.DictWriter(f, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    if 1 in args.q:
        _plot(rows).savefig(args.out / 'benchmark.png', dpi=120)
    print(f'Written to {args.out}')


if __name__ == '__main__':
    main()
