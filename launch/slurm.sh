# Sourced by the SLURM scripts: runs a step and has the job queued again where
# it was stopped from outside.
#
#   run_step COMMAND...         under srun; ends the script with its code
#
# SLURM signals this shell alone (--signal=B:USR1@120), because a program that
# saves and ends with code 0 cannot be told from one that has done its work.

MAX_RESTARTS=${MAX_RESTARTS:-100}
EXIT_PEER_LOST=5

stop_step() {
  signalled=1 stopped=1
  say 'stopped from outside; the step saves'
  # Without --batch it reaches the step's tasks, not this shell.
  scancel --signal=TERM "$SLURM_JOB_ID"
}

run_step() {
  if [ -n "${DRY_RUN:-}" ]; then
    run srun --kill-on-bad-exit=1 "$@"
    return
  fi
  if [ -z "${SLURM_JOB_ID:-}" ]; then
    echo 'error: not on SLURM; submit with sbatch, see --help' >&2
    exit 2
  fi
  if ! [ -x "$VENV/bin/python" ]; then
    echo "error: there is no $VENV/bin/python; type in $ROOT: python3 -m venv" \
      ".venv && .venv/bin/pip install --editable '.[gpu]'" >&2
    exit 2
  fi
  local code pid
  stopped=''
  trap stop_step USR1
  # Preempted: SLURM signals the step too and queues the job again by itself.
  trap signalled=1 TERM
  # srun takes the CPUs of a task from here; older ones do not do it themselves.
  export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
  printf '+ srun %s\n' "$*"
  srun --kill-on-bad-exit=1 "$@" &
  pid=$!
  while :; do
    code=0 signalled=''
    wait "$pid" || code=$?
    [ -n "$signalled" ] || break  # A signal ends only the wait.
  done
  if [ -n "$stopped" ] || [ "$code" -eq "$EXIT_PEER_LOST" ]; then
    if [ "${SLURM_RESTART_COUNT:-0}" -lt "$MAX_RESTARTS" ]; then
      say 'back to the queue'
      scontrol requeue "$SLURM_JOB_ID"
    fi
  fi
  exit "$code"
}
