"""Functions that take turns."""

from dsrl_mm.engine.timing import time_in_turn


def test_functions_take_turns():
    order = []
    functions = {name: lambda name=name: order.append(name) for name in 'ab'}
    seconds = time_in_turn(functions, 3, warmup=2)
    assert ''.join(order) == 'ab' * 5
    assert {name: len(values) for name, values in seconds.items()} == dict(a=3, b=3)


def test_each_is_timed_alone():
    clock = [0.0]

    def run(seconds):
        clock[0] += seconds

    functions = dict(slow=lambda: run(2), fast=lambda: run(0.5))
    assert time_in_turn(functions, 2, clock=lambda: clock[0]) == dict(slow=[2, 2], fast=[0.5, 0.5])
