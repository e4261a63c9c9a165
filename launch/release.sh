#!/usr/bin/env bash
# Makes the files of a release: package, wheel, bill of materials.
set -euo pipefail

usage() {
  cat <<'END'
usage: launch/release.sh [--dry_run] [--out_dir FOLDER]

Asks what is known to be unsafe of the versions in constraints.txt (pip-audit;
where no index tells, it says so and goes on), and writes to FOLDER (dist) the
source package, the wheel, and beside them the bill of materials of those
versions: viton_jax.cdx.json (CycloneDX). Uploads nothing.
END
}

out_dir=dist
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --dry_run) DRY_RUN=1; shift ;;
    --out_dir)
      [ $# -ge 2 ] || { usage >&2; exit 2; }
      out_dir=$2; shift 2 ;;
    *) usage >&2; exit 2 ;;
  esac
done

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
# In an environment of their own: nothing of them is part of a release.
VENV=${VENV}-release
cd "$ROOT"
[ -x "$VENV/bin/python" ] || run "${PYTHON:-python3}" -m venv "$VENV"
run "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
  build cyclonedx-bom pip-audit
run "$VENV/bin/python" launch/audit.py
run "$VENV/bin/python" -m build --outdir "$out_dir"
run "$VENV/bin/cyclonedx-py" requirements constraints.txt \
  --output-format JSON --output-file "$out_dir/viton_jax.cdx.json"
