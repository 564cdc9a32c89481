"""Write a model for inference: python tools/deploy.py CONFIG CHECKPOINT OUT_DIR [--format pt2 onnx openvino]."""

from dsrl_mm.cli import deploy
from dsrl_mm.engine.arguments import run

if __name__ == '__main__':
    run(deploy)
