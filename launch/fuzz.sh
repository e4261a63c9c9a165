#!/usr/bin/env bash
# Tries damaged files on every reader, and damaged input on every command.
set -euo pipefail

usage() {
  cat <<'END'
usage: launch/fuzz.sh [--dry_run] [--minutes N] [--seed N] [--keep FOLDER]

Makes .venv if there is none, installs viton_jax with its development tools, and
for N minutes (10) tries files that are damaged in every way on every reader,
then a tenth of that time the commands as processes. Each case is a function of
the seed (the time), the reader and a number; one line at the end repeats what
did not end well. The files of such cases are kept in FOLDER (fuzz_found).

docs/reliability.md says what ends well.
END
}

minutes=10 seed=$(date +%s) keep=fuzz_found
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --dry_run) DRY_RUN=1; shift ;;
    --minutes | --seed | --keep)
      [ $# -ge 2 ] || { usage >&2; exit 2; }
      printf -v "${1#--}" %s "$2"; shift 2 ;;
    *) usage >&2; exit 2 ;;
  esac
done

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install_project dev
cd "$ROOT"
export JAX_PLATFORMS=cpu
failed=0
run "$VENV/bin/python" tests/fuzz/run.py --minutes "$minutes" \
  --seed "$seed" --keep "$keep" || failed=1
run "$VENV/bin/python" tests/fuzz/commands.py --minutes "$minutes" \
  --seed "$seed" || failed=1
exit "$failed"
