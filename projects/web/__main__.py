from dsrl_mm.engine.arguments import run

from .build import main

run(main)
