#!/usr/bin/env bash
# Disturbs prepare, train, infer, perceive and export for a long time.
set -euo pipefail

usage() {
  cat <<'END'
usage: launch/soak.sh [--dry_run] [--minutes N] [--seed N] [ARGUMENTS]

Makes .venv if there is none, installs viton_jax with its development tools, and
for N minutes (60) runs the jobs while they are killed, stopped and continued,
while the disk is full or slow, input cannot be read and the clock jumps. What
they write must be equal, bit for bit, to undisturbed runs, and nothing may be
lost, doubled or left behind. A table at the end says what was done; the exit
code is 1 if anything was wrong. Everything else goes to `python -m
benchmarks.soak`, whose --help says more.

As root the full disk is a tmpfs; clocks jump by libfaketime and system calls
are slowed by strace where these are installed (Debian: faketime, strace).
END
}

minutes=60 seed=$(date +%s) rest=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --dry_run) DRY_RUN=1; shift ;;
    --minutes | --seed)
      [ $# -ge 2 ] || { usage >&2; exit 2; }
      printf -v "${1#--}" %s "$2"; shift 2 ;;
    *) rest+=("$1"); shift ;;
  esac
done

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install_project dev
cd "$ROOT"
export JAX_PLATFORMS=cpu
run "$VENV/bin/python" -m viton_jax.perception fetch blazepose
run "$VENV/bin/python" -m benchmarks.soak --minutes "$minutes" --seed "$seed" \
  "${rest[@]}"
