"""Count parameters and operations: python tools/analysis_tools/get_flops.py CONFIG [CONFIG ...] [--shape H W]."""

from dsrl_mm.analysis.flops import main

if __name__ == '__main__':
    main()
