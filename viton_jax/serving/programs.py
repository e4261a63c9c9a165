"""What an exported try-on consists of: its two programs and their arrays.

Shapes are lists with 'b' for the batch size, as the manifest has them.
"""

from collections.abc import Callable, Sequence

import jax
from jax import export
import jax.numpy as jnp

from viton_jax import engine, networks
from viton_jax.checkpoints import Checkpoint
from viton_jax.choices import Composition, DType, Fidelity
from viton_jax.labels import NUM_LABELS
from viton_jax.representation import to_uint8

PLATFORMS = ('cpu', 'cuda', 'tpu')


def functions(
  first: Checkpoint,
  second: Checkpoint,
  *,
  dtype: DType,
  composing: Composition,
) -> dict[str, Callable]:
  """The two halves of a try-on as pure functions of (variables, batch).

  Returns:
    name -> function; 'coarse' gives float32 `mask` and `coarse`, 'refine'
    takes these and `control_points`, and gives uint8 images.
  """
  coarse, refine_values = networks.pure_steps(
    first, second, dtype=dtype, composing=composing
  )

  def refine(variables, batch):
    values = refine_values(variables, batch)
    return {
      name: to_uint8(values[name], span) for name, span in engine.RANGES.items()
    }

  return {'coarse': coarse, 'refine': refine}


def describe_inputs(
  size: tuple[int, int], fidelity: Fidelity, *, composing: Composition
) -> dict[str, dict]:
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
  specs = {
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
    'head_mask': spec(
      (h, w), 'uint8', 0, 255, 'soft mask of head, hair and hat'
    ),
    'body': spec(
      (h // 16, w // 16),
      'float32',
      0,
      1,
      'share of body without head in each cell of 16 x 16 pixels',
    ),
  }
  if composing == 'changes':
    specs['parse'] = spec(
      (h, w), 'uint8', 0, NUM_LABELS - 1, 'LIP-20 labels of person'
    )
  if fidelity == 'original':
    specs['pose_limit'] = spec(
      (2,), 'float32', 0, far, "x, y at which joints' boxes are cut off"
    )
  return specs


def describe_between(size: tuple[int, int]) -> dict[str, dict]:
  """As `describe_inputs`, for what goes into 'refine' besides `garment`."""
  return {
    'mask': {'shape': ['b', *size, 1], 'dtype': 'float32'},
    'coarse': {'shape': ['b', *size, 3], 'dtype': 'float32'},
    'control_points': {'shape': ['b', 100, 2], 'dtype': 'float32'},
  }


def abstract_inputs(
  specs: dict[str, dict], names: Sequence[str]
) -> dict[str, jax.ShapeDtypeStruct]:
  """jax.ShapeDtypeStruct of each name, with one symbolic batch size."""
  scope = export.SymbolicScope()
  return {
    name: jax.ShapeDtypeStruct(
      export.symbolic_shape(
        ', '.join(map(str, specs[name]['shape'])), scope=scope
      ),
      jnp.dtype(specs[name]['dtype']),
    )
    for name in names
  }


def weights_of(network: Checkpoint) -> dict:
  """Its variables as they come back from a file, which has no empty parts."""
  return {name: part for name, part in network.variables.items() if part}


def input_names(
  program: str, composing: Composition, fidelity: Fidelity
) -> list[str]:
  """What a program reads, in order."""
  if program == 'refine':
    return list(networks.refine_inputs(composing))
  return [
    name
    for name in networks.COARSE_INPUTS
    if name != 'pose_limit' or fidelity == 'original'
  ]
