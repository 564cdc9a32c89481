"""Train, test and tabulate a grid of runs: python tools/run_experiments.py configs/experiments/GRID.yml [--jobs 2]."""

from dsrl_mm.analysis.experiments.main import main

if __name__ == '__main__':
    main()
