"""What it costs and what it gives: benchmarks and comparisons behind ``tools/analysis_tools/``."""
