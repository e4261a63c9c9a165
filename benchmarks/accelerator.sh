#!/usr/bin/env bash
# All that is measured on an accelerator, in one go.
set -uo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'END'
usage: benchmarks/accelerator.sh [--smoke] [FOLDER]

Times training steps and try-ons beside PyTorch (left out where it is not
installed), the matching on host and device, then the published schedule from drawn pictures to both trained
networks. Needs jax for the device, flax, optax, orbax and OpenCV; about 3 GB in
FOLDER (bench_out), where results.txt gets everything printed. A part that fails
is named at the end, and does not stop the others.

  --smoke    tiny networks and a few steps: does all of it run on this machine?

PYTHON picks the interpreter, PAIRS the number of pairs to draw (2000).
END
}

batches=16,64,256 try_on_batches=1,8,64 pairs=2000 networks=() training=()
case ${1:-} in
  -h | --help) usage; exit 0 ;;
  --smoke)
    batches=2,4 try_on_batches=1,2 pairs=32  # PyTorch norms no single value.
    networks=(--features 4 --size 64x64 --repeats 2)
    training=(--config.features=4 --config.num_steps=4 --config.batch_size=2)
    shift ;;
esac
folder=${1:-bench_out}
python=${PYTHON:-python}
# Else XLA tries kernels for the matching's small matrix products for minutes.
export XLA_FLAGS=${XLA_FLAGS:---xla_gpu_enable_triton_gemm=false}
mkdir -p "$folder" || exit 2
exec > >(tee "$folder/results.txt") 2>&1

failed=()
part() {
  echo "+ $*"
  "$python" -m "$@" || { failed+=("$1 (exit code $?)"); return 1; }
}

for stage in 1 2; do
  part benchmarks.train_step --stage "$stage" --batch "$batches" \
    --dtype float32,bfloat16 --against torch,torch_compile "${networks[@]}"
done
part benchmarks.try_on --batch "$try_on_batches" --dtype float32,bfloat16 \
  --against torch,torch_compile "${networks[@]}"
part benchmarks.geometry --part matching

training+=(--config.data.dir="$folder/packed" --config.data.format=packed
  --config.data.cache=device --config.dtype=bfloat16
  --config.vgg="$folder/vgg19-random.mat")
published_schedule() {
  part benchmarks.train_step --write_vgg "$folder/vgg19-random.mat" &&
    part input_pipeline.synthetic --out_dir "$folder/raw" \
      --num_pairs "${PAIRS:-$pairs}" &&
    part input_pipeline.prepare --data_dir "$folder/raw" \
      --out_dir "$folder/packed" --format packed || return
  SECONDS=0
  part viton_jax.train --config configs/stage1.py \
    --workdir "$folder/stage1" "${training[@]}" || return
  echo "stage 1: $SECONDS s"
  part viton_jax.train --config configs/stage2.py \
    --workdir "$folder/stage2" --config.coarse_checkpoint="$folder/stage1" \
    "${training[@]}" || return
  echo "the whole schedule, both stages: $SECONDS s"
}
published_schedule

if [ "${#failed[@]}" -gt 0 ]; then
  printf 'FAILED: %s\n' "${failed[@]}"
  exit 1
fi
