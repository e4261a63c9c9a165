#!/usr/bin/env bash
# Runs the linters and the tests in a virtual environment of its own.
set -euo pipefail

usage() {
  cat <<'END'
usage: launch/test.sh [--dry_run] [--fast] [PYTEST ARGUMENTS]

Makes .venv if there is none, installs viton_jax with its development tools, and
runs ruff (rules, then format), import-linter (which part imports which),
pyright (types) and pytest, a test process a core. Everything behind the options
goes to pytest:

  launch/test.sh                       all of it, about 30 minutes on 2 cores
  launch/test.sh --fast                all linters, and the tests not marked slow:
                                       2 minutes, 3 on a busy machine
  launch/test.sh tests/test_models.py -k golden
  launch/test.sh --dry_run             only shows the commands
END
}

fast=''
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --dry_run) DRY_RUN=1; shift ;;
    --fast) fast=1; shift ;;
    *) break ;;
  esac
done

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install_project dev
cd "$ROOT"
run "$VENV/bin/ruff" check .
run "$VENV/bin/ruff" format --check .
run "$VENV/bin/lint-imports"
run "$VENV/bin/pyright" --pythonpath "$VENV/bin/python"
run "$VENV/bin/python" -m pytest --numprocesses auto --dist loadfile \
  ${fast:+-m 'not slow'} "$@"
