"""The benchmark of the affinity loss: what it compares is equal, and what it cannot run it says."""

import csv

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


@pytest.mark.skipif(not benchmark.Path('/proc/self/clear_refs').exists(), reason='memory is measured on Linux only')
def test_table_and_files(tmp_path, monkeypatch, capsys):
    # Room for the naive loss at 512 positions (4 MiB), not at 1024 (16 MiB).
    monkeypatch.setattr(benchmark, '_free_memory', lambda device: 10 * 2**20)
    benchmark.main(
        ['--positions', '512', '1024', '--channels', '4', '--q', '1', '2', '--repeats', '1', '--out', str(tmp_path)]
    )
    rows = list(csv.DictReader((tmp_path / 'benchmark.csv').open()))
    assert [(row['q'], row['N']) for row in rows] == [('1', '512'), ('1', '1024'), ('2', '512'), ('2', '1024')]
    assert float(rows[0]['naive s']) > 0
    assert float(rows[0]['naive MiB']) > float(rows[0]['ours MiB'])
    assert rows[1]['naive s'].startswith('needs ')
    assert 'needs ' in capsys.readouterr().out
    assert (tmp_path / 'benchmark.png').exists()
