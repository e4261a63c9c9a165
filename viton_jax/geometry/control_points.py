"""The result of a matching, and the checks of the masks that go into it."""

import dataclasses

import numpy as np

from viton_jax import choices
from viton_jax.errors import InputError
from viton_jax.geometry import contour

POINTS = 100  # Boundary points of each mask that shape contexts compare.
# The masks in messages.
GARMENT = 'garment mask'
PERSON = "person's garment region"


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


def size_text(size: tuple[int, ...]) -> str:
  """A size (h, w) as messages say it, width first."""
  return f'{size[1]} x {size[0]}'


def check_masks(
  garment_mask: np.ndarray, person_mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Checks two masks and makes them float32; raises MatchingError."""
  masks = []
  for mask, name in ((garment_mask, GARMENT), (person_mask, PERSON)):
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
      f'the garment mask is {size_text(masks[0].shape)} pixels and the '
      f"person's region {size_text(masks[1].shape)}; resize them to one size"
    )
  return masks[0], masks[1]


def check_shape(
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
      f'{size_text(inside.shape)} pixels, fewer than {POINTS}: it is '
      'too small'
    )
  if not contour.has_core(inside):
    raise MatchingError(
      f'the {name} is nowhere three pixels wide at {size_text(inside.shape)} '
      'pixels: it is too thin to carry a warp'
    )
