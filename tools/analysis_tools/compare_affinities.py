"""What FA's guide knows of the classes: python tools/analysis_tools/compare_affinities.py CONFIG CHECKPOINT."""

from dsrl_mm.analysis.affinities import main

if __name__ == '__main__':
    main()
