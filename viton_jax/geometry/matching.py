"""Control points of the warp from two masks: garment and person's region."""

import dataclasses
from types import ModuleType

from jaxtyping import Shaped
import numpy as np

from viton_jax import choices
from viton_jax.errors import InputError
from viton_jax.geometry import (
  alignment,
  contour,
  original,
  shape_context,
  spline,
  starts,
)
from viton_jax.geometry.control_points import (
  GARMENT,
  PERSON,
  POINTS,
  ControlPoints,
  MatchingError,
  check_masks,
  check_shape,
  size_text,
)
from viton_jax.runtime import blas_threads

MATCHING_SIZE = (128, 96)
ORIGINAL_TEST_SIZE = (64, 48)
GRID = alignment.GRID

GARMENT_POINTS = 400
PERSON_POINTS = 150
BLUR_PX = 0.8
MIN_MATCHED = 15  # Points with a weight above `SURE`.
SURE = 0.2


def fit_control_points(
  garment_mask: Shaped[np.ndarray, 'hg wg'],
  person_mask: Shaped[np.ndarray, 'h w'],
  *,
  fidelity: choices.Fidelity = 'fixed',
  seed: int = 0,
  level: float = 0.5,
  size: tuple[int, int] | None = None,
  image_size: tuple[int, int] | None = None,
) -> ControlPoints:
  """Fits the warp that puts a flat garment on a person's garment region.

  The linear algebra runs in one thread, see `runtime.blas_threads`; call it in
  several threads for several pairs.

  Args:
    garment_mask: (h, w) bool or 0/1, or a float map.
    person_mask: (h, w) bool, 0/1, or a float map such as a predicted mask.
    fidelity: 'original' matches as the released code does; 'fixed' starts
      from shape contexts and lays the outlines on each other.
    seed: of the random sampling of 'original'; 'fixed' draws nothing.
    level: of the iso-contour of both maps.
    size: (h, w) of the matching in 'original', 128 x 96 by default; the
      original prepares at that size and tests at 64 x 48. 'fixed' has one
      size.
    image_size: (h, w) of the images to be warped in 'fixed', the masks' own by
      default. [-1, 1] runs between centres of border pixels, so control
      points depend on it, by up to half a pixel.

  Returns:
    ControlPoints.

  Raises:
    MatchingError: the masks cannot be matched; the message says why.
    InputError: an unknown fidelity or size.
  """
  garment, person = check_masks(garment_mask, person_mask)
  choices.check('fidelity', fidelity, choices.Fidelity)
  if fidelity == 'fixed' and size not in (None, MATCHING_SIZE):
    raise InputError(
      f"fidelity 'fixed' always matches at {size_text(MATCHING_SIZE)} pixels, "
      f'not {size_text(size)}; leave size out'
    )
  try:
    # It solves many small systems.
    with blas_threads.one_blas_thread():
      if fidelity == 'original':
        return _fit_original(
          garment, person, size=size or MATCHING_SIZE, seed=seed, level=level
        )
      return _fit_fixed(
        garment, person, level=level, image_size=image_size or garment.shape
      )
  except np.linalg.LinAlgError as error:
    raise MatchingError(
      'the matched points lie on one line; the garment mask or the '
      "person's region is too thin to carry a warp"
    ) from error


def _fit_original(
  garment: np.ndarray,
  person: np.ndarray,
  *,
  size: tuple[int, int],
  seed: int,
  level: float,
) -> ControlPoints:
  rng = np.random.default_rng(seed)
  sampled = []
  for values, name in ((garment, GARMENT), (person, PERSON)):
    values = contour.resize_nearest(values, size)
    check_shape(values >= level, name, fidelity='original')
    points, tangents = contour.boundary_original(values, level)
    keep = contour.sample_original(points, POINTS, rng=rng)
    sampled += [points[keep], tangents[keep]]
  matches = original.match_iteratively(*sampled)
  h, w = size
  points = original.control_points(matches.spline, size)
  pairs = _pairs(matches.rows)
  return ControlPoints(
    points_norm=(points / (w, h) * 2 - 1).astype(np.float32),
    size=size,
    garment_px=sampled[0] - 1,
    person_px=sampled[2] - 1,
    matches=pairs,
    cost=matches.cost / (1.25 * POINTS),
    residual_px=float(
      np.linalg.norm(
        matches.spline(sampled[0][pairs[:, 0]]) - sampled[2][pairs[:, 1]],
        axis=1,
      ).mean()
    ),
  )


def _pairs(rows: np.ndarray) -> np.ndarray:
  columns = np.flatnonzero(rows >= 0)
  return np.stack([rows[columns], columns], axis=1)


def _fit_fixed(
  garment: np.ndarray,
  person: np.ndarray,
  *,
  level: float,
  image_size: tuple[int, int],
) -> ControlPoints:
  prepared = prepare_fixed(garment, person, level=level)
  begin = [
    starts.start_from_shape_contexts(
      prepared.contexts,
      prepared.context_modes,
      prepared.context_in_neck,
      assign=lambda cost: shape_context.assign(cost)[0],
    )
  ]
  if prepared.torso_start is not None:
    begin.append(prepared.torso_start)
  outlines = prepared.outlines
  warps = [
    alignment.align(start, outlines, alignment.COARSE) for start in begin
  ]
  scores = [alignment.score(warp, outlines) for warp in warps]
  near = max(scores) * alignment.NEAR_BEST
  warps = [
    alignment.align(warp, outlines, alignment.FINE)
    for warp, score in zip(warps, scores, strict=True)
    if score >= near
  ]
  if len(warps) > 1:
    warps.sort(key=lambda warp: alignment.score(warp, outlines, cut=True))
  warp = alignment.finish(warps[-1], outlines, MATCHING_SIZE)
  return finish_fixed(prepared, warp, image_size=image_size)


@dataclasses.dataclass(frozen=True)
class Prepared:
  """Two masks, traced and sampled: fixed shapes, ready for any backend.

  Attributes:
    outlines: for the alignment.
    garment_px, person_px: (400, 2) and (150, 2) outline points.
    contexts: garment points (100, 2) and tangents (100,), person points and
      tangents, for the shape contexts.
    context_modes: (100, k), of the person's points among `contexts`.
    context_in_neck: (100,) bool, of the garment's points among `contexts`.
    torso_start: (k, 2) mode weights that lay torso on torso, or None.
  """

  outlines: alignment.Outlines
  garment_px: np.ndarray
  person_px: np.ndarray
  contexts: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
  context_modes: np.ndarray
  context_in_neck: np.ndarray
  torso_start: np.ndarray | None


def prepare_fixed(
  garment: np.ndarray, person: np.ndarray, *, level: float
) -> Prepared:
  """Traces both masks and samples their outlines.

  Args:
    garment, person: (h, w) float32.
    level: of the iso-contour.

  Returns:
    Prepared.

  Raises:
    MatchingError: a mask is empty, too small, too thin or fills its image.
  """
  contours, torsos = [], []
  for values, name in ((garment, GARMENT), (person, PERSON)):
    values = contour.resize_area(values, MATCHING_SIZE)
    inside = values >= level
    check_shape(inside, name, fidelity='fixed')
    torsos.append(contour.torso(inside))
    # Takes the staircase off a binary mask; of a soft one it moves corners
    # by a fifth of a pixel.
    values = contour.blur(values, BLUR_PX)
    contours.append(contour.trace(values, level))
    if not contours[-1]:
      raise MatchingError(f'the {name} is too thin to be matched')
  garment_px, garment_angle = contour.spread(contours[0], GARMENT_POINTS)
  person_px, person_angle = contour.spread(contours[1], PERSON_POINTS)
  context_px, context_angle = contour.spread(contours[1], POINTS)
  every = GARMENT_POINTS // POINTS
  place = place_points(
    garment_px,
    person_px,
    person_angle,
    context_px,
    garment_angle=garment_angle,
    torso=torsos[0] and torsos[0][:2],
  )
  firsts, lengths = zip(
    *(
      contour.first_share(traced, count)
      for traced, count in zip(
        contours, (GARMENT_POINTS, PERSON_POINTS), strict=True
      )
    ),
    strict=True,
  )
  start = None
  if None not in torsos:
    (width_g, x_g, hem_g), (width_p, x_p, hem_p) = torsos
    # The width is at least 1: the run holds the middle column.
    scale = width_g / width_p
    start = starts.affine_start(
      scale=np.float64(scale),
      shift=(x_g - scale * x_p, hem_g - scale * hem_p),
      size=MATCHING_SIZE,
    )
  n = PERSON_POINTS
  return Prepared(
    outlines=alignment.Outlines(
      person_modes=place.modes[:n],
      ahead_modes=place.modes[n : 2 * n],
      usable=place.usable,
      garment_px=garment_px,
      garment_tangents=place.garment_tangents,
      in_neck=place.in_neck,
      in_sleeve=place.in_sleeve,
      person_first=np.int32(firsts[1]),
      garment_first=np.int32(firsts[0]),
      person_step_px=np.float64(lengths[1] / PERSON_POINTS),
      garment_step_px=np.float64(lengths[0] / GARMENT_POINTS),
    ),
    garment_px=garment_px,
    person_px=person_px,
    contexts=(
      garment_px[::every],
      garment_angle[::every],
      context_px,
      context_angle,
    ),
    context_modes=place.modes[2 * n :],
    context_in_neck=place.in_neck[::every],
    torso_start=start,
  )


@dataclasses.dataclass(frozen=True)
class Places:
  """Where points of the outlines lie; see `alignment.Outlines`.

  Attributes:
    modes: (k, 60) of the person's points, of these half a pixel ahead, and of
      the points for the shape contexts.
    usable, garment_tangents, in_neck, in_sleeve: of `alignment.Outlines`.
  """

  modes: alignment.Array
  usable: alignment.Array
  garment_tangents: alignment.Array
  in_neck: alignment.Array
  in_sleeve: alignment.Array


def place_points(
  garment_px: alignment.Array,
  person_px: alignment.Array,
  person_angle: alignment.Array,
  context_px: alignment.Array,
  *,
  garment_angle: alignment.Array,
  torso: tuple[alignment.Array, alignment.Array] | None,
  xp: ModuleType = np,
) -> Places:
  """What depends on where points of the outlines lie.

  Args:
    garment_px, person_px, context_px: (n, 2) points of the outlines.
    person_angle, garment_angle: (n,) tangents in radians.
    torso: width and middle of the garment's, in pixels; None: it has no
      sleeves either.
    xp: array module.
  """
  h, w = MATCHING_SIZE
  dtype = garment_px.dtype
  ahead = xp.stack([xp.cos(person_angle), xp.sin(person_angle)], axis=1) / 2
  # Where the image's border cuts the garment, its outline is not the garment's.
  x, y = person_px[:, 0], person_px[:, 1]
  inner = (x > 1) & (y > 1) & (x < w - 2) & (y < h - 2)
  low = garment_px.min(axis=0)
  extent = xp.maximum(garment_px.max(axis=0) - low, 1e-6)
  share = (garment_px - low[None]) / extent[None]
  in_sleeve = xp.zeros(garment_px.shape[0], bool)
  if torso is not None:
    width, middle = torso
    in_sleeve = xp.abs(garment_px[:, 0] - middle) > 0.525 * width
  points = xp.concatenate([person_px, person_px + ahead, context_px])
  return Places(
    modes=alignment.point_modes(points, MATCHING_SIZE, xp),
    usable=inner.astype(dtype),
    garment_tangents=xp.stack(
      [xp.cos(garment_angle), xp.sin(garment_angle)], axis=1
    ),
    in_neck=(share[:, 1] < 0.22) & (xp.abs(share[:, 0] - 0.5) < 0.2),
    in_sleeve=in_sleeve,
  )


def finish_fixed(
  prepared: Prepared, warp: np.ndarray, *, image_size: tuple[int, int]
) -> ControlPoints:
  """Mode weights of the warp to control points, with the diagnostics.

  Args:
    prepared: of `prepare_fixed`.
    warp: (k, 2) mode weights.
    image_size: (h, w) of the images that will be warped.

  Returns:
    ControlPoints.

  Raises:
    MatchingError: the outlines hardly touch anywhere.
  """
  warp = np.asarray(warp, np.float64)
  index, distance, weights = final_matches(warp, prepared.outlines)
  matched = np.flatnonzero(weights > SURE)
  score = float(weights.mean())
  if not np.isfinite(warp).all() or len(matched) < MIN_MATCHED:
    raise MatchingError(
      f'only {len(matched)} of {PERSON_POINTS} points of the outlines '
      "match; the garment and the person's region have different shapes"
    )
  modes, scale, offset = image_modes(image_size)
  return ControlPoints(
    points_norm=(modes @ warp * scale + offset).astype(np.float32),
    size=MATCHING_SIZE,
    garment_px=prepared.garment_px,
    person_px=prepared.person_px,
    matches=np.stack([index[matched], matched], axis=1),
    cost=1 - score,
    residual_px=float(distance[matched].mean()),
  )


def final_matches(
  warp: alignment.Array, outlines: alignment.Outlines, xp: ModuleType = np
) -> tuple[alignment.Array, alignment.Array, alignment.Array]:
  """The matches of a finished warp: garment point, distance in px, weight.

  A pair whose warp has fewer than `MIN_MATCHED` with a weight above `SURE` is
  not matched.
  """
  index, cosine, distance = alignment.nearest(warp, outlines, xp)
  gate = alignment.FINE.gate_px[1]
  return (
    index,
    distance,
    alignment.pair_weights(cosine, distance, gate, outlines.usable, xp),
  )


def image_modes(
  image_size: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """From mode weights to control points: modes @ warp * scale + offset.

  Args:
    image_size: (h, w) of the images that will be warped.

  Returns:
    (100, k), (2,) and (2,) float64.
  """
  scale = np.array(MATCHING_SIZE[::-1]) / image_size[::-1]
  last = np.array(image_size[::-1]) - 1.0
  image_px = (spline.regular_grid(GRID) + 1) / 2 * last
  # Resizing keeps the outer edges of the border pixels in place.
  matching_px = (image_px + 0.5) * scale - 0.5
  modes = alignment.point_modes(matching_px, MATCHING_SIZE)
  # Back to pixels of the image, (x + 0.5) / scale - 0.5, and to [-1, 1].
  return modes, 2 / scale / last, (0.5 / scale - 0.5) * 2 / last - 1
