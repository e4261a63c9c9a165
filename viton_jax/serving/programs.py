"""What an exported try-on consists of: its program and the program's arrays.

Shapes are lists with 'b' for the batch size, as the manifest has them.
"""

from collections.abc import Callable

import jax
from jax import export
import jax.numpy as jnp

from viton_jax import engine, networks
from viton_jax.checkpoints import Checkpoint
from viton_jax.choices import Composition, DType
from viton_jax.labels import NUM_LABELS
from viton_jax.representation import from_labels, to_uint8

PLATFORMS = ('cpu', 'cuda', 'tpu')
NAME = 'try_on'
# What a program gives beside images.
OTHERS = ('control_points', 'correction', 'reason')


def function(
  first: Checkpoint,
  second: Checkpoint,
  *,
  dtype: DType,
  composing: Composition,
) -> Callable:
  """A whole try-on as a pure function of (weights, inputs).

  Returns:
    A function of a dict of both networks' variables, see `weights_of`, and
    the arrays of `describe_inputs`, to the images of `engine.RANGES` as
    uint8, `control_points` (b, 100, 2) and `correction` (b, h / 4, w / 4, 2)
    float32, and `reason` (b,) int32, see `networks.pure_whole`.
  """
  whole = networks.pure_whole(first, second, dtype=dtype, composing=composing)

  def try_on(weights, inputs):
    made = from_labels(
      inputs['parse'], inputs['keypoints'], fidelity=first.fidelity
    )
    refining = weights[second.network]
    if second.flow:
      refining = {**refining, 'flow': weights[second.flow.network]}
    values = whole((weights[first.network], refining), {**inputs, **made})
    images = {
      name: to_uint8(values[name], span) for name, span in engine.RANGES.items()
    }
    found = {name: values[name] for name in OTHERS}
    return images | found

  return try_on


def with_flow(*networks: Checkpoint) -> list[Checkpoint]:
  """These, and the appearance flow networks of those that have one."""
  flows = [network.flow for network in networks if network.flow]
  return [*networks, *flows]


def describe_inputs(size: tuple[int, int]) -> dict[str, dict]:
  """Name -> shape (b: any batch size), dtype, range and meaning."""
  h, w = size

  def spec(shape, dtype, low, high, what):
    return {
      'shape': ['b', *shape],
      'dtype': dtype,
      'range': [low, high],
      'what': what,
    }

  far = 4.0 * max(h, w)
  return {
    'person': spec((h, w, 3), 'uint8', 0, 255, 'photo of the person, RGB'),
    'garment': spec(
      (h, w, 3),
      'uint8',
      0,
      255,
      'photo of the flat garment on a light background, RGB',
    ),
    'garment_mask': spec(
      (h, w), 'uint8', 0, 1, '1 where the garment photo shows the garment'
    ),
    'keypoints': spec(
      (18, 3),
      'float32',
      -max(far, 1000.0),
      far,
      'COCO-18 joints: x, y in pixels of person, confidence (0: missing)',
    ),
    'parse': spec(
      (h, w), 'uint8', 0, NUM_LABELS - 1, 'LIP-20 labels of person'
    ),
  }


def abstract_inputs(specs: dict[str, dict]) -> dict[str, jax.ShapeDtypeStruct]:
  """jax.ShapeDtypeStruct of each input, with one symbolic batch size."""
  scope = export.SymbolicScope()
  return {
    name: jax.ShapeDtypeStruct(
      export.symbolic_shape(', '.join(map(str, spec['shape'])), scope=scope),
      jnp.dtype(spec['dtype']),
    )
    for name, spec in specs.items()
  }


def weights_of(*networks: Checkpoint) -> dict[str, dict]:
  """Their variables as they come back from files, which have no empty parts."""
  return {
    network.network: {
      name: part for name, part in network.variables.items() if part
    }
    for network in with_flow(*networks)
  }
