from dsrl_mm.engine.arguments import run

from .run import main

if __name__ == '__main__':
    run(main)
