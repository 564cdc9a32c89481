"""Train a model: python tools/train.py CONFIG [--amp] [--resume] [--work-dir DIR] [--cfg-options KEY=VALUE ...]."""

from dsrl_mm.cli import train
from dsrl_mm.engine.arguments import run

if __name__ == '__main__':
    run(train)
