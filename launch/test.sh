#!/usr/bin/env bash
# Runs the linter and all tests in a virtual environment of its own.
set -euo pipefail

usage() {
  cat <<'EOF'
usage: launch/test.sh [--dry_run] [PYTEST ARGUMENTS]

Makes .venv if there is none, installs viton_jax with its development tools,
and runs ruff and pytest, a test process a core. Everything behind the options
goes to pytest:

  launch/test.sh                       all of it, about 10 minutes on 2 cores
  launch/test.sh tests/test_models.py -k golden
  launch/test.sh --dry_run             only shows the commands
EOF
}

case ${1:-} in
  -h | --help) usage; exit 0 ;;
  --dry_run) DRY_RUN=1; shift ;;
esac

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install_project dev
cd "$ROOT"
run "$VENV/bin/ruff" check .
run "$VENV/bin/python" -m pytest --numprocesses auto --dist loadfile "$@"
