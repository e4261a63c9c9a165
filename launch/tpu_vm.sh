#!/usr/bin/env bash
# A command on all hosts of a Cloud TPU.
set -euo pipefail

usage() {
  cat <<'EOF'
usage: launch/tpu_vm.sh [--dry_run] --name NAME --zone ZONE [--project P]
                        [--type TYPE] [--version IMAGE] [--spot] [--delete]
                        -- COMMAND...

Makes the TPU if there is none of that name, brings the committed state of this
folder to all its hosts, installs it there, and runs COMMAND on all of them at
once; JAX lets them find each other. Run it again to go on. Needs gcloud, set up
for your project.

  launch/tpu_vm.sh --name viton --zone us-west4-a --type v5litepod-8 -- \
      python -m viton_jax.train --config configs/stage1.py \
      --workdir /mnt/viton/W1 --config.data.dir /mnt/viton/records

Paths are those of the hosts; with several of them, the same storage has to be
mounted on all.

  --type TYPE       only to make one                  (default: v5litepod-8)
  --version IMAGE   its system           (default: v2-alpha-tpuv5-lite)
  --spot            cheaper, may be taken away; run the script again then
  --delete          delete the TPU after COMMAND, also where it fails
  --dry_run         only show the commands

EOF
}

name='' zone='' project='' type=v5litepod-8 version=v2-alpha-tpuv5-lite
spot='' delete=''
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --dry_run) DRY_RUN=1; shift ;;
    --spot | --delete) printf -v "${1#--}" yes; shift ;;
    --name | --zone | --project | --type | --version)
      if [ $# -lt 2 ]; then
        echo "error: $1 needs a value; see --help" >&2
        exit 2
      fi
      printf -v "${1#--}" '%s' "$2"
      shift 2 ;;
    --) shift; break ;;
    *) echo "error: unknown option $1; put -- before the command" >&2; exit 2 ;;
  esac
done
if [ -z "$name" ] || [ -z "$zone" ] || [ $# -eq 0 ]; then
  echo 'error: give --name, --zone and, after --, a command; see --help' >&2
  exit 2
fi

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$ROOT"
where=(--zone "$zone")
[ -z "$project" ] || where+=(--project "$project")
tpu() { run gcloud compute tpus tpu-vm "$@"; }
on_all() { tpu ssh "$name" "${where[@]}" --worker=all --command "$1"; }

if [ -z "${DRY_RUN:-}" ] && ! command -v gcloud > /dev/null; then
  echo 'error: there is no gcloud; install the Google Cloud CLI' >&2
  exit 2
fi
if ! tpu describe "$name" "${where[@]}" > /dev/null 2>&1 ||
  [ -n "${DRY_RUN:-}" ]
then
  say 'make the TPU'
  tpu create "$name" "${where[@]}" --accelerator-type "$type" \
    --version "$version" ${spot:+--spot}
fi
if [ -n "$delete" ]; then
  trap 'tpu delete "$name" "${where[@]}" --quiet' EXIT
fi

say 'bring the project to its hosts'
run mkdir -p build
run git archive --format=tar.gz --output build/viton_jax.tar.gz HEAD
tpu scp build/viton_jax.tar.gz "$name:viton_jax.tar.gz" "${where[@]}" \
  --worker=all

say 'install it'
# The hosts' own Python may be older than the project needs.
on_all 'set -e
mkdir -p viton_jax && tar -xzf viton_jax.tar.gz -C viton_jax
command -v python3.11 > /dev/null ||
  sudo apt-get install -y -qq python3.11 python3.11-venv
cd viton_jax && source launch/environment.sh
PYTHON=python3.11 install_project tpu'

say 'run'
printf -v command '%q ' "$@"
on_all "cd viton_jax && PATH=\$PWD/.venv/bin:\$PATH $command"
