#!/usr/bin/env bash
# From nothing to the page in the browser.
set -euo pipefail

usage() {
  cat <<'EOF'
usage: launch/demo_web.sh [--dry_run] [--gpu] [--dir DIR] [--checkpoint DIR]
                          [--port PORT] [SERVER OPTIONS]

Makes .venv if there is none, installs viton_jax with its server, draws sample
people and garments, and serves the page at http://127.0.0.1:8000, with the
networks that come along. Ends with Ctrl-C.

  --gpu               install JAX with CUDA 13; needs nothing but the driver
  --dir DIR           where the drawn samples go      (default: demo_web)
  --checkpoint DIR    other networks, such as those of launch/demo.sh --train
  --port PORT         of the page                     (default: 8000)
  --dry_run           only show the commands

All other options go to `python -m viton_jax.serve`, whose --help tells them.
EOF
}

dir=demo_web checkpoint='' port=8000 gpu='' options=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --dry_run) DRY_RUN=1; shift ;;
    --gpu) gpu=,gpu; shift ;;
    --dir | --checkpoint | --port)
      if [ $# -lt 2 ]; then
        echo "error: $1 needs a value; see --help" >&2
        exit 2
      fi
      printf -v "${1#--}" '%s' "$2"
      shift 2 ;;
    --*) options+=("$1"); shift ;;
    *)
      if [ ${#options[@]} -eq 0 ]; then
        echo "error: unknown option $1; see --help" >&2
        exit 2
      fi
      options+=("$1"); shift ;;
  esac
done

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install_project "serve$gpu"
case $dir in /*) ;; *) dir=$PWD/$dir ;; esac
case $checkpoint in '' | /*) ;; *) checkpoint=$PWD/$checkpoint ;; esac
cd "$ROOT"

say 'draw sample people and garments'
run "$VENV/bin/python" launch/web_samples.py "$dir"
if [ -z "${DRY_RUN:-}" ] && [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
  # Opened when the server listens.
  (
    for _ in $(seq 100); do
      sleep 0.2
      if (: < "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then
        exec "$VENV/bin/python" -m webbrowser "http://127.0.0.1:$port"
      fi
    done
  ) &
fi
say "serve the page at http://127.0.0.1:$port${checkpoint:+ with $checkpoint}"
run "$VENV/bin/python" -m viton_jax.serve --port "$port" \
  --samples "$dir/people" --garments "$dir/garments" \
  ${checkpoint:+--checkpoint "$checkpoint"} "${options[@]}"
