"""Loads an exported try-on and calls it, without Flax, Orbax or TensorFlow.

  from viton_jax.serving import artifact

  try_on = artifact.load('exported')
  tried = try_on({
      'person': person, 'garment': garment, 'garment_mask': garment_mask,
      'keypoints': keypoints, 'parse': parse,
  })
  tried.output    # (b, h, w, 3) uint8

or, from arrays in a file to arrays in a file:

  python -m viton_jax.serving.artifact exported --inputs batch.npz \\
      --outputs tried.npz

`python -m viton_jax.export` writes the folder; docs/serving.md says what is in
it and what must be installed. `engine.TryOn` runs its program as it runs the
networks of checkpoints.
"""

import argparse
from collections.abc import Callable, Mapping
import dataclasses
import hashlib
import pathlib
import sys
import time
from typing import Any

import jax
from jax import export
import numpy as np
from safetensors import SafetensorError
import safetensors.numpy

from viton_jax import choices, engine, errors
from viton_jax.choices import Fidelity
from viton_jax.errors import InputError
from viton_jax.io import files, finite, npz, storage, structured
from viton_jax.representation import from_labels

FORMAT = 'viton_jax try-on'
FORMAT_VERSION = 3
# Versions 1 and 2 have two programs, between which the host matches; version 1
# knew VITON's own composition alone.
_READ_VERSIONS = (1, 2, 3)
MANIFEST = 'manifest.json'
_MAX_SIDE = 1 << 14


@dataclasses.dataclass(frozen=True)
class TryOnArtifact:
  """A try-on that was exported; call it with a dict of arrays.

  Attributes:
    path: its folder.
    manifest: what manifest.json says.
    program: to be called with all inputs.
  """

  path: pathlib.Path
  manifest: dict[str, Any]
  program: engine.TryOn

  @property
  def size(self) -> tuple[int, int]:
    """(height, width) of all images."""
    return self.program.size

  @property
  def fidelity(self) -> Fidelity:
    """'fixed' or 'original'."""
    return self.program.fidelity

  def __call__(self, inputs: Mapping[str, np.ndarray]) -> engine.TryOnBatch:
    """Tries on b pairs.

    The batch is filled up to 1, 2, 4, 8, ... pairs, so that XLA compiles for
    few sizes; the first call of each takes seconds.

    Args:
      inputs: the arrays that `manifest['inputs']` describes. Where that is from
        before format version 3, `parse` (b, h, w) uint8, LIP-20 labels, may
        stand for `head_mask`, `body` and `pose_limit`.

    Returns:
      The try-on, images as uint8.

    Raises:
      InputError: an array is missing or has a wrong shape, dtype or value.
    """
    return self.program(self.checked(inputs))

  def checked(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays that the program needs, after all checks."""
    return checked_inputs(self.manifest, inputs)


def load(path: str | pathlib.Path, *, max_batch: int = 32) -> TryOnArtifact:
  """Loads what `python -m viton_jax.export` wrote.

  Every file is compared with its SHA-256 in the manifest before it is used.

  Args:
    path: the folder.
    max_batch: larger batches are cut into pieces of this size.

  Raises:
    InputError: no such folder, a file is missing or was changed, or this JAX
      cannot read it.
  """
  path = pathlib.Path(path)
  manifest = read_manifest(path)
  check_manifest(path / MANIFEST, manifest)
  platform = {'gpu': 'cuda'}.get(jax.default_backend(), jax.default_backend())
  if platform not in manifest['platforms']:
    raise InputError(
      f'{path}: was exported for {", ".join(manifest["platforms"])}, but '
      f'JAX runs on {platform} here; set JAX_PLATFORMS=cpu.'
    )
  return TryOnArtifact(
    path=path,
    manifest=manifest,
    program=engine.TryOn(
      size=(manifest['height'], manifest['width']),
      fidelity=manifest['fidelity'],
      run=_runner(path, manifest),
      max_batch=engine.bucket(max_batch),
    ),
  )


def _runner(path, manifest):
  """`engine.TryOn.run` of an exported folder."""
  if manifest['format_version'] >= 3:
    program = manifest['program']
    weights = {
      name: _weights(path, file, manifest)
      for name, file in program['weights'].items()
    }
    whole = _program(path, program, list(manifest['inputs']), weights, manifest)
    return engine.match_on_device(whole, manifest['reasons'])
  halves = [
    _program(
      path,
      program,
      program['inputs'],
      _weights(path, program['weights'], manifest),
      manifest,
    )
    for program in (manifest['programs'][x] for x in ('coarse', 'refine'))
  ]
  return engine.match_on_host(*halves, fidelity=manifest['fidelity'])


def _weights(path, file, manifest):
  return read_weights(read_checked(path, file, manifest), path / file)


def _program(path, program, wanted, weights, manifest):
  """A function from a batch to what a program makes of it, on the device."""
  code = read_checked(path, program['file'], manifest)
  try:
    exported = export.deserialize(bytearray(code))
  except Exception as error:  # Flatbuffers and MLIR have their own kinds.
    reason = str(error).splitlines()[0] if str(error) else type(error)
    raise InputError(
      f'{path / program["file"]}: JAX {jax.__version__} cannot read what '
      f'JAX {manifest["versions"]["jax"]} exported ({reason}); export '
      'again with a JAX of about the same age.'
    ) from error
  call = jax.jit(exported.call)
  weights = jax.device_put(weights)
  _check_program(path / program['file'], exported, weights, manifest)
  return lambda batch: call(weights, {key: batch[key] for key in wanted})


def _check_program(file, exported, weights, manifest) -> None:
  """Raises InputError where a program does not take these weights."""
  given = jax.tree.map(lambda x: (tuple(x.shape), x.dtype), weights)
  arguments, _ = jax.tree.unflatten(exported.in_tree, exported.in_avals)[0]
  due = jax.tree.map(lambda x: (tuple(x.shape), x.dtype), arguments)
  if given != due:
    raise InputError(
      f'{file}: takes other weights than lie beside it; copy the exported '
      'folder again.'
    )


def read_weights(data: bytes, path: pathlib.Path) -> dict[str, Any]:
  """A tree of arrays from tensors named by their place, 'params/a/kernel'.

  Args:
    data: a safetensors file.
    path: where it lies, for the message of an error.

  Raises:
    InputError: not such a file, or a damaged one.
  """
  try:
    flat = safetensors.numpy.load(data)
    tree: dict[str, Any] = {}
    for place, value in flat.items():
      *folders, leaf = place.split('/')
      branch = tree
      for folder in folders:
        branch = branch.setdefault(folder, {})
      if branch.setdefault(leaf, value) is not value:
        raise ValueError(f'{leaf} is there twice')
  # KeyError: a type that NumPy has not; the others: a place within an array.
  except (
    SafetensorError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
  ) as error:
    raise InputError(
      f'{path}: cannot be read as safetensors ({errors.shown(error)}); export '
      'again.'
    ) from error
  finite.check(flat.items(), path, remedy='export again.')
  return tree


def read_manifest(path: pathlib.Path) -> dict[str, Any]:
  """Reads and checks manifest.json of an exported folder."""
  file = path / MANIFEST
  manifest = structured.read_object(
    file,
    'manifest',
    remedy='give a folder that `python -m viton_jax.export` wrote.',
  )
  if (
    manifest.get('format') != FORMAT
    or manifest.get('format_version') not in _READ_VERSIONS
  ):
    raise InputError(
      f'{file}: is not a {FORMAT} of version {FORMAT_VERSION}; export again '
      'with this version of viton_jax.'
    )
  return manifest


def check_manifest(file: pathlib.Path, manifest: dict[str, Any]) -> None:
  """Raises InputError unless a manifest has what loading needs of it."""
  try:
    sides = [manifest[x] for x in ('height', 'width')]
    entries = [*manifest['inputs'].values()]
    if manifest['format_version'] >= 3:
      program = manifest['program']
      files_of_programs = [program['file'], *program['weights'].values()]
      reasons = manifest['reasons']
      of_version = isinstance(reasons, list) and all(
        x is None or isinstance(x, str) for x in reasons
      )
    else:
      programs = [manifest['programs'][x] for x in ('coarse', 'refine')]
      files_of_programs = [x[k] for x in programs for k in ('file', 'weights')]
      instead = manifest['from_parse']
      entries.append({'range': [0, 0]} | instead)
      of_version = set(instead['replaces']) <= manifest['inputs'].keys()
      of_version &= all(isinstance(x['inputs'], list) for x in programs)
    sound = (
      all(type(x) is int and 16 <= x <= _MAX_SIDE for x in sides)
      and manifest['fidelity'] in choices.values_of(Fidelity)
      and all(isinstance(x, str) for x in manifest['platforms'])
      and all(
        np.dtype(x['dtype']).kind in 'uif'
        and all(type(n) in (int, str) for n in x['shape'])
        and all(isinstance(n, int | float) for n in x['range'])
        and len(x['range']) == 2
        and isinstance(x['what'], str)
        for x in entries
      )
      and all(x in manifest['inputs'] for x in ('person', 'garment_mask'))
      and of_version
      and isinstance(manifest['versions']['jax'], str)
      and isinstance(manifest['files'], dict)
      and all(
        isinstance(x, str) and x in manifest['files'] for x in files_of_programs
      )
      and all(
        isinstance(x['sha256'], str)
        and pathlib.PurePath(name).parts
        and '..' not in pathlib.PurePath(name).parts
        and not pathlib.PurePath(name).is_absolute()
        for name, x in manifest['files'].items()
      )
    )
  except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
    raise InputError(
      f'{file}: is damaged ({type(error).__name__}: {errors.shown(error)}); '
      'copy the exported folder again.'
    ) from error
  if not sound:
    raise InputError(f'{file}: is damaged; copy the exported folder again.')


def read_checked(
  path: pathlib.Path, name: str, manifest: dict[str, Any]
) -> bytes:
  """The bytes of an exported file, if they are what the manifest says."""
  data = files.read(
    path / name,
    'exported file',
    limit=files.MAX_MODEL_BYTES,
    remedy='copy the exported folder again.',
  )
  if digest(data) != manifest['files'][name]['sha256']:
    raise InputError(
      f'{path / name}: its SHA-256 is not the one in {MANIFEST}, so it was '
      'changed or damaged; copy the exported folder again.'
    )
  return data


def digest(data: bytes) -> str:
  return hashlib.sha256(data).hexdigest()


def checked_inputs(
  manifest: dict[str, Any], inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Checks a batch against a manifest; completes an old one's from `parse`.

  Returns:
    All arrays of `manifest['inputs']`.

  Raises:
    InputError: an array is missing or has a wrong shape, dtype or value.
  """
  specs = manifest['inputs']
  inputs = {name: np.asarray(value) for name, value in inputs.items()}
  instead = manifest.get('from_parse')  # Of two programs alone.
  from_parse = (
    instead is not None
    and 'parse' in inputs
    and not any(name in inputs for name in instead['replaces'])
  )
  if instead and from_parse:
    names = [name for name in specs if name not in instead['replaces']]
    specs = {name: specs[name] for name in names} | {'parse': instead}
  count = None
  for name, spec in specs.items():
    if name not in inputs:
      raise InputError(
        f'{name} is missing; give an array of {spec["dtype"]} of shape '
        f'{_shape(spec)}: {spec["what"]}.'
      )
    value = inputs[name]
    shape, due = value.shape, tuple(spec['shape'][1:])
    if value.dtype != spec['dtype'] or shape[1:] != due or not shape[0]:
      raise InputError(
        f'{name} is {value.dtype} of shape {shape}; give {spec["dtype"]} of '
        f'shape {_shape(spec)}: {spec["what"]}.'
      )
    if count not in (None, len(value)):
      raise InputError(
        f'{name} is for {len(value)} pairs, the arrays before it for '
        f'{count}; give as many of each.'
      )
    count = len(value)
    low, high = spec['range']
    if not (value.min() >= low and value.max() <= high):  # NaN fails too.
      raise InputError(
        f'{name} goes from {value.min()} to {value.max()}; it must lie '
        f'within {low:g} and {high:g}: {spec["what"]}.'
      )
  if from_parse:
    made = from_labels(
      inputs['parse'], inputs['keypoints'], fidelity=manifest['fidelity']
    )
    inputs |= {name: np.asarray(value) for name, value in made.items()}
  return {name: inputs[name] for name in manifest['inputs']}


def _shape(spec):
  return f'({", ".join(map(str, spec["shape"]))})'


def read_npz(path: str | pathlib.Path) -> dict[str, np.ndarray]:
  """The arrays of an .npz file; nothing in it can run code.

  Raises:
    InputError: it is missing, damaged, or holds more than 4 GB.
  """
  return npz.read(path, remedy='write it with numpy.savez.')


def parse_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    # `onnx_runtime` has the same arguments.
    prog=f'python -m viton_jax.serving.{pathlib.Path(sys.argv[0]).stem}',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add('path', help='folder that `python -m viton_jax.export` wrote')
  add(
    '--inputs',
    required=True,
    metavar='NPZ',
    help='arrays by the names of the manifest, see numpy.savez',
  )
  add('--outputs', required=True, metavar='NPZ', help='where results go')
  return parser.parse_args()


def main(opened: Callable[[str], TryOnArtifact] = load) -> int:
  arguments = parse_arguments()
  errors.clean_up_on_sigterm()
  begin = time.monotonic()
  try_on = opened(arguments.path)
  loaded = time.monotonic()
  tried = try_on(read_npz(arguments.inputs))
  arrays = dataclasses.asdict(tried)
  arrays['failures'] = np.array([reason or '' for reason in tried.failures])
  with (
    storage.partial_file(pathlib.Path(arguments.outputs)) as partial,
    partial.open('wb') as file,
  ):
    np.savez(file, **arrays)
  failed = [reason for reason in tried.failures if reason]
  for reason in failed:
    print(f'not matched: {reason}')
  print(
    f'{len(tried.output)} pairs, {len(failed)} failed, on '
    f'{jax.devices()[0].device_kind}: loaded in {loaded - begin:.1f} s, '
    f'compiled and run in {time.monotonic() - loaded:.1f} s'
  )
  return errors.EXIT_SOME_FAILED if failed else errors.EXIT_OK


if __name__ == '__main__':
  errors.run(main)
