"""Two processes that find each other as a launcher's do."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import torch
from toy_data import start_process


def free_port() -> str:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return str(free.getsockname()[1])


def _work(rank: int, port: str, function: Callable, *args) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    function(*args)


def run_two(function: Callable, *args) -> list[int]:
    """Run a function of a module in two processes, and give their exit codes."""
    port = free_port()
    processes = [start_process(_work, rank, port, function, *args) for rank in range(2)]
    for process in processes:
        process.join(600)
    return [process.exitcode for process in processes]


def assert_trained_alike(one: Path, two: Path) -> None:
    """Compare the checkpoints of two work dirs after the four iterations of ``write_config``."""
    folders = (one, 2), (one, 4), (two, 4)
    start, a, b = (torch.load(folder / f'iter_{n}.pth', weights_only=False)['state_dict'] for folder, n in folders)
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=1e-5, atol=1e-6, msg=lambda text, n=name: f'{n}: {text}')
    # The tolerance is small against what two iterations change.
    assert max((a[name] - start[name]).abs().max() for name in a) > 1e-3
