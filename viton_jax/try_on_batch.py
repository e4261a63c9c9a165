"""A batch of people and garments -> pictures: coarse, match, warp, refine.

Two jitted functions with the matching between them, on the host: it follows
the contour of the predicted garment mask, which has no fixed length.
"""

from collections.abc import Callable
from concurrent import futures
import dataclasses
import functools
import pathlib

import numpy as np
import threadpoolctl

from viton_jax import checkpoints, geometry, parallel, steps
from viton_jax.errors import InputError
from viton_jax.geometry import contour
from viton_jax.geometry.matching import ORIGINAL_TEST_SIZE
from viton_jax.models import EncoderDecoder, Refinement


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


def make_try_on(
    checkpoint: str | pathlib.Path,
    refine_checkpoint: str | pathlib.Path,
    *,
    workers: int | None = None,
    png_round_trip: bool = False,
) -> tuple[checkpoints.Checkpoint, Callable[[dict], TryOnBatch]]:
  """Loads both networks.

  Args:
    checkpoint: workdir, or one step of it, of a trained encoder-decoder.
    refine_checkpoint: the same of a refinement network.
    workers: threads for the matching; default: one a core.
    png_round_trip: lets stage 2 see stage 1's picture and mask as the released
      code does, see `through_png`. The matching has the mask as it is.

  Returns:
    The encoder-decoder's checkpoint (its size and fidelity say how examples
    have to be made) and a function from a batch of working examples, as
    `input_pipeline.sample.working_example` makes them, to a TryOnBatch.

  Raises:
    InputError: a checkpoint is missing, damaged, of the wrong network, or the
      two do not belong together.
  """
  first = checkpoints.read(checkpoint, 'encoder_decoder')
  second = checkpoints.read(refine_checkpoint, 'refinement')
  for name in ('fidelity', 'size'):
    if getattr(first, name) != getattr(second, name):
      raise InputError(
          f'{second.path}: trained with {name} {getattr(second, name)}, the '
          f'encoder-decoder {first.path} with {getattr(first, name)}; give two '
          'checkpoints that belong together.'
      )
  fidelity = first.fidelity
  encoder_decoder = EncoderDecoder(features=first.features)
  refinement = Refinement(features=second.features)

  def coarse_step(variables, batch):
    return steps.predict_coarse(
        variables, batch, model=encoder_decoder, fidelity=fidelity
    )

  def refine_step(variables, batch):
    return steps.predict_refined(
        variables,
        batch,
        batch['control_points'],
        batch['mask'],
        batch['coarse'],
        model=refinement,
        fidelity=fidelity,
    )

  coarse_step = parallel.predict(coarse_step)
  refine_step = parallel.predict(refine_step)
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


def match(
    garment_mask: np.ndarray, predicted_mask: np.ndarray, *, fidelity: str
) -> tuple[np.ndarray, str | None]:
  """Control points for one pair, or the regular grid and the reason why not."""
  options = {}
  if fidelity == 'original':
    # VITON matches smaller pictures here than when it prepares data. It takes
    # the nearest pixels of the garment's mask, but not of the predicted one.
    options['size'] = ORIGINAL_TEST_SIZE
    garment_mask = contour.resize_nearest(garment_mask, ORIGINAL_TEST_SIZE)
    predicted_mask = contour.resize_cubic(predicted_mask, ORIGINAL_TEST_SIZE)
  try:
    found = geometry.fit_control_points(
        garment_mask > 0, predicted_mask, fidelity=fidelity, **options
    )
    return found.points_norm, None
  except geometry.MatchingError as error:
    return geometry.regular_grid(10).astype(np.float32), str(error)
