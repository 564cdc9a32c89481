"""Compare trained models: python tools/analysis_tools/compare.py --model NAME CONFIG CHECKPOINT [--model ...]."""

from dsrl_mm.apis.compare import main

if __name__ == '__main__':
    main()
