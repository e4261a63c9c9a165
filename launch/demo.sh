#!/usr/bin/env bash
# From nothing to try-on pictures.
set -euo pipefail

usage() {
  cat <<'EOF'
usage: launch/demo.sh [--dry_run] [--gpu] [--dir DIR] [--test_pairs M]
                     [--style STYLE]
       launch/demo.sh [--dry_run] [--gpu] [--dir DIR] --photos PERSON GARMENT
       launch/demo.sh [--dry_run] [--gpu] [--dir DIR] [--pairs N]
                      [--test_pairs M] [--style STYLE] --train

Makes .venv if there is none, installs viton_jax, draws M people and garments
that no network has seen, and dresses them with the networks that come along;
compares the pictures with the true ones. Ends with the path of a page to open
in a browser. Run it again and it goes on where it stopped. Installation aside
it takes a minute on 2 CPU cores (docs/benchmarks.md).

  --photos PERSON GARMENT
                    dress the person of one photo in the garment of another
                    instead; fetches the pose network BlazePose (36 MB,
                    Apache-2.0)
  --train           train both networks from nothing first, on N drawn pairs,
                    and dress with those: 20 minutes on 2 cores
  --gpu             use NVIDIA GPUs: installs JAX with CUDA 13 and needs nothing
                    but the driver
  --dir DIR         where everything goes             (default: demo)
  --pairs N         pairs to train on                 (default: 1200)
  --test_pairs M    pairs to try on     (default: 24; with --train 96)
  --style STYLE     of the drawings, plain or photo
                                    (default: photo; with --train plain)
  --dry_run         only show the commands

EOF
}

dir=demo pairs=1200 test_pairs='' style='' gpu='' train='' photos=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --dry_run) DRY_RUN=1; shift ;;
    --gpu) gpu=1; shift ;;
    --train) train=1; shift ;;
    --dir | --pairs | --test_pairs | --style)
      if [ $# -lt 2 ]; then
        echo "error: $1 needs a value; see --help" >&2
        exit 2
      fi
      printf -v "${1#--}" '%s' "$2"
      shift 2 ;;
    --photos)
      if [ $# -lt 3 ] || [ ! -f "$2" ] || [ ! -f "$3" ]; then
        echo "error: --photos needs two files that are there, a person's photo" \
          "and a garment's; see --help" >&2
        exit 2
      fi
      photos=("$(realpath "$2")" "$(realpath "$3")")
      shift 3 ;;
    *) echo "error: unknown option $1; see --help" >&2; exit 2 ;;
  esac
done
if [ -n "$train" ] && [ ${#photos[@]} -gt 0 ]; then
  echo "error: --train or --photos, not both; see --help" >&2
  exit 2
fi

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
if [ -n "$gpu" ] && [ -z "${DRY_RUN:-}" ] &&
  ! nvidia-smi --list-gpus 2> /dev/null; then
  echo 'error: --gpu: nvidia-smi finds no GPU here; install the NVIDIA driver,' \
    'or leave --gpu out' >&2
  exit 2
fi
report=()

# step NAME COMMAND...: runs it and notes how long it took.
step() {
  local name=$1 begin=$SECONDS
  shift
  say "$name"
  "$@"
  local took=$((SECONDS - begin))
  report+=("$(printf '%-28s %3d:%02d' "$name" $((took / 60)) $((took % 60)))")
}

python() { run "$VENV/bin/python" "$@"; }

extras=${gpu:+gpu}
[ ${#photos[@]} -eq 0 ] || extras="${gpu:+gpu,}photos"
step 'install' install_project "$extras"
case $dir in /*) ;; *) dir=$PWD/$dir ;; esac
cd "$ROOT"

if [ ${#photos[@]} -gt 0 ]; then
  step 'fetch the pose network' python -m viton_jax.perception fetch blazepose
  step 'try on' python -m viton_jax.try_on --show_steps \
    --person "${photos[0]}" --garment "${photos[1]}" --out "$dir/result.png"
  [ -n "${DRY_RUN:-}" ] || say "look at $dir/result.png"
  exit 0
fi
if [ -z "$train" ]; then
  results=$dir/dressed
  step 'draw people and garments' python -m input_pipeline.synthetic \
    --out_dir "$dir/drawn" --num_pairs 0 --num_test_pairs "${test_pairs:-24}" \
    --height 512 --seed 1 --style "${style:-photo}"
  step 'try on' python -m viton_jax.infer \
    --layout viton --data_dir "$dir/drawn" --out_dir "$results"
else
  results=$dir/results
  step 'draw people and garments' python -m input_pipeline.synthetic \
    --out_dir "$dir/raw" --num_pairs "$pairs" \
    --num_test_pairs "${test_pairs:-96}" --height 512 --seed 0 \
    --style "${style:-plain}"
  step 'prepare records' python -m input_pipeline.prepare \
    --layout viton --data_dir "$dir/raw" --out_dir "$dir/records"
  step 'train the encoder-decoder' python -m viton_jax.train \
    --config configs/demo.py:stage1 --workdir "$dir/stage1" \
    --config.data.dir "$dir/records"
  step 'train the refinement' python -m viton_jax.train \
    --config configs/demo.py:stage2 --workdir "$dir/stage2" \
    --config.data.dir "$dir/records" --config.coarse_checkpoint "$dir/stage1"
  step 'try on' python -m viton_jax.infer \
    --layout viton --data_dir "$dir/raw" --pairs viton_test_pairs.txt \
    --checkpoint "$dir/stage1" --refine_checkpoint "$dir/stage2" \
    --out_dir "$results"
fi

[ -z "${DRY_RUN:-}" ] || exit 0
say 'where the time went (minutes:seconds)'
printf '%s\n' "${report[@]}"
printf '%-28s %3d:%02d\n' 'in all' $((SECONDS / 60)) $((SECONDS % 60))
say "open $results/index.html"
say "your own photos: launch/demo.sh --photos me.jpg shirt.jpg"
