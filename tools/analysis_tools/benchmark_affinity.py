"""Time and memory of the affinity loss beside the naive one: python tools/analysis_tools/benchmark_affinity.py."""

from dsrl_mm.analysis.affinity_benchmark import main

if __name__ == '__main__':
    main()
