"""The command: python -m projects.experiments GRID.yml."""

import signal
import sys

from dsrl_mm.engine.arguments import run

from .main import main

for number in (signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(number) != signal.SIG_IGN:  # as nohup sets it
        signal.signal(number, lambda number, _: sys.exit(128 + number))
run(main)
