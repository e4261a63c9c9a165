"""The mask of a flat garment in a product photograph, with OpenCV."""

import cv2
import numpy as np

from viton_jax import choices
from viton_jax.errors import InputError
from viton_jax.geometry.contour import resize_area, resize_nearest

# A background pixel of a product photograph is at least this bright.
_LIGHT = 200
# Colour distance to the background, levels of 255: surely garment, and
# perhaps garment (white cloth) or perhaps JPEG ringing.
_STRONG = 14
_WEAK = 4
# Of the cloth's own contrast, where its edge is taken to be.
_EDGE_SHARE = 0.35
_MAX_STRONG = 60
# Ringing reaches one block, 8 px, beyond an edge; thicker parts are cloth.
_RINGING_PX = 9
# Components smaller than this share of the largest are dirt.
_MIN_COMPONENT = 0.02


def garment_mask(
  photo: np.ndarray,
  *,
  fidelity: choices.Fidelity = 'fixed',
  size: tuple[int, int] | None = None,
) -> np.ndarray:
  """Finds a flat garment on a light background.

  Args:
    photo: (h, w, 3) uint8 RGB.
    fidelity: 'original' is every channel differing from 255, holes filled and
      a 3 x 3 median; it loses white and saturated cloth. 'fixed' compares
      with the background found at the border, keeps what is thicker than JPEG
      ringing, and drops specks.
    size: (h, w) of the result, the photo's by default. The original resizes
      (nearest neighbour) before it fills holes, so give its matching size.

  Returns:
    (h, w) bool, True on the garment; holes are filled.

  Raises:
    InputError: not such a photo, or no garment found in it.
  """
  choices.check('fidelity', fidelity, choices.Fidelity)
  photo = np.asarray(photo)
  if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
    raise InputError(
      'a garment photo must be uint8 of shape (h, w, 3), not '
      f'{photo.dtype} of {photo.shape}; decode it as RGB'
    )
  if fidelity == 'original':
    mask = np.all(photo != 255, axis=2)
    if size is not None:
      mask = resize_nearest(mask, size)
    mask = cv2.medianBlur(_fill_holes(mask.astype(np.uint8)), 3) > 0
  else:
    mask = _garment_mask_fixed(photo)
    if size is not None:
      mask = resize_area(mask.astype(np.float32), size) >= 0.5
  if not mask.any():
    raise InputError(
      'no garment found in the photo; it must lie on a light background '
      'that differs from it'
    )
  return mask


def _garment_mask_fixed(photo: np.ndarray) -> np.ndarray:
  h, w, _ = photo.shape
  border = np.concatenate(
    [photo[0], photo[-1], photo[:, 0], photo[:, -1]], axis=0
  )
  light = border[border.min(axis=1) >= _LIGHT]
  # A garment may touch a border or two; only light pixels vote.
  background = np.median(light, axis=0) if len(light) else np.full(3, 255.0)
  background = background.astype(np.uint8)
  distance = cv2.absdiff(photo, np.broadcast_to(background, photo.shape))
  distance = distance.max(axis=2)
  # The edge of cloth lies where half of it shows, so the limit follows its
  # contrast: dark cloth keeps none of its ringing or its shadow.
  cloth = distance[distance > _STRONG]
  limit = _STRONG
  if len(cloth):
    limit = np.clip(_EDGE_SHARE * np.median(cloth), _STRONG, _MAX_STRONG)
  strong = distance > limit
  # The blur takes the compression noise of flat background away.
  # Of grey levels only: colour bleeds over two blocks.
  grey = cv2.blur(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), (3, 3))
  light_grey = cv2.cvtColor(background[None, None], cv2.COLOR_RGB2GRAY)[0, 0]
  weak = (cv2.absdiff(grey, np.full_like(grey, light_grey)) > _WEAK) & ~strong
  reach = min(_RINGING_PX, max(3, h // 25))
  kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
  weak = cv2.morphologyEx(weak.astype(np.uint8), cv2.MORPH_OPEN, kernel)
  mask = (strong | (weak > 0)).astype(np.uint8)
  # Close the gaps in the faint outline of white cloth, then fill it: the
  # background is what the border reaches.
  mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel)
  mask = _fill_holes(mask)
  mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
  count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
  if count == 1:
    return np.zeros((h, w), dtype=bool)
  areas = stats[:, cv2.CC_STAT_AREA].copy()
  areas[0] = 0
  return (areas >= _MIN_COMPONENT * areas.max())[labels] & (labels > 0)


def _fill_holes(mask: np.ndarray) -> np.ndarray:
  """Fills what the border does not reach, by 4-connected steps; uint8 0/1."""
  padded = np.pad(mask, 1)
  cv2.floodFill(padded, None, (0, 0), 2)
  return (padded[1:-1, 1:-1] != 2).astype(np.uint8)
