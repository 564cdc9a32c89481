"""Write a model without its training-only parts: python tools/deploy.py CONFIG CHECKPOINT OUT_DIR [--export H W]."""

from dsrl_mm.cli import deploy

if __name__ == '__main__':
    deploy()
