"""What is in a garment's mask but no garment: hangers, necks, whole people."""

import cv2
import numpy as np

# Shares of the mask's greatest width: a hook or a neck is narrower.
_HOOK_WIDE, _NECK_WIDE = 0.22, 0.6
# Shares of the mask's height: a hook or a neck is taller.
_HOOK_TALL, _NECK_TALL = 0.02, 0.035
# A head is narrower than this share of the shoulders below it.
_HEAD_WIDE = 0.8
# and a face than this share of the whole mask.
_FACE_WIDE = 0.55
# Distance in CIELAB at which a neck's colour is not the cloth's.
_OTHER_COLOUR = 18.0
# and this share of what stands out must have it.
_MOSTLY = 0.65
# Skin in YCrCb, any complexion: smallest and largest Cr and Cb.
_CR, _CB = (134, 178), (77, 128)
# A face's height over its width; its share of the head; and the standard
# deviation down a column of it, levels.
# Hair and all, as a multiple of the face's width.
_HEAD_OVER_FACE = 1.9
_FACE_TALL, _FACE_SHARE, _FEATURES = 0.8, 0.3, 9.0


def without_props(photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """Takes the hanger, or the neck of mannequin or model, out of a mask.

  Both stand out above the shoulders in the middle, narrow, and are of another
  colour than the cloth. A turtleneck or hood is of the cloth's colour.

  Args:
    photo: (h, w, 3) float32 RGB, 0..255.
    mask: (h, w) bool.

  Returns:
    (h, w) bool.
  """
  if not mask.any():
    return mask
  top, tall, wide, left, right = _profile(mask)
  span = right - left + 1
  below = np.nonzero(span > _HOOK_WIDE * wide)[0]
  start = int(below[0]) if len(below) else 0
  hook = start > max(4, _HOOK_TALL * tall)
  if hook:
    mask = mask.copy()
    mask[: top + start] = False
  else:
    start = 0
    if not _has_column(span, tall, wide, at_edge=top == 0):
      return mask
  # What stands out, a few rows of it, against the cloth further down.
  middle = int((left[start] + right[start]) / 2)
  rows = max(4, round((0.015 if hook else _NECK_TALL) * tall))
  seed = np.zeros_like(mask)
  seed[top + start : top + start + rows] = True
  half = int(0.3 * wide)
  aside = slice(max(0, middle - half), middle + half)
  zone = np.zeros_like(mask)
  zone[: top + start + int(0.35 * tall), aside] = True
  seed &= mask & zone
  # The shoulders beside it: prints further down may have its colour.
  end = top + start + rows
  cloth = np.zeros_like(mask)
  cloth[end : end + max(8, int(0.2 * tall))] = True
  cloth[:, slice(max(0, left[start + rows]), right[start + rows] + 1)] = False
  inner = cv2.erode(mask.astype(np.uint8), np.ones((7, 7), np.uint8))
  cloth &= inner > 0
  if seed.sum() < 8 or cloth.sum() < 50:
    return mask
  lab = cv2.cvtColor(photo * np.float32(1 / 255), cv2.COLOR_RGB2LAB)
  cloth_colours = _palette(lab[cloth], 4)
  other = _distance(lab[seed], cloth_colours) > _OTHER_COLOUR
  if other.mean() < _MOSTLY:
    return mask
  box = np.s_[top : top + start + int(0.35 * tall), aside]
  pixels = lab[box].reshape(-1, 3)
  nearer = _distance(pixels, _palette(lab[seed], 2))
  nearer = nearer < _distance(pixels, cloth_colours)
  prop = np.zeros(mask.shape, np.uint8)
  prop[box] = nearer.reshape(prop[box].shape)
  prop &= mask
  kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
  prop = cv2.morphologyEx(prop, cv2.MORPH_OPEN, kernel)
  _, labels = cv2.connectedComponents(prop, connectivity=4)
  touched = np.unique(labels[seed & (prop > 0)])
  prop = np.isin(labels, touched[touched > 0])
  # Labels and shade within the neck go with it.
  whole = cv2.morphologyEx(
    prop.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)
  )
  return mask & ~(whole > 0)


def is_person(photo: np.ndarray, mask: np.ndarray, *, busy: bool) -> bool:
  """Whether a mask is that of a person: a face stands out above it.

  A face is a patch of skin, about as tall as wide, with darker features one
  below the other; most of the mask at its height; and the shoulders, wider by
  half, come soon below it. A neck has no features, and a print no shoulders.

  Args:
    photo: (h, w, 3) float32 RGB, 0..255.
    mask: (h, w) bool, before `without_props`.
    busy: whether the ground is, so that shoulders may be missing.
  """
  if not mask.any():
    return False
  grey = photo.mean(axis=2)
  columns = np.nonzero(mask.any(axis=0))[0]
  across = columns[-1] - columns[0] + 1
  skin = cv2.morphologyEx(
    (skin_of(photo) & mask).astype(np.uint8),
    cv2.MORPH_OPEN,
    np.ones((3, 3), np.uint8),
  )
  count, labels, stats, _ = cv2.connectedComponentsWithStats(skin)
  large = np.nonzero(stats[1:, cv2.CC_STAT_AREA] > 0.003 * mask.sum())[0] + 1
  for one in large:
    x, y, wide, tall, area = (int(n) for n in stats[one])
    # The face itself: neck, chest and arms may be of one piece with it.
    rows = labels[y : y + tall, x : x + wide] == one
    widths = np.maximum.accumulate(rows.sum(axis=1))
    face = int(widths[np.argmax(np.arange(tall) >= 0.9 * widths)])
    middle = x + int(np.median(np.nonzero(rows[:face])[1]))
    if tall < _FACE_TALL * face or face < 8:
      continue
    # Above a face there is hair at most, no wider than a head.
    above = mask[: y + face // 2].sum(axis=1).max(initial=0)
    if above > _HEAD_OVER_FACE * face and not busy:
      continue
    tall = min(tall, int(1.4 * face))
    left, right = max(0, middle - face // 2), middle + face // 2
    part = labels[y : y + tall, left:right] == one
    start, end = _run_at(mask[y + tall // 3], middle)
    if part.sum() < _FACE_SHARE * mask[y : y + tall, start:end].sum():
      continue
    below = mask[y + tall // 2 : y + tall // 2 + 2 * (end - start)]
    shoulders = end - start < _HEAD_WIDE * _widest(below, middle)
    shoulders &= face < _FACE_WIDE * across
    # Shoulders of cloth widen from the collar on; a head does not,
    # hair and all, towards the neck.
    neck = mask[y + 2 * face // 3 : y + 3 * face // 2]
    narrow = [b - a for a, b in (_run_at(row, middle) for row in neck)]
    shoulders &= min(narrow, default=0) <= 1.05 * (end - start)
    alone = busy and part.sum() > 0.5 * face * tall and area < 0.6 * mask.sum()
    if not shoulders and not alone:
      continue
    # Columns through the middle of a face change from brow to mouth.
    inner = grey[
      y + tall // 8 : y + 3 * tall // 4, left + face // 3 : right - face // 3
    ]
    if inner.size and inner.std(axis=0).mean() > _FEATURES:
      return True
  return False


def _run_at(row: np.ndarray, column: int) -> tuple[int, int]:
  """First and last + 1 of the run of a bool row that holds a column."""
  gaps = np.nonzero(~row)[0]
  before, after = gaps[gaps <= column], gaps[gaps > column]
  start = int(before[-1]) + 1 if len(before) else 0
  return start, int(after[0]) if len(after) else len(row)


def _widest(rows: np.ndarray, column: int) -> int:
  """The longest run that holds a column, of any of some bool rows."""
  runs = [_run_at(row, column) for row in rows if row[column]]
  return max((end - start for start, end in runs), default=0)


def skin_of(photo: np.ndarray) -> np.ndarray:
  """Where a photo has the colour of skin: (h, w) bool."""
  colours = cv2.cvtColor(photo.astype(np.uint8), cv2.COLOR_RGB2YCrCb)
  low = np.array([40, _CR[0], _CB[0]])
  high = np.array([255, _CR[1], _CB[1]])
  return cv2.inRange(colours, low, high) > 0


def _profile(mask: np.ndarray):
  """The mask's rows from its top: first row, height, width, left, right."""
  rows = np.nonzero(mask.any(axis=1))[0]
  top, tall = int(rows[0]), int(rows[-1] - rows[0]) + 1
  part = mask[top : top + tall]
  left = part.argmax(axis=1)
  right = part.shape[1] - 1 - part[:, ::-1].argmax(axis=1)
  # Empty rows between pieces are as wide as nothing.
  left = np.where(part.any(axis=1), left, 0)
  right = np.where(part.any(axis=1), right, -1)
  wide = float(np.quantile(right - left + 1, 0.9))
  return top, tall, wide, left, right


def _has_column(span, tall: int, wide: float, *, at_edge: bool) -> bool:
  """Whether the top rows are a neck: narrow, and for a while no wider."""
  first = max(2, tall // 100)
  rows = max(4, round(_NECK_TALL * tall))
  if first + rows >= len(span):
    return False
  start, end = span[first], span[first + rows]
  if not 0.1 * wide < start < _NECK_WIDE * wide:
    return False
  # A neck that the photo's edge cuts off may be short.
  return end < (1.3 if at_edge else 1.2) * start


def _palette(colours: np.ndarray, count: int) -> np.ndarray:
  """Up to `count` colours (n, 3) that stand for many, rare ones left out."""
  step = max(1, len(colours) // 1500)
  some = np.ascontiguousarray(colours[::step], np.float32)
  stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
  cv2.setRNGSeed(0)
  nearest = np.empty((len(some), 1), np.int32)
  centres = cv2.kmeans(
    some, min(count, len(some)), nearest, stop, 1, cv2.KMEANS_PP_CENTERS
  )[2]
  shares = np.bincount(nearest.ravel(), minlength=len(centres)) / len(some)
  return centres[shares >= min(0.1, shares.max())]


def _distance(colours: np.ndarray, palette: np.ndarray) -> np.ndarray:
  """Distance of each colour from the nearest of a palette."""
  away = [np.linalg.norm(colours - one, axis=1) for one in palette]
  return np.min(away, axis=0)
