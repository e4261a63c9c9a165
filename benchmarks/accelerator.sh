#!/usr/bin/env bash
# All that is measured on an accelerator, in one go:
#
#   benchmarks/accelerator.sh [FOLDER]
#
# training steps and try-ons beside PyTorch (left out where it is not
# installed), then the published schedule from drawn pictures to both trained
# networks. Needs jax for the device, flax, optax, orbax and OpenCV; about 3 GB
# in FOLDER (bench_out), where results.txt has everything printed. PYTHON picks
# the interpreter, PAIRS the number of pairs to draw.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-bench_out}
python=${PYTHON:-python}
mkdir -p "$folder"
exec > >(tee "$folder/results.txt") 2>&1

for stage in 1 2; do
  "$python" -m benchmarks.train_step --stage "$stage" --batch 16,64,256 \
    --dtype float32,bfloat16 --against torch,torch_compile
done
"$python" -m benchmarks.try_on --batch 1,8,64 --dtype float32,bfloat16 \
  --against torch,torch_compile

"$python" -m benchmarks.train_step --write_vgg "$folder/vgg19-random.mat"
"$python" -m input_pipeline.synthetic --out_dir "$folder/raw" \
  --num_pairs "${PAIRS:-2000}"
"$python" -m input_pipeline.prepare --data_dir "$folder/raw" \
  --out_dir "$folder/packed" --format packed
common=(--config.data.dir="$folder/packed" --config.data.format=packed
  --config.data.cache=device --config.dtype=bfloat16
  --config.vgg="$folder/vgg19-random.mat")
SECONDS=0
"$python" -m viton_jax.train --config configs/stage1.py \
  --workdir "$folder/stage1" "${common[@]}"
echo "15,000 steps of stage 1: $SECONDS s"
"$python" -m viton_jax.train --config configs/stage2.py \
  --workdir "$folder/stage2" --config.coarse_checkpoint="$folder/stage1" \
  "${common[@]}"
echo "the published schedule, both stages: $SECONDS s"
