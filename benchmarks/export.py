"""An exported try-on against live models, its SavedModel and its ONNX file.

  python -m viton_jax.export --out_dir E --format stablehlo,savedmodel,onnx
  python -m benchmarks.export --artifact E

Everything in one process and in turns, so ratios hold on a busy machine too.
SavedModel and ONNX file are left out where there are none, or no TensorFlow.
Where PyTorch is installed it computes the networks and the warp too, from the
networks' finished inputs and with the host's matching in between; its picture
is VITON's whole one, so the line to compare it with is `live, whole`.
"""

import argparse
from collections.abc import Callable
import importlib.util
import pathlib
import statistics
import time

import numpy as np

from benchmarks import problem, timing
from viton_jax import checkpoints, engine, networks
from viton_jax.export import drawn_batch
from viton_jax.representation import from_labels
from viton_jax.runtime import environment
from viton_jax.serving import artifact, onnx_runtime


def batch_of(drawn: dict, count: int) -> dict:
  """So many pairs: the drawn ones again and again."""
  rows = np.arange(count) % len(drawn['person'])
  return {name: values[rows] for name, values in drawn.items()}


def torch_try_on(
  checkpoint: str | None, refine_checkpoint: str | None
) -> Callable:
  """PyTorch's networks and warp, and the host's matching in between."""
  import torch

  from benchmarks import torch_twin as twin

  first, second = checkpoints.read_pair(checkpoint, refine_checkpoint)
  coarse_network = twin.to_device(twin.EncoderDecoder(first.variables)).eval()
  refinement = twin.to_device(
    twin.Refinement(second.variables['params'])
  ).eval()
  warp = twin.Warp(first.size).to(twin.DEVICE)

  @torch.inference_mode()
  def call(batch):
    tensors = batch['tensors']
    mask, coarse = coarse_network(tensors['inputs'])
    points, _ = engine.match_masks(
      batch['garment_mask'],
      mask[:, 0].cpu().numpy(),
      fidelity=first.fidelity,
      workers=environment.cores(),
    )
    tensors = {**tensors, **twin.to_torch({'control_points': points})}
    output, _ = twin.refine(refinement, warp, tensors, mask, coarse)
    return output.cpu().numpy()

  return call


def torch_batch(batch: dict) -> dict:
  """A batch with what the networks of PyTorch read, as tensors."""
  from benchmarks import torch_twin as twin

  points = np.zeros((len(batch['person']), 100, 2), np.float32)
  made = problem.twin_batch({**batch, 'control_points': points})
  return {**batch, 'tensors': twin.to_torch(made)}


def print_sizes(folder: pathlib.Path) -> None:
  """Megabytes of each file of an exported folder, folders as a whole."""
  for path in sorted(folder.iterdir()):
    files = [path] if path.is_file() else path.rglob('*')
    size = sum(file.stat().st_size for file in files if file.is_file())
    print(f'  {path.name:24} {size / 1e6:8.2f} MB')


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add('--checkpoint', help='default: the networks that come along')
  add('--refine_checkpoint')
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
  calls['live, whole'] = networks.load(
    arguments.checkpoint,
    arguments.refine_checkpoint,
    dtype=loaded.manifest['dtype'],
    composing='whole',
    matching='host',
  )
  calls['artifact'] = loaded
  if importlib.util.find_spec('tensorflow'):
    from viton_jax.serving import saved_model

    if (arguments.artifact / saved_model.FOLDER).exists():
      calls['SavedModel'] = saved_model.load(arguments.artifact)
  if (arguments.artifact / onnx_runtime.NAME).exists():
    calls['ONNX'] = onnx_runtime.load(arguments.artifact)
  if importlib.util.find_spec('torch'):
    calls['PyTorch'] = torch_try_on(
      arguments.checkpoint, arguments.refine_checkpoint
    )
  drawn = drawn_batch(loaded.size)
  made = from_labels(
    drawn['parse'], drawn['keypoints'], fidelity=loaded.fidelity
  )
  made = {name: np.asarray(value) for name, value in made.items()}
  print_sizes(arguments.artifact)
  h, w = loaded.size
  print(f'{timing.device()}, {h} x {w}, {loaded.manifest["dtype"]}; ms a batch')
  for count in arguments.batch_sizes:
    as_photos = batch_of(drawn, count)
    as_batch = batch_of(drawn | made, count)
    inputs = {
      name: as_batch if name.startswith('live') else as_photos for name in calls
    }
    if 'PyTorch' in calls:
      inputs['PyTorch'] = torch_batch(as_batch)
    for name, call in calls.items():
      begin = time.perf_counter()
      call(inputs[name])
      print(
        f'  batch {count}, {name}: first call '
        f'{time.perf_counter() - begin:.1f} s'
      )
    times = {name: [] for name in calls}
    for _ in range(arguments.repeats):
      for name, call in calls.items():
        begin = time.perf_counter()
        call(inputs[name])
        times[name].append(1e3 * (time.perf_counter() - begin))
    for name, taken in times.items():
      print(
        f'  batch {count}, {name:12} median '
        f'{statistics.median(taken):8.1f}, least {min(taken):8.1f}'
      )


if __name__ == '__main__':
  main()
