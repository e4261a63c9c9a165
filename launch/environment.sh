# Sourced by the other scripts: makes .venv where there is none and installs
# the project into it, once for each state of setup.py.
#
#   install_project EXTRAS      e.g. install_project dev; '' for none
#
# PYTHON names the interpreter to start from (default python3). Versions are
# the newest, or with PIP_CONSTRAINT=constraints.txt those of constraints.txt.

# Arrays in pages of 2 MB where the system leaves that to programs: training on
# CPUs is faster by a quarter (docs/benchmarks.md). glibc alone reads it.
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${VENV:-$ROOT/.venv}

say() { printf '\n== %s\n' "$*"; }

# Runs a command, or only shows it when DRY_RUN is set.
run() {
  printf '+ %s\n' "$*"
  [ -n "${DRY_RUN:-}" ] || "$@"
}

install_project() {
  local extras=$1 python=${PYTHON:-python3}
  local stamp="$VENV/.installed${extras:+-$extras}"
  if [ ! -x "$VENV/bin/python" ]; then
    if ! "$python" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))'
    then
      echo "error: $python is not Python 3.11 or newer with venv; install it" \
        "(Debian: apt-get install python3-venv) or set PYTHON" >&2
      return 2
    fi
    run "$python" -m venv "$VENV"
  fi
  if cmp -s "$ROOT/setup.py" "$stamp"; then
    return
  fi
  echo "installing into $VENV: about 3 GB, one to three minutes" \
    "where nothing has to be downloaded"
  run "$VENV/bin/python" -m pip install --disable-pip-version-check \
    --editable "$ROOT${extras:+[$extras]}"
  [ -n "${DRY_RUN:-}" ] || cp "$ROOT/setup.py" "$stamp"
}
