#!/usr/bin/env bash
# One job on machines that are already there: each of them runs this same command, and all end with it.
#
#     cluster/symmetric.sh RANK NUM_NODES HEAD JOB [FLAGS...]
#     cluster/symmetric.sh 0 2 10.0.0.1 train --recipe squad --storage /shared/runs    # on 10.0.0.1
#     cluster/symmetric.sh 1 2 10.0.0.1 train --recipe squad --storage /shared/runs    # on the other
#
# Rank 0 runs on HEAD. It starts Ray's head, waits for the others, runs `python -m jobs.JOB` there, and
# its exit code is the job's. Nothing of another user's Ray on the machines is touched: ports and
# folders are this job's own. cluster/slurm.sh and cluster/sky.yaml use this.
#
# Read from the environment: RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH (the same on all machines), PYTHON
# (.venv/bin/python), NUM_CPUS and NUM_GPUS of a machine (all), PORT (6379; twenty from it on are used),
# JOIN_S (300: seconds to wait for the others), PID_FILE (receives the job's process id on rank 0:
# SIGTERM to that makes it write a checkpoint and end).
set -euo pipefail
cd "$(dirname "$0")/.."
rank=$1 num_nodes=$2 head=$3 job=$4
shift 4

python=${PYTHON:-.venv/bin/python} port=${PORT:-6379} join_s=${JOIN_S:-300}
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0  # half a minute for each node, whose job has ended
[ -n "${RAY_AUTH_TOKEN:-}" ] || [ -s "${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}" ] || {
    echo "There is no token: set RAY_AUTH_TOKEN_PATH to a file that all machines have." >&2
    exit 2
}
# Ray's sockets lie here, and their paths may have no more than 107 bytes.
temp_dir=$(mktemp -d "/tmp/ray-$port-XXXXXX")
own=$((port + 4 + 4 * rank % 16))
options=(
    --block --disable-usage-stats --temp-dir "$temp_dir"
    --dashboard-agent-listen-port $own --dashboard-agent-grpc-port $((own + 1))
    --metrics-export-port $((own + 2)) --runtime-env-agent-port $((own + 3))
)
[ -z "${NUM_CPUS:-}" ] || options+=(--num-cpus "$NUM_CPUS")
[ -z "${NUM_GPUS:-}" ] || options+=(--num-gpus "$NUM_GPUS")

# Ray's processes here carry this name in their environment, which outlives their titles.
mark=QA_RAY_NODE=$temp_dir
of_this_node() { grep -lzsxF "$mark" /proc/[0-9]*/environ | cut -d / -f 3; }

clean_up() {
    trap - EXIT TERM INT
    [ -z "${gathering:-}" ] || kill "$gathering" 2>/dev/null || true
    # A job that is running writes a checkpoint, which needs its Ray.
    [ -z "${job_pid:-}" ] || { kill "$job_pid" 2>/dev/null && wait "$job_pid" || true; }
    # TERM to `ray start` ends what it started, and only that.
    [ -z "${ray:-}" ] || { kill "$ray" 2>/dev/null && wait "$ray" || true; }
    # Where that took a second, its agents were left: they see only seconds later that it has gone.
    for ((tried = 0; tried < 50; tried++)); do
        left=$(of_this_node || true)
        [ -n "$left" ] || break
        kill -KILL $left 2>/dev/null || true
        sleep 0.1
    done
    rm -rf "$temp_dir"
}
trap clean_up EXIT
trap 'exit 143' TERM INT

# Where packets are dropped, an attempt alone would take two minutes.
head_answers() { timeout 2 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$head" "$port" 2>/dev/null; }

if [ "$rank" -ne 0 ]; then
    until head_answers; do
        [ "$SECONDS" -lt "$join_s" ] || { echo "rank $rank: no Ray answers at $head:$port" >&2; exit 1; }
        sleep 2
    done
    env "$mark" "$python" -m ray.scripts.scripts start --address "$head:$port" "${options[@]}" &
    ray=$!
    for ((missed = 0; missed < 3; )); do
        sleep 2
        kill -0 "$ray" 2>/dev/null || { head_answers || exit 0; echo "rank $rank: Ray has ended" >&2; exit 1; }
        if head_answers; then missed=0; else missed=$((missed + 1)); fi
    done
    exit 0  # the head has gone: its job is done
fi

! head_answers || { echo "$head:$port is in use: choose another PORT." >&2; exit 2; }
env "$mark" "$python" -m ray.scripts.scripts start --head --port "$port" \
    --ray-client-server-port $((port + 1)) --include-dashboard false "${options[@]}" &
ray=$!
export RAY_ADDRESS=$head:$port
"$python" -m cluster.gathering "$num_nodes" "$join_s" &
gathering=$!
while kill -0 "$gathering" 2>/dev/null; do
    kill -0 "$ray" 2>/dev/null || { kill "$gathering"; echo "rank 0: Ray has ended" >&2; exit 1; }
    sleep 1
done
wait "$gathering"
code=0
"$python" -m "jobs.$job" "$@" &
job_pid=$!
[ -z "${PID_FILE:-}" ] || echo "$job_pid" >"$PID_FILE"
wait "$job_pid" || code=$?
exit "$code"
