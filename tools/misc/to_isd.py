"""Write ISDNet's form of any MMSegmentation config: python tools/misc/to_isd.py CONFIG -o OUT."""

from dsrl_mm.engine.arguments import run
from dsrl_mm.uhr.convert import main

if __name__ == '__main__':
    run(main)
