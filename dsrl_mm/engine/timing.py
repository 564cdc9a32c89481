"""Time measurements on a shared machine."""

import time
from collections.abc import Callable

import torch


def time_in_turn(
    functions: dict[str, Callable[[], object]],
    repeats: int,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time functions, interleaved so that other load affects all alike; returns the seconds of each call, by name.

    Args:
        functions (dict[str, Callable]): by name. CUDA is synchronized after each call.
        repeats (int): timed calls of each.
        warmup (int): untimed calls of each before. Defaults to 1.
        clock (Callable): gives seconds. Defaults to :func:`time.perf_counter`; :func:`time.process_time` leaves out the
            time that other processes take, for CPUs.
    """
    seconds = {name: [] for name in functions}
    for turn in range(-warmup, repeats):
        for name, function in functions.items():
            start = clock()
            function()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn >= 0:
                seconds[name].append(clock() - start)
    return seconds
