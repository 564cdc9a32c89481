"""Benchmark the affinity loss against the naive one: python tools/analysis_tools/benchmark_affinity.py [options]."""

import argparse
import ctypes
import json
import multiprocessing
from collections.abc import Callable, Sequence
from functools import partial
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
from dsrl_mm.engine.arguments import positive, run
from dsrl_mm.engine.timing import time_in_turn

__all__ = ['main', 'naive_affinity_loss']

#: N x N matrices alive at once in the naive loss's backward pass, seen in its measured peak.
NAIVE_MATRICES = 4


def naive_affinity_loss(seg_feat: Tensor, sr_feat: Tensor, q: int = 1) -> Tensor:
    """Eq. 3 and 4 of the paper as they are written, for p = 2. Arguments as :func:`~dsrl_mm.core.affinity_loss`."""
    affinity = []
    for feat in (seg_feat, sr_feat):
        unit = F.normalize(feat.flatten(2), dim=1, eps=1e-6)
        affinity.append(unit.transpose(1, 2) @ unit)
    difference = affinity[0] - affinity[1]
    return (difference.abs() if q == 1 else difference.square()).mean()


def _ours(seg_feat: Tensor, sr_feat: Tensor, q: int) -> Tensor:
    """Compute the affinity loss in float32 at least, as FALoss does."""
    dtype = torch.promote_types(seg_feat.dtype, torch.float32)
    return affinity_loss(seg_feat.to(dtype), sr_feat.to(dtype), q=q)


LOSSES: dict[str, Callable] = {'ours': _ours, 'naive': naive_affinity_loss}


def _features(n: int, channels: int, device: str, dtype: str = 'float32') -> list[Tensor]:
    generator, where = torch.Generator().manual_seed(0), (device, getattr(torch, dtype))
    return [torch.randn(1, channels, n, 1, generator=generator).to(*where).requires_grad_() for _ in ('seg', 'sr')]


def _step(name: str, feats: Sequence[Tensor], q: int) -> None:
    for feat in feats:
        feat.grad = None
    LOSSES[name](*feats, q=q).backward()


def _kernel_figure(key: str, file: str = '/proc/self/status') -> int:
    """Read a figure of the Linux kernel, in bytes."""
    with open(file) as f:
        return next(1024 * int(line.split()[1]) for line in f if line.startswith(key))


def _resident_peak(name: str, n: int, channels: int, q: int, dtype: str) -> int:
    """Bytes that one step adds to this process's resident memory at its peak. Linux only."""
    torch.set_num_threads(1)
    feats = _features(n, channels, 'cpu', dtype)
    _step(name, feats, q)  # loads the libraries, which compile their kernels
    for feat in feats:
        feat.grad = None
    ctypes.CDLL(None).malloc_trim(0)  # so that the step cannot reuse freed memory unseen
    Path('/proc/self/clear_refs').write_text('5')  # resets the peak
    before = _kernel_figure('VmRSS')
    _step(name, feats, q)
    return _kernel_figure('VmHWM') - before


def _extra_memory(name: str, n: int, channels: int, q: int, device: str, dtype: str) -> int:
    """Measure the peak bytes of forward and backward beyond the features: on CPUs, in a process of its own."""
    if device == 'cuda':
        feats = _features(n, channels, device, dtype)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        _step(name, feats, q)
        return torch.cuda.max_memory_allocated() - before
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        return pool.apply(_resident_peak, (name, n, channels, q, dtype))


def _free_memory(device: str) -> int:
    return torch.cuda.mem_get_info()[0] if device == 'cuda' else _kernel_figure('MemAvailable', '/proc/meminfo')


def _measure(n: int, channels: int, q: int, repeats: int, device: str, dtype: str) -> dict[str, float | str]:
    """One row of the table. Operations of q = 1: three products per pair of a triangle of width 2 C."""
    needed = NAIVE_MATRICES * getattr(torch, dtype).itemsize * n**2
    names = ['ours', 'naive'] if needed < 0.8 * _free_memory(device) else ['ours']
    feats, square = _features(n, channels, device, dtype), torch.rand(2048, 2048, device=device)
    functions = {name: partial(_step, name, feats, q) for name in names}
    functions['peak'] = partial(matrix_product, square, square)
    seconds = {name: median(values) for name, values in time_in_turn(functions, repeats).items()}
    memory = {name: _extra_memory(name, n, channels, q, device, dtype) / 2**20 for name in names}
    flops = 3 * n * n * 2 * channels if q == 1 else 2 * n * (2 * channels) ** 2 * 2
    row = {'q': q, 'N': n, 'C': channels, 'ours s': seconds['ours'], 'ours MiB': memory['ours']}
    row['share of peak'] = (flops / seconds['ours']) / (2 * len(square) ** 3 / seconds['peak'])
    if 'naive' not in names:
        return row | {'naive s': f'needs {needed / 2**30:.2g} GiB'}
    return row | {
        'naive s': seconds['naive'],
        'naive MiB': memory['naive'],
        'times faster': seconds['naive'] / seconds['ours'],
        'memory share': memory['ours'] / memory['naive'],
    }


def _plot(rows: list[dict]) -> Figure:
    figure = Figure(figsize=(9, 4), layout='constrained')
    labels = ('forward and backward (s)', 'memory beyond the features (MiB)')
    for axis, unit, label in zip(figure.subplots(1, 2), ('s', 'MiB'), labels):
        for i, channels in enumerate(sorted({row['C'] for row in rows})):
            for name, style in (('ours', '-o'), ('naive', '--x')):
                points = [
                    (row['N'], row.get(f'{name} {unit}')) for row in rows if (row['C'], row['q']) == (channels, 1)
                ]
                points = [point for point in points if isinstance(point[1], float)]
                if points:
                    axis.plot(*zip(*points), style, color=f'C{i}', label=f'{name}, C = {channels}')
        axis.set(xscale='log', yscale='log', xlabel='positions N', ylabel=label)
    axis.legend(fontsize=8)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Compare the affinity loss with the naive one: forward and backward time, peak extra memory."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('--positions', type=positive, nargs='+', default=[2048, 8192, 16384, 32768])
    parser.add_argument('--channels', type=positive, nargs='+', default=[16, 32, 64])
    parser.add_argument('--q', type=positive, nargs='+', default=[1], choices=[1, 2])
    parser.add_argument('--repeats', type=positive, default=5)
    parser.add_argument('--threads', type=positive, default=1, help='CPU threads')
    parser.add_argument('--device', default='cpu', choices=['cpu', 'cuda'])
    parser.add_argument(
        '--dtype',
        default='float32',
        choices=['float32', 'bfloat16'],
        help='of the features; the naive loss is computed in it, ours in float32',
    )
    parser.add_argument('--picture', type=Path, help='a PNG file to draw the measurements of q = 1 to')
    parser.add_argument('--json', type=Path, help='a file to write the rows to')
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    cases = [(q, n, c) for q in args.q for n in args.positions for c in args.channels]
    rows = [_measure(n, c, q, args.repeats, args.device, args.dtype) for q, n, c in track(cases, 'Measuring')]
    print(tabulate(rows, 'keys', 'pipe', floatfmt='.3g'))
    if args.json:
        args.json.write_text(json.dumps(rows))
    if args.picture:
        _plot(rows).savefig(args.picture, dpi=120)


if __name__ == '__main__':
    run(main)
