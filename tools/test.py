"""Test a model: python tools/test.py CONFIG CHECKPOINT [--tta] [--sr-metrics] [--show-dir DIR] [--out DIR]."""

from dsrl_mm.cli import test

if __name__ == '__main__':
    test()
