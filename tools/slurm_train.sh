#!/usr/bin/env bash
# Train on a SLURM cluster: GPUS=8 tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options of train.py]
# GRES= for nodes without GPUs; GPUS is then the number of CPU processes.
# exec: a signal to this script reaches the launcher, which hands it to every process.
set -euo pipefail
USAGE='Usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options of train.py]'
PARTITION=${1:?$USAGE}
JOB_NAME=${2:?$USAGE}
CONFIG=${3:?$USAGE}
GPUS=${GPUS:-4}
GPUS_PER_NODE=${GPUS_PER_NODE:-4}
GRES=${GRES-gpu:$GPUS_PER_NODE}
# shellcheck disable=SC2086 # SRUN_ARGS holds several options
exec srun --partition="$PARTITION" --job-name="$JOB_NAME" ${GRES:+"--gres=$GRES"} --ntasks="$GPUS" \
    --ntasks-per-node="$GPUS_PER_NODE" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    python -u "$(dirname "$0")/train.py" "$CONFIG" --launcher slurm "${@:4}"
