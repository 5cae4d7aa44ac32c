#!/usr/bin/env bash
# A job on the nodes of a Slurm allocation, from a checkout that all nodes mount, after `make setup`:
#
#     sbatch --nodes 4 cluster/slurm.sh train --recipe squad --train.num-workers 4 \
#         --storage /shared/runs --data.source /shared/squad/data --run-name first --resume auto
#
# One Ray node per Slurm node, with the CPUs and GPUs that Slurm gave it. Slurm requeues a job whose
# node fails; --resume auto then goes on from the last checkpoint. What it does: cluster/symmetric.sh.
#SBATCH --job-name=qa-suite
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
set -euo pipefail
[ $# -gt 0 ] || { echo "Name a job: sbatch cluster/slurm.sh train ..." >&2; exit 2; }
cd "${SLURM_SUBMIT_DIR:?is not set: send this with sbatch}"

# Jobs that share a node need ports and tokens of their own.
hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${hosts%%$'\n'*}
# Below those that Linux gives to connections; the next twenty where this job's are in use.
for ((slot = SLURM_JOB_ID % 600; ; slot = (slot + 1) % 600)); do
    export PORT=$((20000 + slot * 20))
    timeout 2 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$head" "$PORT" 2>/dev/null || break
done
export NUM_CPUS=${SLURM_CPUS_PER_TASK:-} NUM_GPUS=${SLURM_GPUS_ON_NODE:-0}
unset RAY_AUTH_TOKEN  # which would go before the file
export RAY_AUTH_TOKEN_PATH=$HOME/.ray/slurm-$SLURM_JOB_ID
rm -f "$RAY_AUTH_TOKEN_PATH"  # of this job before it was requeued
"${PYTHON:-.venv/bin/python}" -m cluster.tokens "$RAY_AUTH_TOKEN_PATH"
export PID_FILE=$RAY_AUTH_TOKEN_PATH.pid
trap 'rm -f "$RAY_AUTH_TOKEN_PATH" "$PID_FILE"' EXIT
# 120 s before the time is up: the job, which runs on this node, writes a checkpoint and ends.
trap 'kill -TERM "$(cat "$PID_FILE")"' TERM

srun --ntasks-per-node=1 --kill-on-bad-exit=1 bash -c '
    exec cluster/symmetric.sh "$SLURM_PROCID" "$SLURM_NNODES" "$@"' symmetric "$head" "$@" &
step=$! code=0
until wait "$step" && code=0 || code=$? && ! kill -0 "$step" 2>/dev/null; do :; done  # TERM ends a wait
exit "$code"
