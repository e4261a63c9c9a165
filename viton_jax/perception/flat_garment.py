"""Finds the garment in a shop photo: flat, on a plain light background.

The background's light is evened out first, so vignettes and grey or tinted
paper are as good as white; `garment_mask` then finds what differs;
and soft shadows beside the cloth are taken away again. Photos for which this
cannot work are refused with a reason rather than segmented badly.

`input_pipeline/garment_masks.py` is the part of it that data sets need, whose
product photos are evenly lit on white paper: one threshold against the border's
colour, and VITON's own rule for fidelity 'original'. This module brings a photo
of any user into that state and calls it.
"""

import cv2
import numpy as np

from input_pipeline import garment_masks
from viton_jax.errors import InputError

_REMEDY = (
  'give a photo on a plain light background, or the mask by --garment_mask FILE'
)
# Longest side at which the work is done.
_WORK_PX = 1200
# Paper is brighter than this; grey levels of 255.
_LIGHT = 150
# Border pixels that are farther from an even background are not background,
_EVEN = 14
# and at least this share of the border must be, for garments touch it too.
_MIN_EVEN = 0.55
# Grain above this standard deviation is smoothed away.
_NOISY = 2.0
# A garment covers at least and at most these shares of its photo.
_MIN_SHARE, _MAX_SHARE = 0.01, 0.97
# Shadows keep at least this share of the light, and their hue.
_SHADE, _TINT = 0.5, 0.06
# They fade over some per cent of the photo's shorter side, and this share of
# where they end must be the sharp edge of cloth.
_SOFT, _MIN_EDGE = 7.0, 0.75
# Narrow gaps that a shadow leaves in a garment, as a share of the garment.
_MAX_GAPS = 0.08


def segment_garment(photo: np.ndarray) -> np.ndarray:
  """Segments a flat garment.

  Args:
    photo: (h, w, 3) uint8 RGB.

  Returns:
    (h, w) bool, True on the garment; holes are filled.

  Raises:
    InputError: not such a photo; the background is dark or patterned; or
      there is no garment, or nothing else.
  """
  photo = np.asarray(photo)
  if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
    raise InputError(
      'a garment photo must be uint8 of shape (h, w, 3), not '
      f'{photo.dtype} of {photo.shape}; decode it as RGB'
    )
  h, w, _ = photo.shape
  if min(h, w) < 16:
    raise InputError(
      f'the garment photo is {w} x {h} pixels; give one of at least 16 x 16'
    )
  # Outlines of large photos are as smooth as those of their reductions.
  scale = _WORK_PX / max(h, w)
  if scale < 1:
    size = (max(16, round(w * scale)), max(16, round(h * scale)))
    small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    mask = _segment(small).astype(np.float32)
    return cv2.resize(mask, (w, h), interpolation=cv2.INTER_LINEAR) >= 0.5
  return _segment(photo)


def _segment(photo: np.ndarray) -> np.ndarray:
  """`segment_garment` at working size."""
  light = _background(photo)
  even = np.clip(photo * (255.0 / light) + 0.5, 0, 255).astype(np.uint8)
  noise = _noise(photo)
  if noise > _NOISY:
    # Else the grain of the paper is as strong as the edge of pale cloth.
    even = cv2.bilateralFilter(even, 9, 4 * noise, 2.5)
  try:
    mask = garment_masks.garment_mask(even)
  except InputError:
    mask = np.zeros(photo.shape[:2], bool)
  share = mask.mean()
  if share < _MIN_SHARE:
    raise InputError(
      'the garment photo shows nothing that differs from its background '
      f'({100 * share:.1f} % of it does); give a photo of the whole garment '
      'on a light background of another colour, or the mask by '
      '--garment_mask FILE'
    )
  if share > _MAX_SHARE:
    raise InputError(
      f'the garment covers {100 * share:.0f} % of its photo, so there is no '
      f'background to tell it from; {_REMEDY}'
    )
  return _without_shadow(even, mask)


def _background(photo: np.ndarray) -> np.ndarray:
  """The light of the background, (h, w, 3) float32, fitted to the border.

  Raises:
    InputError: it is dark, or not even.
  """
  h, w, _ = photo.shape
  calm = cv2.blur(photo, (3, 3))
  depth = max(1, min(h, w) // 100)
  rim = np.ones((h, w), bool)
  rim[depth:-depth, depth:-depth] = False
  y, x = np.nonzero(rim)
  colours = calm[y, x].astype(np.float64)
  grey = colours.mean(axis=1)
  # A garment may touch the border, but the brighter half of it is paper.
  level = np.quantile(grey, 0.7)
  if level < _LIGHT:
    raise InputError(
      f'the garment photo has a dark background (level {level:.0f} of 255 '
      f'along its border); {_REMEDY}'
    )
  basis = _terms(x / w - 0.5, y / h - 0.5)
  weight = (grey > level - 60).astype(np.float64)
  for _ in range(6):
    factors = np.linalg.lstsq(
      basis * weight[:, None], colours * weight[:, None], rcond=None
    )[0]
    off = np.abs(colours - basis @ factors).max(axis=1)
    weight = 1 / (1 + (off / 4) ** 2)
  even = np.mean(off < _EVEN)
  if even < _MIN_EVEN:
    raise InputError(
      f'the garment photo has a patterned background (only {100 * even:.0f} '
      f'% of its border is of one even colour); {_REMEDY}'
    )
  field = _terms(*np.meshgrid(np.arange(w) / w - 0.5, np.arange(h) / h - 0.5))
  return np.clip(field @ factors, _LIGHT / 2, 255).astype(np.float32)


def _noise(photo: np.ndarray) -> float:
  """Standard deviation of the grain of the paper, in levels of 255."""
  h, w, _ = photo.shape
  depth = max(3, min(h, w) // 40)
  grain = photo.astype(np.float32) - cv2.GaussianBlur(photo, (0, 0), 2)
  rim = np.concatenate(
    [
      strip.reshape(-1)
      for strip in (
        grain[:depth],
        grain[-depth:],
        grain[:, :depth],
        grain[:, -depth:],
      )
    ]
  )
  # A garment that touches the border is the minority there.
  return 1.4826 * float(np.median(np.abs(rim)))


def _terms(x, y) -> np.ndarray:
  """Quadratic polynomial in x and y, (..., 6)."""
  return np.stack([x * 0 + 1, x, y, x * x, x * y, y * y], axis=-1)


def _without_shadow(even: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """Takes soft grey shade beside the cloth out of a mask.

  Cloth begins at an edge, a shadow fades in. So the background grows into
  whatever is grey and smooth; where no edge stops it, it has run into
  white cloth, and the mask stays as it is.
  """
  size = min(mask.shape)
  sigma = max(0.7, size / 500)
  values = cv2.GaussianBlur(even, (0, 0), sigma).astype(np.float32) / 255
  grey = values.mean(axis=2)
  tint = (values.max(axis=2) - values.min(axis=2)) / np.maximum(grey, 1e-3)
  slope = np.hypot(
    cv2.Sobel(values, cv2.CV_32F, 1, 0, scale=0.125),
    cv2.Sobel(values, cv2.CV_32F, 0, 1, scale=0.125),
  ).max(axis=2)
  soft = (slope < _SOFT / size) & (grey > _SHADE) & (tint < _TINT)
  _, parts = cv2.connectedComponents(
    (soft | ~mask).astype(np.uint8), connectivity=4
  )
  reached = np.isin(parts, np.unique(parts[~mask])) & soft
  rest = (mask & ~reached).astype(np.uint8)
  # Lines of the shadow's own structure go; the rim of the cloth comes back,
  # which the blur has made soft on its outer side.
  thin = cv2.getStructuringElement(
    cv2.MORPH_ELLIPSE, (2 * round(2 * sigma) + 1,) * 2
  )
  rest = cv2.morphologyEx(_filled(rest), cv2.MORPH_OPEN, thin)
  rest = (cv2.dilate(rest, np.ones((3, 3), np.uint8)) > 0) & mask
  taken = mask & ~rest
  if taken.sum() < 0.01 * mask.sum() or rest.sum() < 0.5 * mask.sum():
    return mask
  # White gaps between dots or stripes are cloth.
  wide = cv2.getStructuringElement(
    cv2.MORPH_ELLIPSE, (2 * round(0.03 * size) + 1,) * 2
  )
  closed = cv2.morphologyEx(rest.astype(np.uint8), cv2.MORPH_CLOSE, wide) > 0
  if (closed & taken).sum() > _MAX_GAPS * rest.sum():
    return mask
  # Where the two meet there must be an edge, not a change of shade.
  near = np.ones((2 * round(3 * sigma) + 5,) * 2, np.uint8)
  meet = (cv2.dilate(rest.astype(np.uint8), np.ones((3, 3))) > 0) & taken
  edge = cv2.dilate(slope, near)[meet] > 2 * _SOFT / size
  if edge.mean() < _MIN_EDGE:
    return mask
  return rest


def _filled(mask: np.ndarray) -> np.ndarray:
  """Fills holes of a uint8 0/1 mask."""
  outline, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
  return cv2.drawContours(np.zeros_like(mask), outline, -1, 1, cv2.FILLED)
