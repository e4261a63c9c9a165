"""Runs the ONNX file of an export in onnxruntime, as `artifact` its program.

  python -m viton_jax.serving.onnx_runtime exported --inputs batch.npz \\
      --outputs tried.npz
"""

from collections.abc import Mapping
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

from viton_jax import engine, errors
from viton_jax.errors import InputError
from viton_jax.geometry.device import REASONS
from viton_jax.serving import artifact

NAME = 'try_on.onnx'
_ALONE = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(
  sys.argv[1], providers=['CPUExecutionProvider'])
names = [x.name for x in session.get_outputs()]
arrays = session.run(names, dict(numpy.load(sys.argv[2])))
assert 'jax' not in sys.modules
numpy.savez(sys.argv[3], **dict(zip(names, arrays)))
"""


def load(path: str | pathlib.Path) -> artifact.TryOnArtifact:
  """The try-on that the ONNX file of an export makes, on CPUs.

  Args:
    path: the folder of the export.

  Raises:
    InputError: no such folder or file, it was changed, or no onnxruntime.
  """
  folder = pathlib.Path(path)
  manifest = artifact.read_manifest(folder)
  artifact.check_manifest(folder / artifact.MANIFEST, manifest)
  if NAME not in manifest['files']:
    raise InputError(
      f'{folder}: has no {NAME}; export again with --format stablehlo,onnx.'
    )
  session = _session(
    folder / NAME, artifact.read_checked(folder, NAME, manifest)
  )
  names = [x.name for x in session.get_outputs()]
  wanted = {*engine.ARRAYS, 'reason'}
  # Of earlier versions there are files without.
  missing = wanted - {*names, 'correction'}
  if {x.name for x in session.get_inputs()} != set(manifest['inputs']) or (
    missing or set(names) - wanted
  ):
    raise InputError(
      f'{folder / NAME}: has other inputs or outputs than a try-on; copy the '
      'exported folder again.'
    )

  def whole(batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
    given = {name: np.asarray(batch[name]) for name in manifest['inputs']}
    try:
      arrays = session.run(names, given)
    except Exception as error:  # See `_session`.
      raise _unusable(folder / NAME, error) from error
    return dict(zip(names, arrays, strict=True))

  return artifact.TryOnArtifact(
    path=folder,
    manifest=manifest,
    program=engine.TryOn(
      size=(manifest['height'], manifest['width']),
      fidelity=manifest['fidelity'],
      run=engine.match_on_device(whole, manifest['reasons']),
    ),
  )


def run_alone(
  path: pathlib.Path, batch: Mapping[str, np.ndarray]
) -> engine.TryOnBatch:
  """Calls an ONNX file of ours in a process of onnxruntime and NumPy alone.

  Args:
    path: the file.
    batch: all arrays that it takes.

  Raises:
    RuntimeError: it does not run, which would be a defect of ours.
  """
  with tempfile.TemporaryDirectory() as scratch:
    inputs, outputs = (pathlib.Path(scratch, f'{x}.npz') for x in 'io')
    np.savez(inputs, allow_pickle=False, **batch)
    done = subprocess.run(
      [sys.executable, '-c', _ALONE, str(path), str(inputs), str(outputs)],
      cwd=scratch,
      capture_output=True,
      text=True,
      check=False,
    )
    if done.returncode != errors.EXIT_OK:
      raise RuntimeError(f'the ONNX file does not run:\n{done.stderr}')
    tried = artifact.read_npz(outputs)
  failures = [REASONS[i] for i in tried.pop('reason')]
  return engine.TryOnBatch(**tried, failures=failures)


def _session(path: pathlib.Path, data: bytes):
  try:
    import onnxruntime  # An extra of this package, and slow to import.
  except ImportError as error:
    raise InputError(
      f'{path}: ONNX files need onnxruntime, which is not installed; install '
      'onnxruntime.'
    ) from error
  options = onnxruntime.SessionOptions()
  options.log_severity_level = 3  # Errors and worse.
  try:
    return onnxruntime.InferenceSession(
      data, options, providers=['CPUExecutionProvider']
    )
  # onnxruntime has a dozen exceptions for a damaged file, without a common
  # class of their own.
  except Exception as error:
    raise _unusable(path, error) from error


def _unusable(path: pathlib.Path, error: Exception) -> InputError:
  return InputError(
    f'{path}: onnxruntime cannot run it ({errors.shown(error)}); export again.'
  )


if __name__ == '__main__':
  errors.run(lambda: artifact.main(load))
