"""Readers of folders: one file of each is damaged, the others are sound."""

from collections.abc import Callable
import io
import pathlib
import shutil
import zlib

import h5py
import jax
import jax.export
import numpy as np

from viton_jax import checkpoints
from viton_jax.checkpoints import tensorflow1
from viton_jax.io import hdf5
from viton_jax.serving import artifact

_HERE = pathlib.Path(__file__).parent
_TF1 = _HERE.parent / 'goldens' / 'tf1_stage2_ngf8'
ORBAX = _HERE / 'sound_orbax'


def _beside(path: pathlib.Path, sound: pathlib.Path, name: str):
  """A copy of a sound folder, one file of which has the content of `path`."""
  folder = path.with_suffix('.folder')
  shutil.rmtree(folder, ignore_errors=True)
  shutil.copytree(sound, folder, copy_function=_link)
  place = folder / name
  place.unlink()
  shutil.copy(path, place)
  return folder


def _link(source: str, target: str) -> None:
  pathlib.Path(target).symlink_to(source)


def _sum(tree) -> int:
  flat, _ = jax.tree_util.tree_flatten_with_path(tree)
  text = repr([(jax.tree_util.keystr(k), v.tobytes()) for k, v in flat])
  return zlib.crc32(text.encode())


def tf1(name: str) -> Callable[[pathlib.Path], int]:
  """Reads the TensorFlow 1 checkpoint with a file of this name replaced."""

  def read(path):
    folder = _beside(path, _TF1, name)
    found = tensorflow1.read_tf1(folder)
    return _sum({x: y.variables for x, y in found.items()})

  return read


def tf1_file(name: str) -> bytes:
  return (_TF1 / name).read_bytes()


def orbax_names() -> list[str]:
  """Every file of the sound Orbax checkpoint that reading looks at."""
  names = sorted(
    str(x.relative_to(ORBAX)) for x in ORBAX.rglob('*') if x.is_file()
  )
  return [x for x in names if 'commit_success' not in x and x[:1] != '.']


def orbax(name: str) -> Callable[[pathlib.Path], int]:
  def read(path):
    folder = _beside(path, ORBAX, name)
    return _sum(checkpoints.read(folder, 'refinement').variables)

  return read


def keras() -> bytes:
  """Arrays in groups, one of them compressed."""
  buffer = io.BytesIO()
  rng = np.random.default_rng(0)
  with h5py.File(buffer, 'w', track_order=True) as file:
    for layer in ('conv1', 'conv2'):
      group = file.create_group(f'model_weights/{layer}/{layer}')
      group['kernel:0'] = rng.normal(size=(3, 3, 2, 4)).astype('f4')
      group.create_dataset('bias:0', data=np.ones(64), compression='gzip')
  return buffer.getvalue()


def read_keras(path: pathlib.Path) -> None:
  hdf5.read(path, lambda name: name.endswith(':0'))


_WEIGHTS = {'net': {'kernel': np.ones((3, 2), np.float32)}}


def program() -> bytes:
  """A small program of weights and a batch of any size."""

  def run(weights, batch):
    return {'output': batch['person'] @ weights['net']['kernel']}

  (size,) = jax.export.symbolic_shape('b')
  person = jax.ShapeDtypeStruct((size, 3), np.float32)
  exported = jax.export.export(jax.jit(run), platforms=('cpu',))(
    jax.eval_shape(lambda: _WEIGHTS), {'person': person}
  )
  return bytes(exported.serialize())


def read_program(path: pathlib.Path) -> None:
  """With the sum in the manifest put right: a stranger can do that."""
  data = path.read_bytes()
  manifest = {
    'files': {path.name: {'sha256': artifact.digest(data), 'bytes': len(data)}},
    'versions': {'jax': jax.__version__},
  }
  artifact._program(
    path.parent, {'file': path.name}, ['person'], _WEIGHTS, manifest
  )
