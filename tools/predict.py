"""Predict images, videos or a camera: python tools/predict.py MODEL SOURCE [--out-dir DIR] [--save mask overlay]."""

import sys

from dsrl_mm.apis.predict import main

if __name__ == '__main__':
    sys.exit(main())
