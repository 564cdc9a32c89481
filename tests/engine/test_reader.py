"""A checkpoint is data: whatever it holds, reading it runs nothing."""

import argparse
import os

import pytest
import torch
from mmengine.runner import load_checkpoint

from dsrl_mm.engine import trust_checkpoints
from dsrl_mm.engine.reader import TrustCheckpoint


class Hostile:
    """Runs a command when a file that holds it is read as Python objects."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def hostile(tmp_path):
    torch.save(dict(state_dict={'weight': torch.ones(1, 1)}, more=Hostile(tmp_path / 'trace')), tmp_path / 'a.pth')
    return tmp_path / 'a.pth'


def test_a_hostile_checkpoint_is_refused_and_runs_nothing(hostile, tmp_path):
    with pytest.raises(ValueError, match=r'a\.pth holds a Python object .*mkdir.*--trust-checkpoint'):
        load_checkpoint(torch.nn.Linear(1, 1), str(hostile))
    assert not (tmp_path / 'trace').exists()


def option() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('--trust-checkpoint', action=TrustCheckpoint)
    parser.parse_args(['--trust-checkpoint'])


@pytest.mark.parametrize('trust', [trust_checkpoints, option])
def test_a_trusted_one_is_read(hostile, tmp_path, monkeypatch, trust):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '0')  # and take it back afterwards
    trust()
    load_checkpoint(torch.nn.Linear(1, 1), str(hostile))
    assert (tmp_path / 'trace').exists()


def test_a_config_in_it_is_left_out(tmp_path):
    """MMEngine would run it as Python when it resumes."""
    torch.save(dict(state_dict={'weight': torch.ones(1, 1)}, meta=dict(config='x = 1', iter=3)), tmp_path / 'a.pth')
    assert load_checkpoint(torch.nn.Linear(1, 1), str(tmp_path / 'a.pth'))['meta'] == dict(iter=3)


def _whole(tmp_path):
    torch.save(dict(state_dict={'weight': torch.ones(1, 1)}), tmp_path / 'whole.pth')
    return (tmp_path / 'whole.pth').read_bytes()


@pytest.mark.parametrize('content', [b'', b'text', b'{}', 'cut', 'list', 'tensor', 'numbers'])
def test_other_files_are_named(tmp_path, content):
    file = tmp_path / 'a.pth'
    things = dict(list=[1], tensor=torch.ones(2), numbers=dict(a=1))
    if content in things:
        torch.save(things[content], file)
    else:
        file.write_bytes(_whole(tmp_path)[:-1] if content == 'cut' else content)
    with pytest.raises(ValueError, match=r'a\.pth (cannot be read as|holds no tensors by name).*checkpoint'):
        load_checkpoint(torch.nn.Linear(1, 1), str(file))


def test_a_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match='is a folder'):
        load_checkpoint(torch.nn.Linear(1, 1), str(tmp_path))


def test_weights_that_fill_nothing_are_refused(tmp_path):
    torch.save({'other.weight': torch.ones(1, 1)}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r"fills nothing of the Linear: .* 'other.weight', .* 'weight'"):
        load_checkpoint(torch.nn.Linear(1, 1), str(tmp_path / 'a.pth'))
