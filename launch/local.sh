#!/usr/bin/env bash
# Several processes of one job on this machine.
set -euo pipefail

usage() {
  cat <<'EOF'
usage: launch/local.sh [--dry_run] [--processes N] [--port P] [--grace S]
                       -- COMMAND...

Starts COMMAND N times as one job and numbers every line of what the processes
say. They find each other at a free port. GPUs are dealt out evenly, one or
several a process. Where a process fails, the others are ended too; SIGTERM and
Ctrl-C are passed on to all, and training then saves.

  launch/local.sh --processes 2 -- python -m viton_jax.train \
      --config configs/stage1.py --workdir W1 --config.data.dir RECORDS
  JAX_PLATFORMS=cpu launch/local.sh -- python launch/env_report.py

  --processes N     how many                          (default: 2)
  --port P          where process 0 listens           (default: a free one)
  --grace S         seconds between SIGTERM and SIGKILL where a process failed
                                                      (default: 10)
  --dry_run         only show the commands

Exit code: 0, or that of the process that failed first.
EOF
}

processes=2 port='' grace=10
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --dry_run) DRY_RUN=1; shift ;;
    --processes | --port | --grace)
      if ! [[ ${2:-} =~ ^[0-9]+$ ]]; then
        echo "error: $1 needs a number; see --help" >&2
        exit 2
      fi
      printf -v "${1#--}" '%s' "$2"
      shift 2 ;;
    --) shift; break ;;
    *) echo "error: unknown option $1; put -- before the command" >&2; exit 2 ;;
  esac
done
if [ $# -eq 0 ] || [ "$processes" -lt 1 ]; then
  echo 'error: give at least one process and, after --, a command;' \
    'see --help' >&2
  exit 2
fi

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
if [ -x "$VENV/bin/python" ]; then
  PATH=$VENV/bin:$PATH
fi

if [ -z "$port" ]; then
  port=$("$(command -v python || command -v python3)" -c \
    'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
fi

# The GPUs that may be used, as one list.
gpus=()
if [ "${JAX_PLATFORMS:-}" != cpu ]; then
  if [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then
    IFS=, read -r -a gpus <<< "$CUDA_VISIBLE_DEVICES"
  elif [ -z "${CUDA_VISIBLE_DEVICES+set}" ] && command -v nvidia-smi > /dev/null
  then
    mapfile -t gpus < <(nvidia-smi --query-gpu=index --format=csv,noheader)
  fi
fi
if [ $((${#gpus[@]} % processes)) -ne 0 ]; then
  echo "error: ${#gpus[@]} GPUs cannot be dealt out evenly to $processes" \
    'processes; change --processes or CUDA_VISIBLE_DEVICES' >&2
  exit 2
fi
each=$((${#gpus[@]} / processes))

# variables I: what process I gets, one NAME=VALUE a line.
variables() {
  printf '%s\n' "VITON_JAX_COORDINATOR=localhost:$port" \
    "VITON_JAX_NUM_PROCESSES=$processes" "VITON_JAX_PROCESS_ID=$1"
  if [ "$each" -gt 0 ]; then
    local IFS=,
    printf '%s\n' "CUDA_VISIBLE_DEVICES=${gpus[*]:$(($1 * each)):$each}"
  fi
}

# Reads lines and writes them with a number; outlives the signals that end the
# process it reads from, or that one's last words would be lost.
number_lines() {
  trap '' TERM INT
  local line
  while IFS= read -r line || [ -n "$line" ]; do
    printf '[%s] %s\n' "$1" "$line"
  done
}

# end SIGNAL: to all that still run, and to what they have started.
end() {
  local pid
  for pid in "${pids[@]}"; do
    [ -z "$pid" ] || kill "-$1" -- "-$pid" 2> /dev/null || true
  done
}

pids=() readers=()
set -m  # A process group for each process.
trap 'end TERM' TERM
trap 'end INT' INT
trap 'end KILL' EXIT
for ((i = 0; i < processes; i++)); do
  mapfile -t set_here < <(variables "$i")
  # A pod's number would contradict ours; a coordinator given from outside, too.
  command=(env -u JOB_COMPLETION_INDEX -u JAX_COORDINATOR_ADDRESS
    "${set_here[@]}" "$@")
  if [ -n "${DRY_RUN:-}" ]; then
    run "${command[@]}"
    continue
  fi
  exec {out}> >(number_lines "$i")
  readers+=($!)
  "${command[@]}" < /dev/null >&"$out" 2>&1 {out}>&- &
  pids+=($!)
  exec {out}>&-
done

first=0 kill_at=''
while [ "${#pids[@]}" -gt 0 ]; do
  for i in "${!pids[@]}"; do
    if kill -0 "${pids[i]}" 2> /dev/null; then
      continue
    fi
    code=0
    { wait "${pids[i]}" || code=$?; } 2> /dev/null
    # What it has left behind.
    kill -KILL -- "-${pids[i]}" 2> /dev/null || true
    unset "pids[$i]"
    if [ "$code" -ne 0 ] && [ "$first" -eq 0 ]; then
      first=$code kill_at=$((SECONDS + grace))
      echo "process $i ended with code $code; the others are ended" >&2
      end TERM
    fi
  done
  if [ -n "$kill_at" ] && [ "$SECONDS" -ge "$kill_at" ]; then
    end KILL
  fi
  sleep 0.2 || true
done
for reader in "${readers[@]}"; do
  wait "$reader" 2> /dev/null || true
done
exit "$first"
