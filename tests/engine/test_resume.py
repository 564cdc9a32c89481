"""The order of samples, and their augmentations, after a resume."""

import numpy as np
import pytest
from mmengine.dataset import DefaultSampler
from mmengine.runner.loops import _InfiniteDataloaderIterator
from torch.utils.data import DataLoader

from dsrl_mm.engine import ResumableSampler


class Augmented:
    """Five samples, each with a random number."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return index, np.random.random()


def iterator(sampler: str) -> _InfiniteDataloaderIterator:
    dataset = Augmented()
    sampler = ResumableSampler(dataset, dict(type=sampler, shuffle=True), seed=0)
    return _InfiniteDataloaderIterator(DataLoader(dataset, 2, sampler=sampler, collate_fn=list))


def test_augmentations_differ_between_processes_whose_workers_do_not_know_their_rank(monkeypatch):
    monkeypatch.setattr('dsrl_mm.engine.resume.get_rank', lambda: 1)
    second = iterator('InfiniteSampler')
    monkeypatch.undo()  # as in a worker that is not forked
    assert next(second) != next(iterator('InfiniteSampler'))


def test_order_is_the_wrapped_samplers_and_only_one_pass_begins_late():
    dataset = Augmented()
    stock = DefaultSampler(dataset, shuffle=True, seed=0)
    sampler = ResumableSampler(dataset, dict(type='DefaultSampler', shuffle=True), seed=0)
    orders = []
    for epoch in (0, 1):
        for each in (stock, sampler):
            each.set_epoch(epoch)
        orders.append(list(stock))
        sampler.begin_at(3)
        for start in (3, 0):
            assert list(sampler) == [(epoch, i, orders[-1][i]) for i in range(start, 5)]
    assert orders[0] != orders[1]


@pytest.mark.parametrize('sampler', ['InfiniteSampler', 'DefaultSampler'])
@pytest.mark.parametrize('iterations', [1, 3, 7])
def test_iterations_are_resumed_where_they_ended(monkeypatch, sampler, iterations):
    """In the second or third pass, too; the third batch of a pass of a DefaultSampler has one sample."""
    monkeypatch.setattr('time.sleep', lambda _: None)
    whole, resumed = iterator(sampler), iterator(sampler)
    batches = [next(whole) for _ in range(10)]
    if hasattr(resumed, 'skip_iter'):
        resumed.skip_iter(iterations)
    else:  # as the original MMEngine does
        for _ in range(iterations):
            next(resumed)
    assert [next(resumed) for _ in range(10 - iterations)] == batches[iterations:]
    assert len({value for batch in batches for _, value in batch}) == sum(map(len, batches))
