"""Control points of the warp from two masks: garment and person's region."""

import dataclasses

import cv2
import numpy as np

from viton_jax.errors import InputError
from viton_jax.geometry import contour
from viton_jax.geometry import shape_context
from viton_jax.geometry import tps

MATCHING_SIZE = (128, 96)
ORIGINAL_TEST_SIZE = (64, 48)
POINTS = 100
GRID = 10


class MatchingError(InputError):
  """Two masks that cannot be matched; the message says why."""


@dataclasses.dataclass(frozen=True)
class ControlPoints:
  """Where the warp looks, and how it was found.

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
    garment_mask: np.ndarray,
    person_mask: np.ndarray,
    *,
    fidelity: str = 'fixed',
    seed: int = 0,
    level: float = 0.5,
    size: tuple[int, int] = MATCHING_SIZE,
    image_size: tuple[int, int] | None = None,
) -> ControlPoints:
  """Fits the warp that puts a flat garment on a person's garment region.

  Args:
    garment_mask: (h, w) bool or 0/1.
    person_mask: (h, w) bool, 0/1, or a float map such as a predicted mask.
    fidelity: 'original' or 'fixed'.
    seed: of the random sampling ('original' only).
    level: of the iso-contour of both maps.
    size: (h, w) of the matching; the original prepares at 128 x 96 and tests
      at 64 x 48.
    image_size: (h, w) of the images to be warped, if not the masks' own.
      [-1, 1] runs between centres of border pixels, so control points depend
      on it, by up to half a pixel.

  Returns:
    ControlPoints.

  Raises:
    MatchingError: the masks cannot be matched; the message says why.
  """
  garment = _check_mask(garment_mask, 'garment mask')
  person = _check_mask(person_mask, "person's garment region")
  if garment.shape != person.shape:
    raise MatchingError(
        f'the garment mask is {garment.shape} and the person\'s region '
        f'{person.shape}; resize them to one size'
    )
  try:
    if fidelity == 'original':
      return _fit_original(
          garment, person, size=size, seed=seed, level=level
      )
    if fidelity == 'fixed':
      return _fit_fixed(
          garment, person, size=size, level=level,
          image_size=image_size or garment.shape,
      )
  except np.linalg.LinAlgError as error:
    raise MatchingError(
        'the matched points lie on one line; the garment mask or the '
        "person's region is too thin to carry a warp"
    ) from error
  raise InputError(
      f"fidelity must be 'original' or 'fixed', not {fidelity!r}"
  )


def _check_mask(mask: np.ndarray, name: str) -> np.ndarray:
  mask = np.asarray(mask)
  if mask.ndim != 2 or min(mask.shape) < 2:
    raise MatchingError(f'the {name} must have shape (h, w), not {mask.shape}')
  if mask.dtype.kind not in 'buif':
    raise MatchingError(f'the {name} must hold numbers, not {mask.dtype}')
  mask = mask.astype(np.float32)
  if not np.isfinite(mask).all():
    raise MatchingError(f'the {name} holds NaN or infinity')
  return mask


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
  for values, name in (
      (garment, 'garment mask'), (person, "person's garment region")
  ):
    values = contour.resize_nearest(values, size)
    points, tangents = contour.boundary_original(values, level)
    if len(points) < POINTS:
      raise MatchingError(
          f'the {name} has {len(points)} boundary points at '
          f'{size[0]} x {size[1]}, fewer than {POINTS}: it is empty or too '
          'small'
      )
    keep = contour.sample_original(points, POINTS, rng=rng)
    sampled += [points[keep], tangents[keep]]
  matches = shape_context.match_iteratively(*sampled)
  h, w = size
  points = control_points_original(matches.spline, size)
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
              matches.spline(sampled[0][pairs[:, 0]])
              - sampled[2][pairs[:, 1]], axis=1,
          ).mean()
      ),
  )


def _pairs(rows: np.ndarray) -> np.ndarray:
  columns = np.flatnonzero(rows >= 0)
  return np.stack([rows[columns], columns], axis=1)


def control_points_original(
    spline: shape_context.Spline, size: tuple[int, int]
) -> np.ndarray:
  """The original's inverse of the spline: the nearest integer grid point.

  Args:
    spline: garment to person, one-based pixels.
    size: (h, w).

  Returns:
    (100, 2) float64 one-based x, y on the garment; y outer.
  """
  h, w = size
  x, y = np.meshgrid(np.linspace(1, w, GRID), np.linspace(1, h, GRID))
  targets = np.stack([x.ravel(), y.ravel()], axis=1)
  # Column-major as in MATLAB, where the first of equally near points wins.
  x, y = np.meshgrid(
      np.arange(-2 * w, 2 * w + 1.0), np.arange(-2 * h, 2 * h + 1.0),
      indexing='ij',
  )
  candidates = np.stack([x.ravel(), y.ravel()], axis=1)
  images = np.concatenate(
      [spline(part) for part in np.array_split(candidates, 64)]
  )
  nearest = [
      np.argmin(np.sum((images - target) ** 2, axis=1)) for target in targets
  ]
  return candidates[nearest]


def _fit_fixed(
    garment: np.ndarray,
    person: np.ndarray,
    *,
    size: tuple[int, int],
    level: float,
    image_size: tuple[int, int],
) -> ControlPoints:
  sampled = []
  for values, name in (
      (garment, 'garment mask'), (person, "person's garment region")
  ):
    values = contour.resize_area(values, size)
    values = cv2.GaussianBlur(values, (0, 0), 0.8)
    contours = contour.trace(values, level)
    if not contours:
      raise MatchingError(f'the {name} is empty or too small to be matched')
    sampled += _spread(contours, POINTS)
  matches = shape_context.match_iteratively(*sampled)
  pairs = _pairs(matches.rows)
  source = sampled[0][pairs[:, 0]]
  target = sampled[2][pairs[:, 1]]
  spline = shape_context.fit_spline(target, source, regularisation=10.0)
  residual = np.linalg.norm(spline(target) - source, axis=1).mean()
  return ControlPoints(
      points_norm=_control_points(spline, size, image_size),
      size=size,
      garment_px=sampled[0],
      person_px=sampled[2],
      matches=pairs,
      cost=matches.cost / (1.25 * POINTS),
      residual_px=float(residual),
  )


def _control_points(
    spline: shape_context.Spline,
    size: tuple[int, int],
    image_size: tuple[int, int],
) -> np.ndarray:
  """Evaluates person -> garment at the control grid of the images."""
  scale = np.array(
      [size[1] / image_size[1], size[0] / image_size[0]], np.float64
  )
  last = np.array([image_size[1] - 1, image_size[0] - 1], np.float64)
  image_px = (tps.regular_grid(GRID) + 1) / 2 * last
  # Resizing keeps the outer edges of the border pixels in place.
  matching_px = (image_px + 0.5) * scale - 0.5
  image_px = (spline(matching_px) + 0.5) / scale - 0.5
  return (image_px / last * 2 - 1).astype(np.float32)


def _spread(
    contours: list[np.ndarray], count: int
) -> tuple[np.ndarray, np.ndarray]:
  """Spreads points evenly by arc length over closed contours."""
  lengths = []
  for points in contours:
    closed = np.concatenate([points, points[:1]])
    lengths.append(np.hypot(*np.diff(closed, axis=0).T))
  totals = np.array([steps.sum() for steps in lengths])
  shares = np.maximum(np.round(totals / totals.sum() * count), 3).astype(int)
  shares[0] += count - shares.sum()
  out, tangents = [], []
  for points, steps, share in zip(contours, lengths, shares, strict=True):
    at = np.concatenate([[0], np.cumsum(steps)])
    closed = np.concatenate([points, points[:1]])
    wanted = np.arange(share) * at[-1] / share

    def sample(s, at=at, closed=closed):
      s = np.mod(s, at[-1])
      return np.stack(
          [np.interp(s, at, closed[:, k]) for k in (0, 1)], axis=1
      )
    out.append(sample(wanted))
    d = sample(wanted + 1.5) - sample(wanted - 1.5)
    tangents.append(np.arctan2(d[:, 1], d[:, 0]))
  return np.concatenate(out), np.concatenate(tangents)
