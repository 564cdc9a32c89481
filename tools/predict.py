"""Predict images, videos or a camera: python tools/predict.py MODEL SOURCE [--out-dir DIR] [--save mask overlay]."""

import sys

from dsrl_mm.apis.predict import main
from dsrl_mm.engine.arguments import run

if __name__ == '__main__':
    sys.exit(run(main))
