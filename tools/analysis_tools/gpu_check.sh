#!/usr/bin/env bash
# Measure on a GPU, in ten minutes at most and without a download: tools/analysis_tools/gpu_check.sh OUT.json
set -euo pipefail
exec timeout --kill-after=10 590 python "$(dirname "$0")/gpu_check.py" "${1:?'Usage: tools/analysis_tools/gpu_check.sh OUT.json'}"
