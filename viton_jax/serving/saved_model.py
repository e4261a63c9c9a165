"""The try-on as a SavedModel, for TensorFlow Serving.

The one file of serving that imports TensorFlow. Three signatures:

    coarse           photos, keypoints, masks -> mask and coarse, float32
    refine           these, control_points and inputs -> uint8 images
    serving_default  both at once, where control_points are known beforehand

Between `coarse` and `refine` the client finds the control points, with
`viton_jax.geometry.prediction.match`: no TensorFlow operation does that.
"""

from collections.abc import Callable, Iterator
import contextlib
import functools
import pathlib

import jax

# JAX has no public way to leave shape assertions out.
from jax._src.export import shape_poly
from jax.experimental import jax2tf
import numpy as np
import tensorflow as tf

from viton_jax import engine
from viton_jax.checkpoints import Checkpoint
from viton_jax.choices import Composition, DType, Fidelity
from viton_jax.serving import programs

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

  weights: list
  coarse: Callable
  refine: Callable
  both: Callable


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
  first, _ = networks
  inputs = programs.describe_inputs(
    first.size, first.fidelity, composing=composing
  )
  specs = inputs | programs.describe_between(first.size)
  module = _Module()
  module.weights = [
    jax.tree.map(tf.Variable, programs.weights_of(network))
    for network in networks
  ]
  names: dict[str, list[str]] = {}
  for (name, function), weights in zip(
    programs.functions(*networks, dtype=dtype, composing=composing).items(),
    module.weights,
    strict=True,
  ):
    names[name] = programs.input_names(name, composing, first.fidelity)
    converted = _convert(function, weights, specs, names[name])
    with _without_shape_assertions():
      setattr(module, name, _signature(converted, specs, names[name]))

  def both(**arrays):
    # Calls the two signatures, so that their programs are stored once.
    predicted = module.coarse(**{x: arrays[x] for x in names['coarse']})
    arrays |= predicted
    return module.refine(**{x: arrays[x] for x in names['refine']})

  wanted = {*names['coarse'], *names['refine']} - {'mask', 'coarse'}
  module.both = _signature(both, specs, sorted(wanted))
  tf.saved_model.save(
    module,
    str(folder / FOLDER / _VERSION),
    signatures={
      'coarse': module.coarse,
      'refine': module.refine,
      'serving_default': module.both,
    },
  )
  (folder / 'batching_parameters.txt').write_text(_BATCHING)


def _convert(function, weights, specs, names) -> Callable:
  """The JAX function as a TensorFlow one of named arrays."""
  shapes = {
    name: f'({", ".join(map(str, specs[name]["shape"]))})' for name in names
  }
  converted = jax2tf.convert(
    function,
    # A dict of shapes for a dict of arrays, as its documentation has it.
    polymorphic_shapes=[None, shapes],  # pyright: ignore[reportArgumentType]
    with_gradient=False,
    native_serialization_platforms=programs.PLATFORMS,
  )
  return lambda **arrays: converted(weights, arrays)


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


def _signature(function, specs, names):
  return tf.function(function, autograph=False).get_concrete_function(
    **{
      name: tf.TensorSpec(
        [None, *specs[name]['shape'][1:]], specs[name]['dtype'], name=name
      )
      for name in names
    }
  )


def load(
  folder: pathlib.Path, size: tuple[int, int], fidelity: Fidelity
) -> engine.TryOn:
  """Loads the SavedModel; the try-on that a client of it makes.

  Args:
    folder: of the export.
    size: (height, width) of all images.
    fidelity: 'fixed' or 'original'.
  """
  loaded = tf.saved_model.load(str(folder / FOLDER / _VERSION))
  return engine.TryOn(
    size=size,
    fidelity=fidelity,
    coarse=functools.partial(_call, loaded, 'coarse'),
    refine=functools.partial(_call, loaded, 'refine'),
  )


def _call(loaded, name, arrays):
  signature = loaded.signatures[name]
  wanted = signature.structured_input_signature[1]
  given = {key: tf.constant(arrays[key]) for key in wanted}
  return {key: value.numpy() for key, value in signature(**given).items()}


def check(
  folder: pathlib.Path, batch: dict[str, np.ndarray], first: Checkpoint
) -> engine.TryOnBatch:
  """Loads the SavedModel and calls it in both ways.

  Args:
    folder: of the export.
    batch: the arrays of the manifest's inputs.
    first: the encoder-decoder.

  Returns:
    The try-on of `batch` by `coarse` and `refine`.

  Raises:
    RuntimeError: `serving_default` gives other images.
  """
  tried = load(folder, first.size, first.fidelity)(batch)
  loaded = tf.saved_model.load(str(folder / FOLDER / _VERSION))
  points = {'control_points': tried.control_points}
  at_once = _call(loaded, 'serving_default', batch | points)
  for name, image in at_once.items():
    apart = np.abs(image.astype(int) - getattr(tried, name).astype(int))
    if apart.max() > 1:
      raise RuntimeError(f'serving_default and refine differ in {name}')
  return tried
