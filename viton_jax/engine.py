"""A batch of people and garments -> pictures: coarse, match, warp, refine.

Two jitted functions with the matching between them, on the host: it follows
the contour of the predicted garment mask, which has no fixed length.
`make_try_on` calls them one after the other; `make_steps` leaves that to a job
which does several batches at once.
"""

from collections.abc import Callable
from concurrent import futures
import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import threadpoolctl

from viton_jax import checkpoints, networks
from viton_jax.errors import InputError
from viton_jax.geometry.prediction import match, no_points
from viton_jax.models import EncoderDecoder, Refinement
from viton_jax.runtime import parallel

__all__ = [
  'TryOnBatch',
  'TryOnSteps',
  'make_steps',
  'make_try_on',
  'match',
  'no_points',
  'pure_steps',
  'read_both',
  'through_png',
]


@dataclasses.dataclass(frozen=True)
class TryOnBatch:
  """What comes out for b pairs; pictures are float32 in [-1, 1].

  Attributes:
    coarse: (b, h, w, 3), the encoder-decoder's picture.
    mask: (b, h, w, 1) in [0, 1], where it puts the garment.
    control_points: (b, 100, 2) float32 of the warp, see `geometry.warp_tps`.
    warped: (b, h, w, 3), the garment bent into that place.
    alpha: (b, h, w, 1) in [0, 1], how much of `warped` shows.
    output: (b, h, w, 3), the try-on.
    failures: a reason for each pair that could not be matched, else None; its
      `warped`, `alpha` and `output` mean nothing.
  """

  coarse: np.ndarray
  mask: np.ndarray
  control_points: np.ndarray
  warped: np.ndarray
  alpha: np.ndarray
  output: np.ndarray
  failures: list[str | None]


@dataclasses.dataclass(frozen=True)
class TryOnSteps:
  """The compiled halves of a try-on; what they give stays on the devices.

  Both return at once, before anything is computed. Batches are split over the
  devices, see `parallel.shard`; `parallel.unshard` fetches results.

  Attributes:
    checkpoint: the encoder-decoder's; its size and fidelity say how examples
      have to be made.
    coarse: split batch of working examples -> `mask` (d, b/d, h, w, 1) and
      `coarse` (d, b/d, h, w, 3), float32.
    refine: (split batch, control points (b, 100, 2), what `coarse` gave) ->
      `values`, the float32 pictures `coarse`, `mask`, `warped`, `alpha` and
      `output` of a TryOnBatch, and `pictures`, the same as uint8.
  """

  checkpoint: checkpoints.Checkpoint
  coarse: Callable[[dict], dict]
  refine: Callable[[dict, np.ndarray, dict], dict]


# What the first network reads of a working example.
_COARSE_INPUTS = (
  'person',
  'garment',
  'head_mask',
  'body',
  'keypoints',
  'pose_limit',
)
RANGES = {
  'coarse': (-1, 1),
  'mask': (0, 1),
  'warped': (-1, 1),
  'alpha': (0, 1),
  'output': (-1, 1),
}


def make_steps(
  checkpoint: str | pathlib.Path,
  refine_checkpoint: str | pathlib.Path,
  *,
  dtype: str = 'float32',
  png_round_trip: bool = False,
) -> TryOnSteps:
  """Loads both networks for a job that keeps the devices busy.

  Args:
    checkpoint: see `make_try_on`.
    refine_checkpoint: see `make_try_on`.
    dtype: 'float32', or 'bfloat16': of the convolutions.
    png_round_trip: see `make_try_on`.

  Raises:
    InputError: see `make_try_on`.
  """
  first, second = read_both(checkpoint, refine_checkpoint)
  coarse_step, refine_step = pure_steps(first, second, dtype=dtype)

  def coarse_named(variables, batch):
    mask, coarse = coarse_step(variables, batch)
    return {'mask': mask, 'coarse': coarse}

  def refine_all(variables, batch):
    values = refine_step(variables, batch) | {
      'coarse': batch['coarse'],
      'mask': jnp.clip(batch['mask'], 0, 1),
    }
    pictures = {
      name: to_levels(value, *RANGES[name]) for name, value in values.items()
    }
    return {'values': values, 'pictures': pictures}

  coarse_all = parallel.predict_split(coarse_named)
  refine_all = parallel.predict_split(refine_all)
  coarse_variables = parallel.replicate(first.variables)
  refine_variables = parallel.replicate(second.variables)

  def coarse(batch):
    return coarse_all(
      coarse_variables,
      {name: batch[name] for name in _COARSE_INPUTS if name in batch},
    )

  def refine(batch, control_points, predicted):
    if png_round_trip:
      mask, coarse = (
        through_png(parallel.unshard(predicted[name]))
        for name in ('mask', 'coarse')
      )
      predicted = parallel.shard({'mask': mask, 'coarse': coarse * 2 - 1})
    points = parallel.shard({'control_points': control_points})
    return refine_all(
      refine_variables, {'garment': batch['garment'], **points, **predicted}
    )

  return TryOnSteps(first, coarse, refine)


def make_try_on(
  checkpoint: str | pathlib.Path,
  refine_checkpoint: str | pathlib.Path,
  *,
  workers: int | None = None,
  png_round_trip: bool = False,
  dtype: str = 'float32',
) -> tuple[checkpoints.Checkpoint, Callable[[dict], TryOnBatch]]:
  """Loads both networks.

  Args:
    checkpoint: workdir, or one step of it, of a trained encoder-decoder.
    refine_checkpoint: the same of a refinement network.
    workers: threads for the matching; default: one a core.
    png_round_trip: lets stage 2 see stage 1's picture and mask as the released
      code does, see `through_png`. The matching has the mask as it is.
    dtype: 'float32', or 'bfloat16': of the convolutions.

  Returns:
    The encoder-decoder's checkpoint (its size and fidelity say how examples
    have to be made) and a function from a batch of working examples, as
    `input_pipeline.sample.working_example` makes them, to a TryOnBatch.

  Raises:
    InputError: a checkpoint is missing, damaged, of the wrong network, or the
      two do not belong together.
  """
  first, second = read_both(checkpoint, refine_checkpoint)
  fidelity = first.fidelity
  coarse_step, refine_step = map(
    parallel.predict, pure_steps(first, second, dtype=dtype)
  )
  coarse_variables = parallel.replicate(first.variables)
  refine_variables = parallel.replicate(second.variables)
  pool = futures.ThreadPoolExecutor(workers, 'matching')

  def run(batch):
    mask, coarse = coarse_step(coarse_variables, batch)
    # Matching solves many small systems: more threads for each only wait.
    with threadpoolctl.threadpool_limits(1, user_api='blas'):
      matches = list(
        pool.map(
          functools.partial(match, fidelity=fidelity),
          batch['garment_mask'],
          mask[..., 0],
        )
      )
    if png_round_trip:
      coarse, mask = through_png(coarse) * 2 - 1, through_png(mask)
    control_points = np.stack([points for points, _ in matches])
    refined = refine_step(
      refine_variables,
      {
        'garment': batch['garment'],
        'control_points': control_points,
        'mask': mask,
        'coarse': coarse,
      },
    )
    return TryOnBatch(
      coarse=coarse,
      mask=np.clip(mask, 0, 1),
      control_points=control_points,
      warped=refined['warped'],
      alpha=refined['alpha'],
      output=refined['output'],
      failures=[reason for _, reason in matches],
    )

  return first, run


def read_both(checkpoint, refine_checkpoint):
  """Reads the two checkpoints; raises InputError unless they fit."""
  first = checkpoints.read(checkpoint, 'encoder_decoder')
  second = checkpoints.read(refine_checkpoint, 'refinement')
  for name in ('fidelity', 'size'):
    if getattr(first, name) != getattr(second, name):
      raise InputError(
        f'{second.path}: trained with {name} {getattr(second, name)}, the '
        f'encoder-decoder {first.path} with {getattr(first, name)}; give two '
        'checkpoints that belong together.'
      )
  return first, second


def pure_steps(first, second, *, dtype):
  """Both steps as pure functions of (variables, batch).

  Args:
    first, second: checkpoints of encoder-decoder and refinement network.
    dtype: 'float32' or 'bfloat16', of the convolutions.

  Returns:
    `networks.predict_coarse` and `networks.predict_refined` for these
    networks; the second takes `garment`, `control_points`, `mask` and `coarse`
    as its batch.
  """
  fidelity = first.fidelity
  dtype = jnp.dtype(dtype)
  encoder_decoder = EncoderDecoder(
    features=first.features, dtype=dtype, num_downsamples=first.num_downsamples
  )
  refinement = Refinement(features=second.features, dtype=dtype)

  def coarse_step(variables, batch):
    return networks.predict_coarse(
      variables, batch, model=encoder_decoder, fidelity=fidelity
    )

  def refine_step(variables, batch):
    return networks.predict_refined(
      variables,
      batch,
      batch['control_points'],
      batch['mask'],
      batch['coarse'],
      model=refinement,
      fidelity=fidelity,
    )

  return coarse_step, refine_step


def to_levels(values: jax.Array, low: float, high: float) -> jax.Array:
  """Numbers within [low, high] -> uint8, as `sheets.to_rgb` does."""
  scaled = (values.astype(jnp.float32) - low) * (255.0 / (high - low))
  return jnp.clip(jnp.round(scaled), 0, 255).astype(jnp.uint8)


def through_png(images: np.ndarray) -> np.ndarray:
  """What is left of pictures that scipy.misc.imsave wrote and stage 2 reads.

  imsave stretches each to its own range before it rounds to 8 bits, so that
  its darkest value becomes 0 and its brightest 255.

  Args:
    images: (b, h, w, c) float32.

  Returns:
    (b, h, w, c) float32, multiples of 1/255 in [0, 1].
  """
  low, high = (
    f(images, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max)
  )
  span = np.where(high > low, high - low, 1)
  levels = np.floor((images - low) * (255 / span) + 0.5)
  return (np.clip(levels, 0, 255) / 255).astype(np.float32)
