"""What each loss asks of the shared features: python tools/analysis_tools/gradient_shares.py CONFIG [CHECKPOINT]."""

from dsrl_mm.analysis.gradients import main

if __name__ == '__main__':
    main()
