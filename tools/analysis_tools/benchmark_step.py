"""Time training steps of configs in turn: python tools/analysis_tools/benchmark_step.py CONFIG [CONFIG ...] [--amp]."""

from dsrl_mm.analysis.step_benchmark import main

if __name__ == '__main__':
    main()
