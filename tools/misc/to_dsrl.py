"""Write a DSRL config of any MMSegmentation config: python tools/misc/to_dsrl.py CONFIG -o OUT."""

from dsrl_mm.engine.arguments import run
from dsrl_mm.seg.convert import main

if __name__ == '__main__':
    run(main)
