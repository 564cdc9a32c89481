"""Train a model: python tools/train.py CONFIG [--amp] [--resume] [--work-dir DIR] [--cfg-options KEY=VALUE ...]."""

from dsrl_mm.cli import train

if __name__ == '__main__':
    train()
