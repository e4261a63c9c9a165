"""An exported try-on against live models, its SavedModel and its ONNX file.

  python -m viton_jax.export --checkpoint W1 --refine_checkpoint W2 \\
      --out_dir E --format stablehlo,savedmodel,onnx
  python -m benchmarks.export --checkpoint W1 --refine_checkpoint W2 \\
      --artifact E

Everything in one process and in turns, so ratios hold on a busy machine too.
SavedModel and ONNX file are left out where there are none, or no TensorFlow.
"""

import argparse
import importlib.util
import pathlib
import statistics
import time

import numpy as np

from benchmarks import timing
from viton_jax import networks
from viton_jax.export import drawn_batch
from viton_jax.representation import from_labels
from viton_jax.serving import artifact, onnx_runtime


def batch_of(drawn: dict, count: int) -> dict:
  """So many pairs: the drawn ones again and again."""
  rows = np.arange(count) % len(drawn['person'])
  return {name: values[rows] for name, values in drawn.items()}


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add('--checkpoint', required=True)
  add('--refine_checkpoint', required=True)
  add('--artifact', required=True, type=pathlib.Path)
  add('--batch_sizes', type=int, nargs='+', default=[1, 8])
  add('--repeats', type=int, default=7)
  arguments = parser.parse_args()
  begin = time.perf_counter()
  loaded = artifact.load(arguments.artifact)
  print(f'loading the artifact: {time.perf_counter() - begin:.2f} s')
  calls = {}
  for matching in ('host', 'device'):
    calls[f'live, {matching}'] = networks.load(
      arguments.checkpoint,
      arguments.refine_checkpoint,
      dtype=loaded.manifest['dtype'],
      matching=matching,
    )
  calls['artifact'] = loaded
  if importlib.util.find_spec('tensorflow'):
    from viton_jax.serving import saved_model

    if (arguments.artifact / saved_model.FOLDER).exists():
      calls['SavedModel'] = saved_model.load(arguments.artifact)
  if (arguments.artifact / onnx_runtime.NAME).exists():
    calls['ONNX'] = onnx_runtime.load(arguments.artifact)
  drawn = drawn_batch(loaded.size)
  made = from_labels(
    drawn['parse'], drawn['keypoints'], fidelity=loaded.fidelity
  )
  made = {name: np.asarray(value) for name, value in made.items()}
  h, w = loaded.size
  print(f'{timing.device()}, {h} x {w}, {loaded.manifest["dtype"]}; ms a batch')
  for count in arguments.batch_sizes:
    inputs = batch_of(drawn, count), batch_of(drawn | made, count)
    for name, call in calls.items():
      begin = time.perf_counter()
      call(inputs[name.startswith('live')])
      print(
        f'  batch {count}, {name}: first call '
        f'{time.perf_counter() - begin:.1f} s'
      )
    times = {name: [] for name in calls}
    for _ in range(arguments.repeats):
      for name, call in calls.items():
        begin = time.perf_counter()
        call(inputs[name.startswith('live')])
        times[name].append(1e3 * (time.perf_counter() - begin))
    for name, taken in times.items():
      print(
        f'  batch {count}, {name:12} median '
        f'{statistics.median(taken):8.1f}, least {min(taken):8.1f}'
      )


if __name__ == '__main__':
  main()
