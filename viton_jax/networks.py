"""The two networks of a try-on as pure functions of (variables, batch).

Training, validation, batch inference and export call these. `load` compiles
those of two checkpoints for `engine.TryOn`, which needs no Flax by itself.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
import os
from typing import Any, Literal, cast

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from viton_jax import checkpoints, choices, composition, engine, geometry
from viton_jax.checkpoints import Checkpoint
from viton_jax.choices import Composition, DType, Fidelity, Matching
from viton_jax.errors import InputError
from viton_jax.geometry.device import REASONS
from viton_jax.models import (
  AppearanceFlow,
  EncoderDecoder,
  Refinement,
  compose,
)
from viton_jax.representation import (
  network_inputs,
  person_representation,
  to_norm,
)
from viton_jax.runtime import parallel

Batch = Mapping[str, Array | np.ndarray]
# (b, n * n, 2) x, y in [-1, 1], see `geometry.warp_tps`.
ControlPointArray = Float[Array, 'b n 2'] | Float[np.ndarray, 'b n 2']

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
FLOW_STEP = 4  # Pixels from one correction of the warp to the next.
# What composing changes reads besides.
CHANGES_INPUTS = ('garment_mask', 'person', 'parse', 'keypoints')


def predict_coarse(
  variables: Mapping[str, Any],
  batch: Batch,
  *,
  model: EncoderDecoder,
  fidelity: Fidelity = 'fixed',
) -> tuple[Float[Array, 'b h w 1'], Float[Array, 'b h w 3']]:
  """Garment mask (b, h, w, 1) and coarse image (b, h, w, 3), in [-1, 1].

  Args:
    variables: of the encoder-decoder.
    batch: see `representation.network_inputs`.
    model: the encoder-decoder.
    fidelity: 'fixed' or 'original'.
  """
  inputs = network_inputs(batch, fidelity=fidelity)
  outputs = model.apply(variables, inputs, train=False)
  return cast(tuple[Array, Array], outputs)


def predict_refined(
  variables: Mapping[str, Any],
  batch: Batch,
  control_points: ControlPointArray,
  garment_mask: Float[Array, 'b h w 1'],
  coarse: Float[Array, 'b h w 3'],
  *,
  model: Refinement,
  fidelity: Fidelity = 'fixed',
) -> dict[str, Float[Array, 'b h w _']]:
  """Warps the garment and composes it with the coarse image.

  Args:
    variables: of the refinement network.
    batch: `garment` (b, h, w, 3) in 0..255, and maybe `correction`, see
      `geometry.warp_tps`; more is ignored.
    control_points: (b, n * n, 2) x, y in [-1, 1], see `geometry.warp_tps`.
    garment_mask: (b, h, w, 1) where the person wears it, as `predict_coarse`
      gives it, or the true region.
    coarse: (b, h, w, 3) in [-1, 1], as `predict_coarse` gives it.
    model: the refinement network.
    fidelity: 'fixed' keeps the garment mask within [0, 1]; 'original' takes it
      as it is.

  Returns:
    `warped` (b, h, w, 3) and `output` (b, h, w, 3) in [-1, 1], and `alpha`
    (b, h, w, 1), the composition mask after its product with the garment mask.
  """
  warped = warp_garment(batch, control_points)
  alpha = model.apply({'params': variables['params']}, warped, coarse)
  alpha = cast(Array, alpha) * bounded_mask(garment_mask, fidelity=fidelity)
  return {
    'warped': warped,
    'alpha': alpha,
    'output': compose(alpha, warped, coarse),
  }


def flow_inputs(
  batch: Batch,
  spline: Float[Array, 'b h w 2'],
  garment_mask: Float[Array, 'b h w 1'],
  coarse: Float[Array, 'b h w 3'],
  *,
  fidelity: Fidelity = 'fixed',
) -> Float[Array, 'b h//2 w//2 38']:
  """The appearance flow network's input, at half the working size.

  Args:
    batch: see `representation.network_inputs`, and `garment_mask` (b, h, w).
    spline: (b, h, w, 2), where the spline's points come from, see
      `geometry.sampling_grid`.
    garment_mask: (b, h, w, 1), where `predict_coarse` puts the garment.
    coarse: (b, h, w, 3) in [-1, 1], as `predict_coarse` gives it.
    fidelity: 'fixed' or 'original'.
  """
  garment = jnp.concatenate(
    [
      to_norm(batch['garment']),
      jnp.asarray(batch['garment_mask'])[..., None].astype(jnp.float32),
    ],
    axis=-1,
  )
  seen = jnp.concatenate(
    [
      garment,
      geometry.sample_bilinear(garment, spline),
      spline,
      garment_mask,
      coarse,
      person_representation(batch, fidelity=fidelity),
    ],
    axis=-1,
  )
  b, h, w, c = seen.shape
  seen = seen.reshape(b, h // 2, 2, w // 2, 2, c).mean(axis=(2, 4))
  rows, columns = (jnp.linspace(-1.0, 1.0, n // 2) for n in (h, w))
  place = jnp.stack(jnp.meshgrid(columns, rows), axis=-1)
  place = jnp.broadcast_to(place, (b, h // 2, w // 2, 2))
  return jnp.concatenate([seen, place], axis=-1)


def predict_flow(
  variables: Mapping[str, Any],
  batch: Batch,
  control_points: ControlPointArray,
  garment_mask: Float[Array, 'b h w 1'],
  coarse: Float[Array, 'b h w 3'],
  *,
  model: AppearanceFlow,
  fidelity: Fidelity = 'fixed',
) -> tuple[Float[Array, 'b h//4 w//4 2'], Float[Array, 'b h w 1']]:
  """How much further the garment's points lie, and where it is worn.

  Args:
    variables: of the appearance flow network.
    batch, garment_mask, coarse, fidelity: see `flow_inputs`.
    control_points: (b, n * n, 2) x, y in [-1, 1], see `geometry.warp_tps`.
    model: the network.

  Returns:
    What is to be added to the spline (b, h / 4, w / 4, 2), see
    `geometry.sampling_grid`, and the logit of the new garment's region
    (b, h, w, 1); float32.
  """
  b, h, w, _ = garment_mask.shape
  # Not computed again for each of what it is used for, see `warp_tps`.
  spline = lax.optimization_barrier(
    geometry.sampling_grid(jnp.asarray(control_points, jnp.float32), (h, w))
  )
  inputs = flow_inputs(batch, spline, garment_mask, coarse, fidelity=fidelity)
  outputs = model.apply({'params': variables['params']}, inputs)
  correction, region = cast(tuple[Array, Array], outputs)
  return correction, jax.image.resize(region, (b, h, w, 1), 'bilinear')


def warp_garment(
  batch: Batch, control_points: ControlPointArray
) -> Float[Array, 'b h w 3']:
  """`batch['garment']` in the person's frame, (b, h, w, 3) in [-1, 1].

  With `correction`, if the batch has it, see `geometry.warp_tps`.
  """
  return _warp(to_norm(batch['garment']), batch, control_points)


def _warp(images, batch: Batch, control_points) -> Array:
  correction = batch.get('correction')
  return geometry.warp_tps(
    images,
    jnp.asarray(control_points, jnp.float32),
    correction=None if correction is None else jnp.asarray(correction),
  )


def bounded_mask(
  garment_mask: Float[Array, 'b h w 1'], *, fidelity: Fidelity
) -> Float[Array, 'b h w 1']:
  """The predicted mask as composition uses it.

  Args:
    garment_mask: (b, h, w, 1) in [-1, 1], as `predict_coarse` gives it.
    fidelity: 'fixed' clips it to [0, 1]; 'original' takes it as it is.
  """
  return garment_mask if fidelity == 'original' else garment_mask.clip(0.0, 1.0)


def compose_changes(
  batch: Batch,
  images: Mapping[str, Array],
  *,
  coarse: Float[Array, 'b h w 3'],
  mask: Float[Array, 'b h w 1'],
) -> tuple[Float[Array, 'b h w 3'], composition.Layers]:
  """Lays the new garment into the photo, which stays where nothing changes.

  Args:
    batch: `person` (b, h, w, 3) in 0..255, `parse` (b, h, w) LIP-20 labels,
      `keypoints` (b, 18, 3), `garment_mask` (b, h, w) 0 or 1, and
      `control_points` and maybe `correction`, see `geometry.warp_tps`.
    images: what `predict_refined` gives.
    coarse: (b, h, w, 3) in [-1, 1].
    mask: (b, h, w, 1) in 0..1; with a `correction` of the same network, which
      then knows the sleeves, see `composition.find_regions`.

  Returns:
    The try-on in [-1, 1], and its layers, in 0..1.
  """
  regions = composition.find_regions(
    batch['parse'],
    batch['keypoints'],
    mask=mask[..., 0],
    garment_mask=batch['garment_mask'],
    mask_knows_sleeves='correction' in batch,
  )
  warped, layers = change_layers(
    batch, images, regions=regions, coarse=coarse, mask=mask
  )
  person = jnp.asarray(batch['person']).astype(jnp.float32) / 255.0
  output = composition.compose(
    person, 0.5 * (coarse + 1.0), warped, layers=layers
  )
  return output.clip(0.0, 1.0) * 2.0 - 1.0, layers


def change_layers(
  batch: Batch,
  images: Mapping[str, Array],
  *,
  regions: composition.Regions,
  coarse: Float[Array, 'b h w 3'],
  mask: Float[Array, 'b h w 1'],
) -> tuple[Float[Array, 'b h w 3'], composition.Layers]:
  """The warped garment and the layers of `compose_changes`, in 0..1.

  Args:
    batch: see `compose_changes`.
    images: what `predict_refined` gives.
    regions: what lies where, see `composition.find_regions`.
    coarse: (b, h, w, 3) in [-1, 1].
    mask: (b, h, w, 1) in 0..1.
  """
  person = jnp.asarray(batch['person']).astype(jnp.float32) / 255.0
  coarse, warped = (0.5 * (x + 1.0) for x in (coarse, images['warped']))
  inner = composition.inner(batch['garment_mask'])
  covered = _warp(
    inner.astype(jnp.float32)[..., None], batch, batch['control_points']
  ).clip(0.0, 1.0)
  warped = composition.spread(warped, covered)
  layers = composition.make_layers(
    person,
    jnp.asarray(batch['parse']),
    regions,
    coarse=coarse,
    warped=warped,
    covered=covered,
    alpha=images['alpha'].clip(0.0, 1.0),
    mask=mask,
  )
  return warped, layers


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
    `engine.RANGES` and `correction` (b, h / 4, w / 4, 2), float32. Where there
    is an appearance flow network its region is the `mask` of the second.
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
    mask, image = predict_coarse(
      variables, batch, model=encoder_decoder, fidelity=fidelity
    )
    return {'mask': mask, 'coarse': image}

  def correct(variables, batch):
    """The batch with the flow's `correction`, and its region as `mask`."""
    mask = jnp.clip(batch['mask'], 0, 1)
    correction, region = predict_flow(
      variables,
      batch,
      batch['control_points'],
      mask,
      batch['coarse'],
      model=appearance_flow,
      fidelity=fidelity,
    )
    return {**batch, 'correction': correction, 'mask': jax.nn.sigmoid(region)}

  def refine(variables, batch):
    if third:
      batch = correct(variables['flow'], batch)
    images = predict_refined(
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
      images['output'], layers = compose_changes(
        batch, images, coarse=coarse, mask=mask
      )
      uncovered = layers.uncovered * 2.0 - 1.0
    b, h, w, _ = mask.shape
    none = jnp.zeros((b, h // FLOW_STEP, w // FLOW_STEP, 2))
    return (
      images
      | {'coarse': coarse, 'mask': mask}
      | {'correction': batch.get('correction', none)}
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
    A function from `whole_inputs` to the images of `engine.RANGES` and
    `correction`, float32,
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
    # The matching chooses nearest points: rounding in another order would make
    # it choose others. So it gets whole levels, and is compiled by itself, and
    # one network gives the same picture in every program.
    levels = jnp.round(predicted['mask'][..., 0] * 255) / 255
    masks = jnp.asarray(batch['garment_mask']) > 0, levels
    points, reason = lax.optimization_barrier(
      geometry.match_with_reasons(*lax.optimization_barrier(masks))
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
    names += (*COARSE_INPUTS, 'garment_mask')
  return tuple(dict.fromkeys(names))


def whole_inputs(composing: Composition) -> tuple[str, ...]:
  """What `pure_whole` reads of a batch."""
  more = ('garment_mask',) + (CHANGES_INPUTS if composing == 'changes' else ())
  return tuple(dict.fromkeys(COARSE_INPUTS + more))


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
        whole_inputs(composing),
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
