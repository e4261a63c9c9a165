"""Control points of the warp from two masks: garment and person's region."""

from collections.abc import Callable
import dataclasses
from types import ModuleType

from jaxtyping import Shaped
import numpy as np
from scipy import optimize

from viton_jax import choices
from viton_jax.errors import InputError
from viton_jax.geometry import (
  alignment,
  contour,
  original,
  shape_context,
  spline,
)
from viton_jax.runtime import blas_threads

MATCHING_SIZE = (128, 96)
ORIGINAL_TEST_SIZE = (64, 48)
POINTS = 100
GRID = alignment.GRID

_GARMENT = 'garment mask'
_PERSON = "person's garment region"
_GARMENT_POINTS = 400
_PERSON_POINTS = 150
_BLUR_PX = 0.8
_MIN_MATCHED = 15


class MatchingError(InputError):
  """Two masks that cannot be matched; the message says why."""


@dataclasses.dataclass(frozen=True)
class ControlPoints:
  """Control points of the warp, and the matches that gave them.

  All `*_px` are x, y in pixels of the matching size, zero-based.

  Attributes:
    points_norm: (100, 2) float32 x, y in [-1, 1] of the garment image at the
      regular 10 x 10 positions of the person's image; y outer, x inner.
    size: (h, w) that the matching ran at.
    garment_px: (n, 2) sampled boundary points of the garment.
    person_px: (n, 2) sampled boundary points of the person's region.
    matches: (m, 2) int, rows of `garment_px` and `person_px` that belong
      together.
    cost: mean matching cost of a point, 0..1; high for unlike shapes.
    residual_px: mean distance, on the garment, between the matched points and
      where the warp puts them.
  """

  points_norm: np.ndarray
  size: tuple[int, int]
  garment_px: np.ndarray
  person_px: np.ndarray
  matches: np.ndarray
  cost: float
  residual_px: float

  @property
  def num_matched(self) -> int:
    """Number of matched points, of 100."""
    return len(self.matches)


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
      f"fidelity 'fixed' always matches at {_text(MATCHING_SIZE)} pixels, not "
      f'{_text(size)}; '
      'leave size out'
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


def _text(size: tuple[int, ...]) -> str:
  """A size (h, w) as messages say it, width first."""
  return f'{size[1]} x {size[0]}'


def check_masks(
  garment_mask: np.ndarray, person_mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Checks two masks and makes them float32; raises MatchingError."""
  masks = []
  for mask, name in ((garment_mask, _GARMENT), (person_mask, _PERSON)):
    mask = np.asarray(mask)
    if mask.ndim != 2 or min(mask.shape) < 2:
      raise MatchingError(
        f'the {name} must have shape (h, w), not {mask.shape}'
      )
    if mask.dtype.kind not in 'buif' and mask.dtype.name != 'bfloat16':
      raise MatchingError(f'the {name} must hold numbers, not {mask.dtype}')
    mask = mask.astype(np.float32)
    if not np.isfinite(mask).all():
      raise MatchingError(f'the {name} holds NaN or infinity')
    masks.append(mask)
  if masks[0].shape != masks[1].shape:
    raise MatchingError(
      f"the garment mask is {_text(masks[0].shape)} pixels and the person's "
      f'region {_text(masks[1].shape)}; resize them to one size'
    )
  return masks[0], masks[1]


def _check_shape(
  inside: np.ndarray, name: str, *, fidelity: choices.Fidelity
) -> None:
  """Refuses what has too little outline for a warp.

  'original' takes a mask that touches all borders, as the released code does,
  unless it has no outline at all.
  """
  if not inside.any():
    raise MatchingError(f'the {name} is empty')
  borders = (inside[0], inside[-1], inside[:, 0], inside[:, -1])
  touches = all(border.any() for border in borders)
  if touches and (fidelity == 'fixed' or inside.all()):
    raise MatchingError(
      f'the {name} touches all four borders of the image, so its outline '
      'is not in it'
    )
  count = np.count_nonzero(np.diff(inside, axis=0))
  count += np.count_nonzero(np.diff(inside, axis=1))
  if count < POINTS:
    raise MatchingError(
      f'the {name} has {count} boundary points at '
      f'{_text(inside.shape)} pixels, fewer than {POINTS}: it is '
      'too small'
    )
  if not contour.has_core(inside):
    raise MatchingError(
      f'the {name} is nowhere three pixels wide at {_text(inside.shape)} '
      'pixels: it is too thin to carry a warp'
    )


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
  for values, name in ((garment, _GARMENT), (person, _PERSON)):
    values = contour.resize_nearest(values, size)
    _check_shape(values >= level, name, fidelity='original')
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
  starts = [
    start_from_shape_contexts(
      prepared.contexts, prepared.context_modes, prepared.context_in_neck
    )
  ]
  if prepared.torso_start is not None:
    starts.append(prepared.torso_start)
  outlines = prepared.outlines
  warps = [
    alignment.align(start, outlines, alignment.COARSE) for start in starts
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
  for values, name in ((garment, _GARMENT), (person, _PERSON)):
    values = contour.resize_area(values, MATCHING_SIZE)
    inside = values >= level
    _check_shape(inside, name, fidelity='fixed')
    torsos.append(contour.torso(inside))
    # Takes the staircase off a binary mask; of a soft one it moves corners
    # by a fifth of a pixel.
    values = contour.blur(values, _BLUR_PX)
    contours.append(contour.trace(values, level))
    if not contours[-1]:
      raise MatchingError(f'the {name} is too thin to be matched')
  garment_px, garment_angle = contour.spread(contours[0], _GARMENT_POINTS)
  person_px, person_angle = contour.spread(contours[1], _PERSON_POINTS)
  context_px, context_angle = contour.spread(contours[1], POINTS)
  every = _GARMENT_POINTS // POINTS
  h, w = MATCHING_SIZE
  ahead = np.stack([np.cos(person_angle), np.sin(person_angle)], axis=1) / 2
  # Where the image's border cuts the garment, its outline is not the garment's.
  inner = (person_px > 1) & (person_px < (w - 2, h - 2))
  low, extent = garment_px.min(axis=0), np.ptp(garment_px, axis=0)
  share = (garment_px - low) / extent
  in_neck = (share[:, 1] < 0.22) & (np.abs(share[:, 0] - 0.5) < 0.2)
  points = np.concatenate([person_px, person_px + ahead, context_px])
  modes = alignment.point_modes(points, MATCHING_SIZE)
  in_sleeve = np.zeros(_GARMENT_POINTS, dtype=bool)
  if torsos[0] is not None:
    width, middle, _ = torsos[0]
    in_sleeve = np.abs(garment_px[:, 0] - middle) > 0.525 * width
  firsts, lengths = zip(
    *(
      contour.first_share(traced, count)
      for traced, count in zip(
        contours, (_GARMENT_POINTS, _PERSON_POINTS), strict=True
      )
    ),
    strict=True,
  )
  start = None
  if None not in torsos:
    (width_g, x_g, hem_g), (width_p, x_p, hem_p) = torsos
    # The width is at least 1: the run holds the middle column.
    scale = width_g / width_p
    start = alignment.affine_start(
      scale=scale,
      shift=(x_g - scale * x_p, hem_g - scale * hem_p),
      size=MATCHING_SIZE,
    )
  n = _PERSON_POINTS
  return Prepared(
    outlines=alignment.Outlines(
      person_modes=modes[:n],
      ahead_modes=modes[n : 2 * n],
      usable=inner.all(axis=1).astype(np.float64),
      garment_px=garment_px,
      garment_tangents=np.stack(
        [np.cos(garment_angle), np.sin(garment_angle)], axis=1
      ),
      in_neck=in_neck,
      in_sleeve=in_sleeve,
      person_first=np.int32(firsts[1]),
      garment_first=np.int32(firsts[0]),
      person_step_px=np.float64(lengths[1] / _PERSON_POINTS),
      garment_step_px=np.float64(lengths[0] / _GARMENT_POINTS),
    ),
    garment_px=garment_px,
    person_px=person_px,
    contexts=(
      garment_px[::every],
      garment_angle[::every],
      context_px,
      context_angle,
    ),
    context_modes=modes[2 * n :],
    context_in_neck=in_neck[::every],
    torso_start=start,
  )


def start_from_shape_contexts(
  contexts: tuple,
  context_modes: alignment.Array,
  context_in_neck: alignment.Array,
  *,
  solve: Callable = optimize.linear_sum_assignment,
  xp: ModuleType = np,
) -> alignment.Array:
  """A start from one round of shape contexts; more rounds start no better.

  Args:
    contexts, context_modes, context_in_neck: of `Prepared`.
    solve: of an assignment, see `shape_context.assign`.
    xp: array module.

  Returns:
    (k, 2) mode weights.
  """
  garment_px, garment_angle, person_px, person_angle = contexts
  cost = shape_context.matching_cost(
    shape_context.histograms(garment_px, xp=xp)[0],
    shape_context.histograms(person_px, xp=xp)[0],
    garment_angle,
    person_angle,
    xp=xp,
  )
  rows, _ = shape_context.assign(cost, solve=solve, xp=xp)
  # Row -1 of a dummy reads the last point, with weight 0.
  weights = alignment.start_weights(context_in_neck[rows], rows >= 0, xp)
  return alignment.start_from_matches(
    context_modes, garment_px[rows], weights.astype(cost.dtype), xp
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
  index, cosine, distance = alignment.nearest(warp, prepared.outlines)
  weights = alignment.pair_weights(
    cosine, distance, alignment.FINE.gate_px[1], prepared.outlines.usable, np
  )
  matched = np.flatnonzero(weights > 0.2)
  score = float(weights.mean())
  if not np.isfinite(warp).all() or len(matched) < _MIN_MATCHED:
    raise MatchingError(
      f'only {len(matched)} of {_PERSON_POINTS} points of the outlines '
      "match; the garment and the person's region have different shapes"
    )
  scale = np.array(MATCHING_SIZE[::-1]) / image_size[::-1]
  last = np.array(image_size[::-1]) - 1.0
  image_px = (spline.regular_grid(GRID) + 1) / 2 * last
  # Resizing keeps the outer edges of the border pixels in place.
  matching_px = (image_px + 0.5) * scale - 0.5
  modes = alignment.point_modes(matching_px, MATCHING_SIZE)
  image_px = (modes @ warp + 0.5) / scale - 0.5
  return ControlPoints(
    points_norm=(image_px / last * 2 - 1).astype(np.float32),
    size=MATCHING_SIZE,
    garment_px=prepared.garment_px,
    person_px=prepared.person_px,
    matches=np.stack([index[matched], matched], axis=1),
    cost=1 - score,
    residual_px=float(distance[matched].mean()),
  )
