"""The benchmark of the affinity loss: both losses are equal, and one that does not fit is not run."""

import multiprocessing

import pytest
import torch

from dsrl_mm.core import affinity_loss
from tools.analysis_tools import benchmark_affinity as benchmark


@pytest.mark.parametrize('q', [1, 2])
def test_both_sides_compute_the_same(q):
    seg, sr = benchmark._features(50, 4, 'cpu')
    ours = torch.autograd.grad(affinity_loss(seg, sr, q=q), (seg, sr))
    naive = torch.autograd.grad(benchmark.naive_affinity_loss(seg, sr, q=q), (seg, sr))
    for one, other in zip(ours, naive):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_half_precision_features_are_compared_in_float32():
    feats = benchmark._features(50, 4, 'cpu', 'bfloat16')
    assert feats[0].dtype == torch.bfloat16
    assert torch.equal(benchmark.LOSSES['ours'](*feats, q=1), affinity_loss(*(feat.float() for feat in feats)))
    assert benchmark.LOSSES['naive'](*feats, q=1).dtype == torch.bfloat16


@pytest.mark.skipif(not benchmark.Path('/proc/self/clear_refs').exists(), reason='memory is measured on Linux only')
def test_table_and_picture(tmp_path, monkeypatch, capsys):
    # Room for the naive loss at 512 positions (4 MiB), not at 1024 (16 MiB).
    monkeypatch.setattr(benchmark, '_free_memory', lambda device: 10 * 2**20)
    # New processes would import torch again, one for every figure.
    monkeypatch.setattr(multiprocessing, 'get_context', lambda method, fork=multiprocessing.get_context('fork'): fork)
    options = ['--positions', '512', '1024', '--channels', '4', '--repeats', '1']
    benchmark.main([*options, '--picture', str(tmp_path / 'benchmark.png')])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('|')]
    header, _, *rows = ([cell.strip() for cell in line.split('|')[1:-1]] for line in lines)
    rows = [dict(zip(header, row)) for row in rows]
    assert [(row['q'], row['N']) for row in rows] == [('1', '512'), ('1', '1024')]
    assert float(rows[0]['naive s']) > 0
    assert float(rows[0]['naive MiB']) > float(rows[0]['ours MiB'])
    assert (rows[1]['naive s'], rows[1]['naive MiB']) == ('needs 0.016 GiB', '')
    assert (tmp_path / 'benchmark.png').exists()
