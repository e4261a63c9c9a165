"""Masks of garments: their outlines at half coverage, gaps, holes and checks.

Masks are (h, w) bool, photos (h, w, 3) float32 RGB, 0..255.
"""

import cv2
import numpy as np

from viton_jax.errors import InputError

REMEDY = 'or the mask by --garment_mask FILE (white on the garment)'
# A garment covers at least and at most these shares of its photo.
_MIN_SHARE, _MAX_SHARE = 0.04, 0.97
# It is of one piece, has few holes and a smooth outline; shares of it.
_MIN_MAIN, _MAX_HOLES, _MAX_ROUGH = 0.8, 0.2, 0.15
# Contrast, levels, from which an outline is found by half of it.
_CLEAR = 16


# ----------------------------------------------------------------------- checks


def check(mask: np.ndarray) -> None:
  """Refuses what is no garment's mask.

  Raises:
    InputError: with what is wrong with it.
  """
  share = float(mask.mean())
  if share < _MIN_SHARE:
    raise InputError(
      'the garment photo shows nothing large that differs from its background '
      f'({100 * share:.1f} % of it does); give a photo of the whole garment '
      f'on a background of another colour, {REMEDY}'
    )
  if share > _MAX_SHARE:
    raise InputError(
      f'the garment covers {100 * share:.0f} % of its photo, so there is no '
      'background to tell it from; give a photo with some background around '
      f'it, {REMEDY}'
    )
  count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
  areas = stats[1:, cv2.CC_STAT_AREA]
  if areas.max() < _MIN_MAIN * areas.sum():
    raise InputError(
      f'the garment photo falls into {count - 1} pieces, the largest with '
      f'{100 * areas.max() / areas.sum():.0f} % of what was found; give a '
      f'photo of one garment on an even background, {REMEDY}'
    )
  whole = filled(mask)
  holes = float((whole & ~mask).sum() / whole.sum())
  if holes > _MAX_HOLES:
    raise InputError(
      f'the garment found in the photo has holes over {100 * holes:.0f} % of '
      f'it; give a photo on a background of another colour, {REMEDY}'
    )
  size = max(mask.shape)
  kernel = cv2.getStructuringElement(
    cv2.MORPH_ELLIPSE, (2 * round(0.012 * size) + 1,) * 2
  )
  smooth = cv2.morphologyEx(
    cv2.morphologyEx(whole.astype(np.uint8), cv2.MORPH_OPEN, kernel),
    cv2.MORPH_CLOSE,
    kernel,
  )
  rough = float(((smooth > 0) != whole).sum() / whole.sum())
  if rough > _MAX_ROUGH:
    raise InputError(
      f'the outline found in the garment photo is ragged ({100 * rough:.0f} % '
      'of the garment lies in fringes and notches); give a photo on an even '
      f'background of another colour, {REMEDY}'
    )


# --------------------------------------------------------------------- outlines


def refined(calm: np.ndarray, mask: np.ndarray, noise: float) -> np.ndarray:
  """Coverage (h, w) float32: the outline where half of the cloth shows.

  Along the outline the difference from the ground beside it is compared to the
  largest a few pixels away, which may be that of a thin dark rim.
  """
  cover = mask.astype(np.float32)
  for step in range(2):
    solid = (cover >= 0.5).astype(np.uint8)
    inside = cv2.distanceTransform(solid, cv2.DIST_L2, 3)
    outside = cv2.distanceTransform(1 - solid, cv2.DIST_L2, 3)
    beside = (outside > 2.5) & (outside < 9)
    weight = beside.astype(np.float32)
    total = cv2.blur(calm * weight[..., None], (15, 15))
    weight = cv2.blur(weight, (15, 15))
    ground = total / np.maximum(weight, 1e-6)[..., None]
    off = largest(cv2.absdiff(calm, ground))
    most = cv2.dilate(off * (inside < 6), np.ones((7, 7), np.uint8))
    # Without contrast or without ground beside nothing can be said.
    band = (inside < 4) & (outside < 3) & (weight > 0)
    clear = most > max(_CLEAR, 5 * noise)
    faint = band & ~clear
    band &= clear
    part = np.clip(off / np.maximum(most, 1e-3), 0, 1)
    within = np.where(band, part >= 0.5, solid > 0)
    # Stripes of the ground's colour leave no notches: beside a strong one, pale
    # cloth is compared to the cloth behind it.
    gaps = closed(within, 6) & (solid > 0) & ~within
    behind = _at_nearest(off, inside >= 4)
    pale = gaps & (2 * behind < most)
    part[pale] = np.clip(off / np.maximum(behind, 1e-3), 0, 1)[pale]
    within |= gaps
    within = filled(within) & ((solid > 0) | band)
    depth = cv2.distanceTransform(within.astype(np.uint8), cv2.DIST_L2, 3)
    cover = np.where(band & (depth < 2), part, within).astype(np.float32)
    if step:
      # There the mask ends where the slope of an edge begins.
      cover = np.where(faint, np.clip(inside - 1, 0, 1), cover)
  return cover


def _at_nearest(values: np.ndarray, where: np.ndarray) -> np.ndarray:
  """(h, w) float32: of the nearest pixel of `where` each; all 0 without any."""
  if not where.any():
    return np.zeros_like(values)
  _, labels = cv2.distanceTransformWithLabels(
    (~where).astype(np.uint8),
    cv2.DIST_L2,
    3,
    labelType=cv2.DIST_LABEL_PIXEL,
  )
  found = np.zeros(labels.max() + 1, values.dtype)
  labels = np.asarray(labels, int)
  found[labels[where]] = values[where]
  return found[labels]


def main_parts(mask: np.ndarray) -> np.ndarray:
  """The largest component and what is at least a thirtieth of it."""
  count, labels, stats, _ = cv2.connectedComponentsWithStats(
    mask.astype(np.uint8)
  )
  if count == 1:
    return mask
  areas = stats[:, cv2.CC_STAT_AREA].copy()
  areas[0] = 0
  return (areas >= areas.max() / 30)[labels] & (labels > 0)


def grown(mask: np.ndarray, radius: float) -> np.ndarray:
  """Dilation by a disc."""
  if not mask.any():
    return mask
  away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
  return away <= radius


def grown_within(mask, where, steps: int) -> np.ndarray:
  """What of `where` is within so many steps of the mask, going through it."""
  allowed = (mask | where).astype(np.uint8)
  front = mask.astype(np.uint8)
  cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
  for _ in range(steps):
    front = cv2.dilate(front, cross) & allowed
  return (front > 0) & where


def closed(mask: np.ndarray, radius: float) -> np.ndarray:
  """Closing by a disc; beyond the photo it goes on as at its edge."""
  if radius < 1 or not mask.any():
    return mask
  pad = int(radius) + 2
  wider = grown(np.pad(mask, pad, mode='edge'), radius)
  depth = cv2.distanceTransform(wider.astype(np.uint8), cv2.DIST_L2, 5)
  return (depth > radius)[pad:-pad, pad:-pad] | mask


def filled(mask: np.ndarray) -> np.ndarray:
  """With all holes filled: what the border does not reach."""
  padded = np.pad(mask.astype(np.uint8), 1)
  cv2.floodFill(padded, None, (0, 0), 2)
  return padded[1:-1, 1:-1] != 2


def small_holes_filled(mask: np.ndarray) -> np.ndarray:
  """With holes below a two-hundredth of the mask filled."""
  holes = filled(mask) & ~mask
  _, labels, stats, _ = cv2.connectedComponentsWithStats(
    holes.astype(np.uint8), connectivity=4
  )
  small = stats[:, cv2.CC_STAT_AREA] < mask.sum() / 200
  small[0] = False
  return mask | small[labels]


def largest(image: np.ndarray) -> np.ndarray:
  """Maximum over the channels; NumPy's own takes several times as long."""
  red, green, blue = cv2.split(image)
  return cv2.max(cv2.max(red, green), blue)
