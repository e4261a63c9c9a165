"""The try-on as a SavedModel, for TensorFlow Serving.

The one file of serving that imports TensorFlow. Two signatures of the arrays of
`programs.describe_inputs`, any number of pairs:

    serving_default  -> output, control_points and reason
    images           -> all that `programs.function` gives

They are one program: what a client does not ask for is not sent.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import pathlib

import jax

# JAX has no public way to leave shape assertions out.
from jax._src.export import shape_poly
from jax.experimental import jax2tf
import numpy as np
import tensorflow as tf

from viton_jax import engine
from viton_jax.checkpoints import Checkpoint
from viton_jax.choices import Composition, DType
from viton_jax.errors import InputError
from viton_jax.serving import artifact, programs

FOLDER = 'savedmodel'
_VERSION = '1'  # TensorFlow Serving serves the largest number.
_BATCHING = """\
# tensorflow_model_server --enable_batching --batching_parameters_file=THIS
max_batch_size { value: 8 }
# XLA compiles for each size, so there are few.
allowed_batch_sizes: 1
allowed_batch_sizes: 2
allowed_batch_sizes: 4
allowed_batch_sizes: 8
batch_timeout_micros { value: 5000 }
num_batch_threads { value: 2 }
max_enqueued_batches { value: 64 }
"""


class _Module(tf.Module):
  """What is saved: the networks' weights and the signatures."""

  weights: dict
  images: Callable
  try_on: Callable


def write(
  folder: pathlib.Path,
  networks: tuple[Checkpoint, Checkpoint],
  *,
  dtype: DType,
  composing: Composition,
) -> None:
  """Writes savedmodel/1 and batching_parameters.txt into `folder`.

  Args:
    folder: of the export.
    networks: encoder-decoder and refinement network.
    dtype: 'float32' or 'bfloat16', of the convolutions.
    composing: see `networks.pure_steps`.
  """
  specs = programs.describe_inputs(networks[0].size)
  module = _Module()
  module.weights = jax.tree.map(tf.Variable, programs.weights_of(*networks))
  shapes = {
    name: f'({", ".join(map(str, spec["shape"]))})'
    for name, spec in specs.items()
  }
  converted = jax2tf.convert(
    programs.function(*networks, dtype=dtype, composing=composing),
    # A dict of shapes for a dict of arrays, as its documentation has it.
    polymorphic_shapes=[None, shapes],  # pyright: ignore[reportArgumentType]
    with_gradient=False,
    native_serialization_platforms=programs.PLATFORMS,
  )
  with _without_shape_assertions():
    module.images = _signature(
      lambda **arrays: converted(module.weights, arrays), specs
    )

  def try_on(**arrays):
    # Calls the other signature, so that the program is stored once.
    images = module.images(**arrays)
    return {x: images[x] for x in ('output', 'control_points', 'reason')}

  module.try_on = _signature(try_on, specs)
  tf.saved_model.save(
    module,
    str(folder / FOLDER / _VERSION),
    signatures={'images': module.images, 'serving_default': module.try_on},
  )
  (folder / 'batching_parameters.txt').write_text(_BATCHING)


@contextlib.contextmanager
def _without_shape_assertions() -> Iterator[None]:
  """Programs traced inside do not check that arrays have one batch size.

  JAX from 0.12 on writes this check in a form that TensorFlow 2.21 cannot read.
  TensorFlow itself checks every other dimension by the signature, and refuses
  different batch sizes where arrays meet.
  """
  original = shape_poly.shape_assertion
  shape_poly.shape_assertion = lambda *_, **__: None
  try:
    yield
  finally:
    shape_poly.shape_assertion = original


def _signature(function, specs):
  return tf.function(function, autograph=False).get_concrete_function(
    **{
      name: tf.TensorSpec([None, *spec['shape'][1:]], spec['dtype'], name=name)
      for name, spec in specs.items()
    }
  )


def check(
  folder: pathlib.Path, batch: Mapping[str, np.ndarray]
) -> engine.TryOnBatch:
  """Loads the SavedModel and calls both signatures.

  Args:
    folder: of the export.
    batch: the arrays of the manifest's inputs.

  Returns:
    The try-on of `batch` by `images`.

  Raises:
    InputError: see `load`.
    RuntimeError: `serving_default` gives another picture.
  """
  tried = load(folder)(batch)
  answer = _read(folder).signatures['serving_default'](
    **{name: tf.constant(value) for name, value in batch.items()}
  )
  apart = answer['output'].numpy().astype(int) - tried.output.astype(int)
  if np.abs(apart).max() > 1:
    raise RuntimeError('serving_default and images differ')
  return tried


def load(folder: pathlib.Path) -> engine.TryOn:
  """Loads the SavedModel; the try-on that its signature `images` makes.

  Args:
    folder: of the export.

  Raises:
    InputError: no such folder, or a file of it is missing or was changed.
  """
  manifest = artifact.read_manifest(folder)
  for name in manifest['files']:
    if name.startswith(f'{FOLDER}/'):
      artifact.read_checked(folder, name, manifest)
  loaded = _read(folder)

  def whole(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    given = {name: tf.constant(batch[name]) for name in manifest['inputs']}
    images = loaded.signatures['images'](**given)
    return {x: value.numpy() for x, value in images.items()}

  return engine.TryOn(
    size=(manifest['height'], manifest['width']),
    fidelity=manifest['fidelity'],
    run=engine.match_on_device(whole, manifest['reasons']),
  )


def _read(folder):
  try:
    return tf.saved_model.load(str(folder / FOLDER / _VERSION))
  # IndexError: a file of variables that ends too early.
  except (OSError, IndexError, tf.errors.OpError) as error:
    raise InputError(
      f'{folder / FOLDER}: TensorFlow cannot read it '
      f'({str(error).splitlines()[0]}); export again.'
    ) from error
