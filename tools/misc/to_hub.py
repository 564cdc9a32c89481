"""Write a model as a folder that a model hub takes: python tools/misc/to_hub.py MODEL OUT_DIR [--license ID]."""

from dsrl_mm.apis.hub import main
from dsrl_mm.engine.arguments import run

if __name__ == '__main__':
    run(main)
