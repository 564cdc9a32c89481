#!/usr/bin/env bash
# Test with one process per GPU (or CPU process): tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [options of test.py]
# exec: a signal to this script reaches the launcher, which hands it to every process.
set -euo pipefail
USAGE='Usage: tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [options of test.py]'
CONFIG=${1:?$USAGE}
CHECKPOINT=${2:?$USAGE}
PROCESSES=${3:?$USAGE}
exec torchrun --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" --nproc_per_node="$PROCESSES" \
    "$(dirname "$0")/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
