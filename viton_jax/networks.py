"""The networks of a try-on, of checkpoints: pure functions, or ready to run.

`pure_steps` and `pure_whole` put the steps of `predictions` together, for batch
inference and export. `load` compiles them for `engine.TryOn`, which needs no
Flax by itself.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
import os
from typing import Any, Literal

import jax.numpy as jnp

from viton_jax import (
  checkpoints,
  choices,
  composition,
  engine,
  flow_levels,
  predictions,
)
from viton_jax.checkpoints import Checkpoint
from viton_jax.choices import Composition, DType, Fidelity, Matching
from viton_jax.errors import InputError
from viton_jax.geometry.device import REASONS
from viton_jax.models import AppearanceFlow, EncoderDecoder, Refinement
from viton_jax.predictions import Batch
from viton_jax.representation import photo_channels
from viton_jax.runtime import parallel

# What each half of a try-on reads of a batch; 'original' alone has pose_limit.
COARSE_INPUTS = (
  'person',
  'garment',
  'head_mask',
  'body',
  'keypoints',
  'pose_limit',
)
REFINE_INPUTS = ('garment', 'control_points', 'mask', 'coarse')
# What the appearance flow network says for the composition, beside the mask.
FLOW_OUTPUTS = ('correction', 'light', 'beneath')
# What composing changes reads besides.
CHANGES_INPUTS = ('garment_mask', 'person', 'parse', 'keypoints')


@dataclasses.dataclass(frozen=True, eq=False)
class Halves:
  """Both networks, compiled; the caller matches in between.

  Attributes:
    size: (height, width) of all images.
    fidelity: 'fixed' or 'original'.
    flow: whether there is an appearance flow network.
    coarse, refine: see `engine.match_on_host`.
  """

  size: tuple[int, int]
  fidelity: Fidelity
  flow: bool
  coarse: Callable[[Batch], Mapping[str, Any]]
  refine: Callable[[Batch], Mapping[str, Any]]


def pure_steps(
  first: Checkpoint,
  second: Checkpoint,
  *,
  dtype: DType,
  composing: Composition,
) -> tuple[Callable, Callable]:
  """Both halves of a try-on as pure functions of (variables, batch).

  Args:
    first: the encoder-decoder.
    second: the refinement network, with the appearance flow network if any.
    dtype: 'float32' or 'bfloat16', of the convolutions.
    composing: 'changes': the photo stays where nothing changes; 'whole':
      VITON's own image.

  Returns:
    A function from `COARSE_INPUTS` to `mask` (b, h, w, 1) and `coarse`
    (b, h, w, 3), and one from `refine_inputs` to the images of
    `engine.RANGES`, float32. Of an appearance flow network, where there is
    one, are the `mask` of the second, `correction` (b, h / 4, w / 4, 2), else
    0, and `light` and `beneath`, else missing, see
    `predictions.compose_changes`.
  """
  choices.check('composition', composing, Composition)
  return _pure_steps(
    (first.features, first.num_downsamples),
    second.features,
    second.flow.features if second.flow else 0,
    dtype=dtype,
    fidelity=first.fidelity,
    composing=composing,
  )


# The same functions for the same networks, so that they are compiled once,
# however often they are loaded.
@functools.lru_cache(maxsize=8)
def _pure_steps(
  first: tuple[int, int],
  second: int,
  third: int,
  *,
  dtype: DType,
  fidelity: Fidelity,
  composing: Composition,
) -> tuple[Callable, Callable]:
  features, num_downsamples = first
  encoder_decoder = EncoderDecoder(
    features=features, dtype=jnp.dtype(dtype), num_downsamples=num_downsamples
  )
  refinement = Refinement(features=second, dtype=jnp.dtype(dtype))
  appearance_flow = AppearanceFlow(features=third, dtype=jnp.dtype(dtype))

  def coarse(variables, batch):
    mask, image = predictions.predict_coarse(
      variables, batch, model=encoder_decoder, fidelity=fidelity
    )
    return {'mask': mask, 'coarse': image}

  def correct(variables, batch):
    """The batch with what the flow network says, and its region as `mask`."""
    mask = jnp.clip(batch['mask'], 0, 1)
    found = predictions.predict_flow(
      variables,
      batch,
      batch['control_points'],
      mask,
      batch['coarse'],
      model=appearance_flow,
      photo=photo_channels(batch['person'], batch['parse']),
      fidelity=fidelity,
    )
    mask, beneath = predictions.split_parts(found.pop('parts'))
    return {**batch, **found, 'mask': mask, 'beneath': beneath}

  def refine(variables, batch):
    if third:
      batch = correct(variables['flow'], batch)
    images = predictions.predict_refined(
      variables,
      batch,
      batch['control_points'],
      batch['mask'],
      batch['coarse'],
      model=refinement,
      fidelity=fidelity,
    )
    coarse, mask = batch['coarse'], jnp.clip(batch['mask'], 0, 1)
    if composing == 'whole':
      layers = composition.whole(coarse, images['alpha'])
      uncovered = layers.uncovered
    else:
      images['output'], layers = predictions.compose_changes(
        batch, images, coarse=coarse, mask=mask
      )
      uncovered = layers.uncovered * 2.0 - 1.0
    b, h, w, _ = mask.shape
    none = jnp.zeros((b, h // flow_levels.STEP, w // flow_levels.STEP, 2))
    return (
      images
      | {'coarse': coarse, 'mask': mask, 'correction': none}
      | {name: batch[name] for name in FLOW_OUTPUTS if name in batch}
      | dataclasses.asdict(layers)
      | {'uncovered': uncovered}
    )

  return coarse, refine


def pure_whole(
  first: Checkpoint,
  second: Checkpoint,
  *,
  dtype: DType,
  composing: Composition,
) -> Callable:
  """A whole try-on as a pure function of (both variables, batch).

  Between the halves it matches as `geometry.match_batch` does, whatever the
  fidelity of the networks: the original's matching draws points at random.

  Args:
    first, second, dtype, composing: see `pure_steps`.

  Returns:
    A function from `whole_inputs` to what `pure_steps`' second returns,
    `control_points` (b, 100, 2) float32 and `reason` (b,) int32, an index into
    `geometry.device.REASONS`.
  """
  return _pure_whole(
    *pure_steps(first, second, dtype=dtype, composing=composing)
  )


@functools.lru_cache(maxsize=8)
def _pure_whole(coarse: Callable, refine: Callable) -> Callable:
  def whole(variables, batch):
    predicted = coarse(variables[0], batch)
    points, reason = predictions.match_predicted(
      batch['garment_mask'], predicted['mask']
    )
    found = {'control_points': points}
    images = refine(variables[1], {**batch, **predicted, **found})
    return images | found | {'reason': reason}

  return whole


def check_matching(
  matching: Matching, *, png_round_trip: bool
) -> Literal['host', 'device']:
  """`engine.matching_of`, where the rest of the options allows it.

  Raises:
    InputError: an unknown name, or one program is to write PNG in between.
  """
  chosen = engine.matching_of(matching)
  if chosen == 'device' and png_round_trip:
    raise InputError(
      "matching 'device' computes both networks in one program, so that no "
      'PNG can be written in between; leave --png_round_trip out or give '
      '--matching host'
    )
  return chosen


def default_composition(fidelity: Fidelity) -> Composition:
  """'whole' in fidelity 'original', as VITON's code does, else 'changes'."""
  return 'whole' if fidelity == 'original' else 'changes'


def refine_inputs(composing: Composition, *, flow: bool) -> tuple[str, ...]:
  """What the second half of a try-on reads of a batch.

  Args:
    composing: see `pure_steps`.
    flow: whether there is an appearance flow network.
  """
  names = REFINE_INPUTS
  if composing == 'changes':
    names += CHANGES_INPUTS
  if flow:
    names += (*COARSE_INPUTS, 'garment_mask', 'parse')
  return tuple(dict.fromkeys(names))


def whole_inputs(composing: Composition, *, flow: bool) -> tuple[str, ...]:
  """What `pure_whole` reads of a batch, see `refine_inputs`."""
  names = (*COARSE_INPUTS, 'garment_mask')
  names += refine_inputs(composing, flow=flow)
  made = ('control_points', 'mask', 'coarse')
  return tuple(x for x in dict.fromkeys(names) if x not in made)


def load(
  checkpoint: str | os.PathLike | None = None,
  refine_checkpoint: str | os.PathLike | None = None,
  *,
  dtype: DType = 'float32',
  composing: Composition | None = None,
  matching: Matching = 'auto',
  workers: int | None = None,
  png_round_trip: bool = False,
) -> engine.TryOn:
  """Loads both networks and compiles them for all devices of this process.

  Args:
    checkpoint: see `checkpoints.read_pair`.
    refine_checkpoint: see `checkpoints.read_pair`.
    dtype: 'float32' or 'bfloat16', of the convolutions.
    composing: see `pure_steps`; None: `default_composition`.
    matching: see `engine.matching_of`; 'device' always matches as 'fixed'.
    workers: threads of the matching on the host; None: one a core.
    png_round_trip: see `engine.match_on_host`.

  Raises:
    InputError: see `checkpoints.read_pair` and `check_matching`.
  """
  matching = check_matching(matching, png_round_trip=png_round_trip)
  first, second = checkpoints.read_pair(checkpoint, refine_checkpoint)
  composing = composing or default_composition(first.fidelity)
  if matching == 'device':
    run = engine.match_on_device(
      _compiled(
        pure_whole(first, second, dtype=dtype, composing=composing),
        (first.variables, second.all_variables),
        whole_inputs(composing, flow=second.flow is not None),
      ),
      REASONS,
    )
  else:
    halves = _halves(first, second, dtype=dtype, composing=composing)
    run = engine.match_on_host(
      halves.coarse,
      halves.refine,
      fidelity=first.fidelity,
      workers=workers,
      png_round_trip=png_round_trip,
    )
  return engine.TryOn(size=first.size, fidelity=first.fidelity, run=run)


def load_halves(
  checkpoint: str | os.PathLike | None = None,
  refine_checkpoint: str | os.PathLike | None = None,
  *,
  composing: Composition,
) -> Halves:
  """`load`, with the matching left to the caller; float32."""
  first, second = checkpoints.read_pair(checkpoint, refine_checkpoint)
  return _halves(first, second, dtype='float32', composing=composing)


def _halves(first, second, *, dtype, composing) -> Halves:
  coarse, refine = pure_steps(first, second, dtype=dtype, composing=composing)
  return Halves(
    size=first.size,
    fidelity=first.fidelity,
    flow=second.flow is not None,
    coarse=_compiled(coarse, first.variables, COARSE_INPUTS),
    refine=_compiled(
      refine,
      second.all_variables,
      refine_inputs(composing, flow=second.flow is not None),
    ),
  )


def _compiled(step, variables, names):
  run = functools.partial(_predict(step), parallel.replicate(variables))
  return lambda batch: run({x: batch[x] for x in names if x in batch})


_predict = functools.lru_cache(maxsize=16)(parallel.predict)
