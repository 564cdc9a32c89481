#!/usr/bin/env bash
# Train with one process per GPU (or CPU process): tools/dist_train.sh CONFIG PROCESSES [options of train.py]
# exec: a signal to this script reaches the launcher, which hands it to every process.
set -euo pipefail
USAGE='Usage: tools/dist_train.sh CONFIG PROCESSES [options of train.py]'
CONFIG=${1:?$USAGE}
PROCESSES=${2:?$USAGE}
exec torchrun --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" --nproc_per_node="$PROCESSES" \
    "$(dirname "$0")/train.py" "$CONFIG" --launcher pytorch "${@:3}"
