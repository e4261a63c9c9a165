"""Exports a whole try-on for serving: one program, weights, manifest.

  python -m viton_jax.export --checkpoint W1 --refine_checkpoint W2 --out_dir E
  python -m viton_jax.export --checkpoint W1 --refine_checkpoint W2 \\
      --out_dir E --format stablehlo,savedmodel,onnx,web

E can be called without Flax or TensorFlow, on CPUs, CUDA GPUs and TPUs, with
any batch size: see `viton_jax.serving.artifact` and docs/serving.md. It appears
under its name only after a fresh process has loaded it and given the live
model's images, for drawn people, to within 2 grey levels of 255. All of that
runs on this machine's CPU; no accelerator is needed.
"""

import argparse
import datetime
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

import jax
from jax import export
import numpy as np

from input_pipeline.sample import working_example
from input_pipeline.synthetic.pairs import render_pair
import viton_jax
from viton_jax import checkpoints, choices, engine, errors, networks
from viton_jax.checkpoints import Checkpoint, safetensors_files
from viton_jax.choices import Composition, DType
from viton_jax.errors import InputError
from viton_jax.geometry.device import REASONS
from viton_jax.io import storage
from viton_jax.representation import from_labels
from viton_jax.serving import artifact, onnx_runtime, programs, triton, web
from viton_jax.serving.programs import PLATFORMS

FORMATS = ('stablehlo', 'savedmodel', 'onnx', 'web', 'triton')
TOLERANCE = 2  # Grey levels of 255.
# The share of values that may differ by more: a pixel where the predicted mask
# is one half belongs to either region.
_MANY = 1e-3
# Another compiler rounds otherwise, and the matching then chooses other nearest
# points: a pair's control points, in [-1, 1], may be so far apart, and its
# images so many levels on average.
_SAME_POINTS, _NEAR_POINTS, _NEAR_LEVELS = 1e-3, 0.05, 1.0
_PAIRS = 3
_LICENCE = (
  'Code: Apache-2.0. The weights carry the terms of the data and of the '
  'checkpoints that they come from; know them before you pass this on.'
)


def parse_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog='python -m viton_jax.export',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add(
    '--checkpoint',
    help="a folder with both networks (the demo's, or what "
    '`python -m viton_jax.convert` or `export` wrote), or stage 1: its '
    'workdir, one step of it, or a .safetensors file (default: the networks '
    'that come with viton_jax)',
  )
  add('--refine_checkpoint', help='stage 2, where it lies elsewhere')
  add('--out_dir', required=True, help='folder to write; must not exist yet')
  add(
    '--format',
    default='stablehlo',
    metavar='LIST',
    help="'stablehlo' (always written), and as well: 'savedmodel' for "
    "TensorFlow Serving, 'onnx' for onnxruntime, 'web' for browsers, "
    "'triton' for NVIDIA Triton, with commas in between (default: %(default)s)",
  )
  add(
    '--onnxruntime_web',
    metavar='DIR|TGZ',
    help="for 'web': the npm package onnxruntime-web "
    f'{web.VERSION}, unpacked or as npm packs it (default: fetched with npm)',
  )
  add(
    '--dtype',
    default='float32',
    choices=('float32', 'bfloat16'),
    help='of the convolutions; weights stay float32 (default: %(default)s)',
  )
  add(
    '--composition',
    choices=choices.values_of(Composition),
    help="'changes': the photo stays where nothing changes; 'whole': VITON's "
    "own image (default: whole for fidelity 'original', else changes)",
  )
  add(
    '--licence',
    default=_LICENCE,
    metavar='TEXT',
    help='note for the manifest: on what terms the weights may be used',
  )
  return parser.parse_args()


def main() -> int:
  arguments = parse_arguments()
  errors.clean_up_on_sigterm()
  formats = arguments.format.split(',')
  for name in formats:
    if name not in FORMATS:
      raise InputError(
        f'--format {arguments.format}: {name!r} is unknown; give a list of '
        f'{", ".join(FORMATS)}.'
      )
  if 'savedmodel' in formats and not importlib.util.find_spec('tensorflow'):
    raise InputError(
      f'--format {arguments.format}: a savedmodel is written by TensorFlow, '
      'which is not installed; install tensorflow-cpu or leave it out.'
    )
  if {'onnx', 'web'} & set(formats):
    check_onnx(arguments)
  if 'web' in formats:
    web_files = web.runtime_files(arguments.onnxruntime_web)
  out_dir = pathlib.Path(arguments.out_dir).absolute()
  if out_dir.exists():
    raise InputError(
      f'{out_dir}: exists already; give another --out_dir, or remove it.'
    )
  jax.config.update('jax_platforms', 'cpu')
  begin = time.monotonic()
  pair = checkpoints.read_pair(
    arguments.checkpoint, arguments.refine_checkpoint
  )
  composing = arguments.composition or networks.default_composition(
    pair[0].fidelity
  )
  try:
    with storage.partial_folder(out_dir) as folder:
      partial = folder / out_dir.name
      partial.mkdir()
      write(
        partial,
        pair,
        dtype=arguments.dtype,
        composing=composing,
        licence=arguments.licence,
      )
      written = time.monotonic()
      print(f'exported in {written - begin:.1f} s')
      batch, live = try_on_live(arguments, pair[0], composing)
      compare(live, run_fresh(partial, batch), 'stablehlo, fresh process')
      if 'savedmodel' in formats:
        from viton_jax.serving import saved_model  # Needs TensorFlow.

        saved_model.write(
          partial, pair, dtype=arguments.dtype, composing=composing
        )
        tried = saved_model.check(partial, batch)
        compare(live, tried, 'SavedModel, TensorFlow')
      if 'onnx' in formats:
        from viton_jax.serving import onnx_files  # Needs ONNX.

        onnx_files.write(partial, pair, composing=composing)
        tried = onnx_runtime.run_alone(partial / onnx_runtime.NAME, batch)
        compare(live, tried, 'ONNX, onnxruntime alone')
      if 'web' in formats:
        web.write(partial, pair, web_files, composing=composing)
        tried = [
          onnx_runtime.run_alone(
            partial / web.FOLDER / onnx_runtime.NAME,
            {name: value[i : i + 1] for name, value in batch.items()},
          )
          for i in range(_PAIRS)
        ]
        compare(live, engine.join(tried), 'web, onnxruntime alone')
      if 'triton' in formats:
        triton.write(partial)
      write_manifest_files(partial)
      os.replace(partial, out_dir)
  except OSError as error:
    raise InputError(
      f'{out_dir}: cannot be written ({error.strerror or error}); give '
      'another --out_dir.'
    ) from error
  print_table(out_dir)
  print(f'{out_dir}: done in {time.monotonic() - begin:.0f} s')
  return errors.EXIT_OK


def write(
  folder: pathlib.Path,
  pair: tuple[Checkpoint, Checkpoint],
  *,
  dtype: DType,
  composing: Composition,
  licence: str,
) -> None:
  """Writes program, weights and a manifest that lacks the comparison.

  Args:
    folder: an empty one.
    pair: encoder-decoder and refinement network.
    dtype: 'float32' or 'bfloat16', of the convolutions.
    composing: see `networks.pure_steps`.
    licence: note for the manifest.
  """
  first, _ = pair
  inputs = programs.describe_inputs(first.size)
  weights = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), programs.weights_of(*pair)
  )
  function = programs.function(*pair, dtype=dtype, composing=composing)
  exported = export.export(jax.jit(function), platforms=PLATFORMS)(
    weights, programs.abstract_inputs(inputs)
  )
  file = f'{programs.NAME}.stablehlo'
  (folder / file).write_bytes(exported.serialize())
  files = {}
  parts = programs.with_flow(*pair)
  for network in parts:
    files[network.network] = f'{network.network}.safetensors'
    safetensors_files.write(network, folder / files[network.network])
  h, w = first.size
  storage.write_json(
    folder / artifact.MANIFEST,
    {
      'format': artifact.FORMAT,
      'format_version': artifact.FORMAT_VERSION,
      'created': datetime.datetime.now(datetime.UTC).isoformat('T', 'seconds'),
      'fidelity': first.fidelity,
      'height': h,
      'width': w,
      'dtype': dtype,
      'composition': composing,
      'platforms': list(PLATFORMS),
      'inputs': inputs,
      'reasons': list(REASONS),
      'program': {
        'file': file,
        'weights': files,
        'steps': {network.network: network.step for network in parts},
        'features': {network.network: network.features for network in parts},
        'outputs': output_specs(exported),
        'calling_convention': exported.calling_convention_version,
      },
      'calling': (
        'jax.export.deserialize(program).call({network: weights}, {name: '
        'array}); the weights are trees by the parts of their names. reason is '
        'an index into reasons: why a pair could not be matched.'
      ),
      'versions': {
        name: importlib.metadata.version(name)
        for name in ('jax', 'jaxlib', 'flax', 'numpy')
      }
      | {
        'viton_jax': viton_jax.__version__,
        'python': platform.python_version(),
      },
      'licence': licence,
    },
  )
  write_manifest_files(folder)


def output_specs(exported: export.Exported) -> dict[str, dict]:
  tree = jax.tree.unflatten(exported.out_tree, exported.out_avals)
  return {
    name: {
      'shape': [str(aval.shape[0]), *aval.shape[1:]],
      'dtype': aval.dtype.name,
    }
    for name, aval in tree.items()
  }


def write_manifest_files(folder: pathlib.Path) -> None:
  """Notes size and SHA-256 of every file of the folder in its manifest."""
  manifest = artifact.read_manifest(folder)
  manifest['files'] = {
    str(path.relative_to(folder)): {
      'bytes': path.stat().st_size,
      'sha256': artifact.digest(path.read_bytes()),
    }
    for path in sorted(folder.rglob('*'))
    if path.is_file() and path.name != artifact.MANIFEST
  }
  storage.write_json(folder / artifact.MANIFEST, manifest)


def drawn_batch(size: tuple[int, int]) -> dict[str, np.ndarray]:
  """The program's inputs for drawn people in each other's garments."""
  height, width = size
  examples = []
  for i in range(1, _PAIRS + 1):
    pair = render_pair(7, i, 256, garment_index=_PAIRS + i)
    sample = pair.sample(f'drawn person {i}', f'drawn garment {_PAIRS + i}')
    examples.append(
      working_example(sample, height=height, width=width, fidelity='fixed')
    )
  names = programs.describe_inputs(size)
  return {name: np.stack([x[name] for x in examples]) for name in names}


def try_on_live(
  arguments: argparse.Namespace, first: Checkpoint, composing: Composition
) -> tuple[dict, engine.TryOnBatch]:
  """The comparison's batch, and the live model's try-on of it as uint8.

  Raises:
    InputError: the live model gives what is no number.
  """
  batch = drawn_batch(first.size)
  try_on = networks.load(
    arguments.checkpoint,
    arguments.refine_checkpoint,
    dtype=arguments.dtype,
    composing=composing,
    matching='device',
  )
  made = from_labels(
    batch['parse'], batch['keypoints'], fidelity=first.fidelity
  )
  made = {name: np.asarray(value) for name, value in made.items()}
  tried = try_on({**batch, **made})
  for name in engine.RANGES:
    # As levels a NaN would be black.
    if not np.isfinite(getattr(tried, name)).all():
      raise InputError(
        f'--checkpoint: the networks give {name} that is not finite; give '
        'another checkpoint.'
      )
  return batch, engine.levels_of(tried)


def run_fresh(folder: pathlib.Path, batch: dict) -> engine.TryOnBatch:
  """Calls the exported try-on in a new process."""
  root = pathlib.Path(viton_jax.__file__).parents[1]
  # Beside the folder: what is left by a process that is killed goes with it.
  with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
    inputs, outputs = (pathlib.Path(scratch, f'{x}.npz') for x in 'io')
    np.savez(inputs, **batch)
    done = subprocess.run(
      [
        *(sys.executable, '-m', 'viton_jax.serving.artifact', str(folder)),
        *('--inputs', str(inputs), '--outputs', str(outputs)),
      ],
      cwd=root,
      env=os.environ | {'JAX_PLATFORMS': 'cpu'},
      capture_output=True,
      text=True,
      check=False,
    )
    if done.returncode not in (errors.EXIT_OK, errors.EXIT_SOME_FAILED):
      raise RuntimeError(f'the exported try-on does not run:\n{done.stderr}')
    tried = artifact.read_npz(outputs)
  failures = [str(x) or None for x in tried.pop('failures')]
  return engine.TryOnBatch(**tried, failures=failures)


def check_onnx(arguments: argparse.Namespace) -> None:
  """Raises InputError where no ONNX file can be written."""
  for name in ('onnx', 'onnxruntime'):
    if not importlib.util.find_spec(name):
      raise InputError(
        f'--format {arguments.format}: needs {name}, which is not installed; '
        "type pip install 'viton_jax[onnx_export]'."
      )
  if arguments.dtype != 'float32':
    raise InputError(
      f'--dtype {arguments.dtype}: ONNX files are float32; leave it out, or '
      'leave onnx and web out of --format.'
    )


def compare(
  live: engine.TryOnBatch, tried: engine.TryOnBatch, what: str
) -> None:
  """Prints how far the images of two try-ons are apart.

  Raises:
    RuntimeError: by more than `TOLERANCE`, or more than another nearest point
      explains, which would be a defect of ours.
  """
  matched = sum(reason is None for reason in live.failures)
  print(
    f'{what}, against the live model ({len(live.failures)} drawn pairs, '
    f'{matched} matched), grey levels of 255:'
  )
  points = np.abs(live.control_points - tried.control_points).max((1, 2))
  same = points <= _SAME_POINTS
  worst, mean = 0.0, 0.0
  for name in engine.RANGES:
    values = (getattr(one, name).astype(int) for one in (live, tried))
    apart = np.abs(np.subtract(*values))
    worst = max(worst, (apart[same] > TOLERANCE).mean() if same.any() else 0.0)
    mean = max(mean, apart.mean((1, 2, 3)).max())
    print(
      f'  {name:9} largest difference {apart.max()}, '
      f'{100 * (apart > 0).mean():.3f} % of values differ'
    )
  print(f'  control points up to {points.max():.1g} apart, of -1 to 1')
  if (
    worst > _MANY
    or mean > _NEAR_LEVELS
    or points.max() > _NEAR_POINTS
    or live.failures != tried.failures
  ):
    raise RuntimeError(
      f'{what}: {100 * worst:.2f} % of values differ from the live model by '
      f'more than {TOLERANCE} of 255, {mean:.2f} on average at most; nothing '
      'was written.'
    )


def print_table(folder: pathlib.Path) -> None:
  files = artifact.read_manifest(folder)['files']
  for name, entry in files.items():
    print(f'  {name:40} {entry["bytes"] / 2**20:8.1f} MiB')
  total = sum(entry['bytes'] for entry in files.values())
  print(f'  {"all":40} {total / 2**20:8.1f} MiB')


if __name__ == '__main__':
  errors.run(main)
