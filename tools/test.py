"""Test a model: python tools/test.py CONFIG CHECKPOINT [--tta] [--sr-metrics] [--show-dir DIR] [--out DIR]."""

from dsrl_mm.cli import test
from dsrl_mm.engine.arguments import run

if __name__ == '__main__':
    run(test)
