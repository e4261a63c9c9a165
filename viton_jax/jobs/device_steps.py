"""A try-on for a job that has several batches under way.

As `engine.TryOn` computes it, but nothing waits: its parts return before
anything is computed, and what they give stays on the devices.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from viton_jax import engine, networks
from viton_jax.checkpoints import Checkpoint
from viton_jax.choices import Composition, DType, Matching
from viton_jax.models import compose
from viton_jax.representation import to_uint8
from viton_jax.runtime import parallel

# What metrics and pages are made of; layers stay on the device.
_SHOWN = ('output', 'warped', 'coarse', 'mask', 'alpha')


@dataclasses.dataclass(frozen=True)
class DeviceSteps:
  """The compiled halves of a try-on, or the whole of it.

  Batches are split over the devices, see `parallel.shard`; `parallel.unshard`
  fetches results.

  Attributes:
    coarse: split batch of working examples -> `mask` (d, b/d, h, w, 1) and
      `coarse` (d, b/d, h, w, 3), float32.
    refine: (split batch, control points (b, 100, 2), what `coarse` gave) ->
      `values`, float32 images of `engine.RANGES`, `images`, the steps of a
      pair's page as uint8, see `pipeline.PairResult`, and `correction`.
    whole: split batch -> the same, and `control_points` (d, b/d, 100, 2) and
      `reason` (d, b/d), see `networks.pure_whole`. None: the host matches
      between the halves.
  """

  coarse: Callable[[dict], dict]
  refine: Callable[[dict, np.ndarray, dict], dict]
  whole: Callable[[dict], dict] | None = None


def make_steps(
  first: Checkpoint,
  second: Checkpoint,
  *,
  dtype: DType,
  composing: Composition,
  matching: Matching = 'auto',
  png_round_trip: bool = False,
) -> DeviceSteps:
  """Puts both networks on all devices of this process.

  Args:
    first: the encoder-decoder.
    second: the refinement network.
    dtype: 'float32' or 'bfloat16', of the convolutions.
    composing: see `networks.pure_steps`.
    matching: see `engine.matching_of`.
    png_round_trip: see `engine.match_on_host`.

  Raises:
    InputError: see `networks.check_matching`.
  """
  matching = networks.check_matching(matching, png_round_trip=png_round_trip)
  coarse_step, refine_step = networks.pure_steps(
    first, second, dtype=dtype, composing=composing
  )

  def refine_both(variables, batch):
    return with_images(refine_step(variables, batch))

  refine_names = networks.refine_inputs(composing, flow=second.flow is not None)
  run_coarse = parallel.predict_split(coarse_step)
  run_refine = parallel.predict_split(refine_both)
  coarse_variables = parallel.replicate(first.variables)
  refine_variables = parallel.replicate(second.all_variables)

  def coarse(batch):
    names = [name for name in networks.COARSE_INPUTS if name in batch]
    return run_coarse(coarse_variables, {name: batch[name] for name in names})

  def refine(batch, control_points, predicted):
    if png_round_trip:
      whole = jax.tree.map(parallel.unshard, predicted)
      predicted = parallel.shard(engine.as_released(whole))
    points = parallel.shard({'control_points': control_points})
    everything = {**batch, **points, **predicted}
    return run_refine(
      refine_variables,
      {x: everything[x] for x in refine_names if x in everything},
    )

  if matching == 'host':
    return DeviceSteps(coarse, refine)
  whole_step = networks.pure_whole(
    first, second, dtype=dtype, composing=composing
  )

  def whole_both(variables, batch):
    values = whole_step(variables, batch)
    found = {name: values[name] for name in ('control_points', 'reason')}
    return with_images(values) | found

  run_whole = parallel.predict_split(whole_both)
  whole_names = networks.whole_inputs(composing, flow=second.flow is not None)

  def whole(batch):
    names = [name for name in whole_names if name in batch]
    return run_whole(
      (coarse_variables, refine_variables), {x: batch[x] for x in names}
    )

  return DeviceSteps(coarse, refine, whole)


def with_images(values: Mapping[str, jax.Array]) -> dict[str, Any]:
  """What `DeviceSteps.refine` gives, of float32 images.

  Args:
    values: images of `engine.RANGES`: those that are shown, and the layers
      that say what changes; and `correction`.
  """
  shown = {name: values[name] for name in _SHOWN}
  images = {
    name: to_uint8(value, engine.RANGES[name]) for name, value in shown.items()
  }
  # VITON's own image, and where the photo does not stay.
  whole = compose(values['alpha'], values['warped'], values['coarse'])
  changed = jnp.maximum(values['hidden'], values['opacity'])
  images |= {'whole': to_uint8(whole), 'changed': to_uint8(changed, (0, 1))}
  return {
    'values': shown,
    'images': images,
    'correction': values['correction'],
  }
