"""Finds the garment in a shop photo.

On an even ground of any colour the garment is what differs from it. White
cloth on light paper differs by a few levels of 255, and perhaps at its outline
alone. So noise decides what a difference is, gaps in the outline are closed,
and what it encloses is cloth, unless it looks like ground between sleeve and
body. A soft shadow has no edge, and is left out. On boards, tiles or a carpet
OpenCV's GrabCut parts the colours of the border from those of the middle.
Hangers and necks are taken out (`garment_parts`). A mask that cannot be trusted
is refused with a reason.

`input_pipeline/garment_masks.py` is for data sets whose product photos all lie
on white paper: one threshold, and VITON's own rule for fidelity 'original'.
"""

import cv2
import numpy as np

from viton_jax.errors import InputError
from viton_jax.perception import (
  garment_ground,
  garment_outlines,
  garment_parts,
)

# Longest side at which the work is done, at most and at least.
_WORK_PX, _SMALLEST_PX = 640, 448
# The ground is even where so much of the border has one colour, which varies
# by so many levels of 255 at most.
_MIN_EVEN, _MAX_SPREAD = 0.3, 8.0
# Of the photo, what more is found has taken a part of the ground for cloth.
_MAX_EVEN_SHARE = 0.9
# Garments that three edges cut off cross the border so often at most.
_MAX_CROSSINGS = 12
# A difference from the ground is above so many times its spread, and levels.
_OVER_SPREAD, _MIN_LEVELS = 1.5, 1.2
# Shade keeps at least this share of the light, and its hue.
_SHADE, _TINT, _TINT_LEVELS = 0.45, 0.02, 3
# An edge has this slope, levels a pixel, and so many times the coarse one.
_MIN_SLOPE, _SHARP = 0.3, 1.5
# Differences above this are compressed before slopes are taken, levels.
_BEND = 12.0
# RGB to grey.
_GREY = np.array([[0.3, 0.59, 0.11]], np.float32)
# Gaps in the outline are closed by discs of these radii, shares of the size,
# until one encloses nearly what the best one does.
_GAPS, _NEARLY = (0.003, 0.006, 0.012, 0.02, 0.03), 0.975
# Holes between sleeves and body are at most so many.
_FEW = 4
# JPEG's ringing beside an edge: its share of the contrast, its reach in pixels.
_RINGING, _RINGING_PX = 0.07, 10


def segment_garment(photo: np.ndarray) -> np.ndarray:
  """Segments a garment.

  Args:
    photo: (h, w, 3) uint8 RGB.

  Returns:
    (h, w) bool, True on the garment; holes that are cloth are filled.

  Raises:
    InputError: not such a photo, or a garment that cannot be found in it.
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
  scale = float(np.clip(1, _SMALLEST_PX / max(h, w), _WORK_PX / max(h, w)))
  if scale == 1:
    return _segment(photo, scale) >= 0.5
  size = (max(16, round(w * scale)), max(16, round(h * scale)))
  way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
  cover = _segment(cv2.resize(photo, size, interpolation=way), scale)
  back = cv2.INTER_LINEAR if scale < 1 else cv2.INTER_AREA
  return cv2.resize(cover, (w, h), interpolation=back) >= 0.5


def _segment(photo: np.ndarray, scale: float) -> np.ndarray:
  """`segment_garment` at working size: coverage (h, w) float32, 0..1."""
  calm, noise = _without_noise(photo)
  ground = garment_ground.fit_border(calm)
  busy = ground.share < _MIN_EVEN or ground.spread > _MAX_SPREAD
  mask = None
  if not busy:
    mask = garment_outlines.main_parts(_on_even_ground(calm, ground, scale))
    # Of two colours in turn, as tiles have, one alone was taken for the ground.
    busy = mask.mean() > _MAX_EVEN_SHARE or _crosses_often(mask)
  if mask is None or busy:
    mask = garment_outlines.main_parts(_by_colours(photo, calm, ground))
  if garment_parts.is_person(calm, mask, busy=busy):
    raise InputError(
      'the garment photo shows a person, a head above the clothes; give a '
      f'photo of the garment alone, {garment_outlines.REMEDY}'
    )
  mask = garment_outlines.main_parts(garment_parts.without_props(calm, mask))
  cover = garment_outlines.refined(calm, mask, noise)
  whole = cover >= 0.5
  cover[whole & ~garment_outlines.main_parts(whole)] = 0
  garment_outlines.check(cover >= 0.5)
  return cover


def _crosses_often(mask: np.ndarray) -> bool:
  """Whether a mask meets the photo's border as tiles and boards do."""
  rim = np.concatenate([mask[0], mask[:, -1], mask[-1, ::-1], mask[::-1, 0]])
  rim = rim.astype(np.uint8)[None]
  # Checks and stripes of a garment that the edge cuts off are one crossing.
  wide = np.ones((1, max(mask.shape) // 20), np.uint8)
  joined = cv2.morphologyEx(rim, cv2.MORPH_CLOSE, wide)
  counts = [np.count_nonzero(np.diff(x[0])) for x in (joined, rim)]
  return bool(counts[0] > _MAX_CROSSINGS or counts[1] > 5 * _MAX_CROSSINGS)


def _without_noise(photo: np.ndarray) -> tuple[np.ndarray, float]:
  """The photo freed of noise, (h, w, 3) float32, and what may be left of it."""
  h, w, _ = photo.shape
  grain = photo[..., 1].astype(np.float32)
  grain = grain - cv2.GaussianBlur(grain, (0, 0), 2)
  depth = max(3, min(h, w) // 40)
  rim = np.concatenate(
    [
      part.ravel()
      for part in (
        grain[:depth], grain[-depth:], grain[:, :depth], grain[:, -depth:]
      )
    ]
  )  # fmt: skip
  noise = 1.4826 * float(np.median(np.abs(rim)))
  if noise > 2:
    # Else the grain of the paper is as strong as the edge of pale cloth.
    smooth = cv2.bilateralFilter(photo, 7, 4 * noise, 2)
    calm = cv2.GaussianBlur(smooth, (0, 0), 0.8)
    return calm.astype(np.float32), 0.3 * noise
  calm = cv2.GaussianBlur(photo.astype(np.float32), (0, 0), 0.6)
  return calm, 0.5 * noise


# ---------------------------------------------------------------- even grounds


def _on_even_ground(calm, ground: garment_ground.Ground, scale: float):
  """What differs from the ground, closed, without its shadow: (h, w) bool."""
  size = max(calm.shape)
  solid, off, _ = _solid(calm, ground, scale)
  outside = ~garment_outlines.grown(
    garment_outlines.filled(garment_outlines.closed(solid, 0.01 * size)),
    0.03 * size,
  )
  ground = garment_ground.refit(calm, ground, outside)
  return _enclosed(*_solid(calm, ground, scale))


def _solid(calm, ground: garment_ground.Ground, scale: float):
  """What cannot be ground, in shade or not.

  That is what has another hue, is brighter, or far darker; and edges. Cloth
  begins at an edge, shade fades in: its slope at a coarse scale is that at a
  fine one, however deep it is.

  Returns:
    solid: (h, w) bool; cloth of the ground's hue shows its outline alone.
    off: (h, w) float32, difference from the ground, 1 where it is sure.
    level: (h, w) float32, brightness over the ground's where it is of the
      ground's hue, else 0.
  """
  off = garment_outlines.largest(cv2.absdiff(calm, ground.field))
  low = max(_MIN_LEVELS, _OVER_SPREAD * ground.spread)
  reach = max(1, round(_RINGING_PX * scale))
  near = cv2.dilate(off, np.ones((2 * reach + 1,) * 2, np.uint8))
  # Colour, which JPEG stores at half the size, rings twice as far.
  wider = cv2.dilate(near, np.ones((2 * reach + 1,) * 2, np.uint8))
  sure = np.maximum(low, _RINGING * near)
  apart = cv2.transform(calm - ground.field, _GREY)
  lighter = np.abs(apart)
  differs = (lighter > sure) | (off > np.maximum(low, _RINGING * wider))
  field = np.maximum(ground.field, 1)
  grey = cv2.transform(calm * field, _GREY)
  grey /= cv2.transform(field * field, _GREY)
  hue = garment_outlines.largest(np.abs(calm - grey[..., None] * field))
  own = np.maximum(
    _TINT_LEVELS + _TINT * garment_outlines.largest(field), _RINGING * wider
  )
  shade = (grey < 1) & (grey > _SHADE) & (hue < own)
  # Large differences are compressed, else pale cloth beside dark stripes would
  # have no edge.
  large = _BEND * (1 + np.log(np.maximum(lighter / _BEND, 1)))
  apart = np.clip(apart, -large, large)
  fine, coarse = _slope(apart, 1.0), _slope(apart, 3.5)
  # Where shade meets white cloth the coarse slope is nought between both.
  coarse = cv2.dilate(coarse, np.ones((7, 7), np.uint8))
  least = _MIN_SLOPE + 0.3 * ground.spread
  edge = (fine > least) & (fine > _SHARP * coarse)
  edge &= cv2.dilate(lighter, np.ones((5, 5), np.uint8)) > 1.5 * sure
  solid = (differs & ~shade) | edge
  # What is faint throughout, or a speck, is what noise and compression leave.
  count, labels, stats, _ = cv2.connectedComponentsWithStats(
    solid.astype(np.uint8)
  )
  areas = stats[:, cv2.CC_STAT_AREA]
  strong = (fine > 1.8 * least) | (differs & ~shade & (off > 2 * low))
  keep = np.bincount(labels[strong], minlength=count) > 0.2 * areas
  keep &= areas >= max(6, 1e-4 * solid.size)
  keep[0] = False
  return keep[np.asarray(labels, int)], off / low, np.where(shade, grey, 0)


def _enclosed(solid, off, level) -> np.ndarray:
  """The region whose outline is drawn, perhaps with gaps: (h, w) bool.

  Gaps are closed by discs of growing radius, until one encloses nearly as much
  cloth as the best of them.
  """
  size = max(solid.shape)
  half = (solid.shape[1] // 2, solid.shape[0] // 2)
  reduced = [
    cv2.resize(x.astype(np.float32), half, interpolation=cv2.INTER_AREA)
    for x in (solid, off, level)
  ]
  reduced[0] = reduced[0] > 0.3
  areas = [
    _with_gaps_closed(*reduced, radius=share * size / 2).sum()
    for share in _GAPS
  ]
  enough = _NEARLY * max(areas)
  mask = solid
  for share, area in zip(_GAPS, areas, strict=True):
    if area < enough:
      continue
    mask = _with_gaps_closed(solid, off, level, radius=share * size)
    # Lines that hold at half the size may have gaps at the whole.
    if mask.sum() > 4 * 0.95 * area:
      break
  return mask


def _with_gaps_closed(solid, off, level, *, radius: float) -> np.ndarray:
  """`solid` with gaps up to twice the radius closed and cloth filled in."""
  if not solid.any():
    return solid
  closed = garment_outlines.closed(solid, radius)
  columns = np.nonzero(closed.any(axis=0))[0]
  axis, wide = (columns[0] + columns[-1]) / 2, columns[-1] - columns[0] + 1
  filled = garment_outlines.filled(closed)
  bare = _bare(filled & ~solid, off, axis=axis, wide=wide)
  closed &= ~bare
  area = filled.sum()
  cloth = filled & ~closed & ~bare
  cloth &= ~_ground_in(cloth, off, level, solid=solid, axis=axis, wide=wide)
  # What the disc has added: gaps in an outline stay; wedges between sleeve and
  # body, which touch no cloth, are few. Many are stripes that end open.
  added = closed & ~solid
  gaps = garment_outlines.grown_within(
    cloth, added, max(3, round(0.008 * max(solid.shape)))
  )
  inner = added & garment_outlines.filled(solid)
  rest = added & ~gaps & ~inner
  count, labels, stats, centres = cv2.connectedComponentsWithStats(
    rest.astype(np.uint8), connectivity=4
  )
  sizes = stats[:, cv2.CC_STAT_AREA]
  stays = np.abs(centres[:, 0] - axis) < 0.2 * wide
  stays |= sizes < 0.0005 * area
  notches = sizes[1:][sizes[1:] > 0.001 * area]
  if len(notches) > _FEW:
    stays |= sizes < 8 * np.median(notches)
  stays[0] = False
  return solid | cloth | gaps | inner | stays[labels]


def _bare(region, off, *, axis: float, wide: float) -> np.ndarray:
  """What of a region is surely ground: (h, w) bool.

  Nothing, unless the cloth in the middle that is not `solid`, such as pale
  stripes, can be told from the ground.
  """
  left, right = (max(0, round(axis + k * wide)) for k in (-0.15, 0.15))
  pale = off[:, left:right][region[:, left:right]]
  if pale.size <= 0.01 * region.sum():
    return np.zeros_like(region)
  least = float(np.percentile(pale, 10))
  if least < 2:
    return np.zeros_like(region)
  bare = (region & (off < max(1, least / 4))).astype(np.uint8)
  return cv2.morphologyEx(bare, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0


def _ground_in(holes, off, level, *, solid, axis: float, wide: float):
  """Those of the holes in a garment through which ground is seen.

  Ground is seen between sleeve and body: beside the middle, in few places,
  and it looks like the ground, perhaps in the shade. Stripes and dots of its
  colour are many, or cross the middle.
  """
  count, labels, stats, centres = cv2.connectedComponentsWithStats(
    holes.astype(np.uint8), connectivity=4
  )
  sizes = np.maximum(stats[:, cv2.CC_STAT_AREA], 1)
  x0 = stats[:, cv2.CC_STAT_LEFT]
  x1 = x0 + stats[:, cv2.CC_STAT_WIDTH]
  flat = labels.ravel()
  mean_off = np.bincount(flat, off.ravel(), count) / sizes
  mean_level = np.bincount(flat, level.ravel(), count) / sizes
  # Shade is brighter than halfway to the cloth, if that is dark or coloured.
  cloth_level = float(np.median(level[solid])) if solid.any() else 1.0
  like = (mean_off < 0.8) | (mean_level > (1 + cloth_level) / 2)
  # Sleeves of the ground's colour have nothing but it beside them.
  inner = holes & (cv2.erode(holes.astype(np.uint8), np.ones((3, 3))) == 0)
  far = ~garment_outlines.filled(solid | holes)
  away = cv2.distanceTransform((~far).astype(np.uint8), cv2.DIST_L2, 3)
  rim = np.bincount(labels[inner], minlength=count)
  open_rim = inner & (away < 0.015 * max(holes.shape))
  open_rim = np.bincount(labels[open_rim], minlength=count)
  like &= open_rim < 0.3 * np.maximum(rim, 1)
  beside = (x0 > axis + 0.06 * wide) | (x1 < axis - 0.06 * wide)
  beside &= np.abs(centres[:, 0] - axis) > 0.18 * wide
  area = solid.sum() + holes.sum()
  seen = like & beside & (sizes > 0.0015 * area)
  seen[0] = False
  if (sizes[1:] > 0.001 * area).sum() > _FEW:
    seen[:] = False
  return seen[labels]


def _slope(image: np.ndarray, sigma: float) -> np.ndarray:
  """Gradient of (h, w) float32 at a scale, a pixel."""
  soft = cv2.GaussianBlur(image, (0, 0), sigma)
  return cv2.magnitude(
    cv2.Sobel(soft, cv2.CV_32F, 1, 0, scale=0.125),
    cv2.Sobel(soft, cv2.CV_32F, 0, 1, scale=0.125),
  )


# ------------------------------------------------------------ patterned grounds


def _by_colours(photo, calm, ground: garment_ground.Ground) -> np.ndarray:
  """GrabCut, the border as ground and the middle as cloth: (h, w) bool.

  Where most of the border has one colour, what is far from it begins as cloth.
  """
  h, w, _ = photo.shape
  scale = min(1.0, 320 / max(h, w))
  size = (max(16, round(w * scale)), max(16, round(h * scale)))
  small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
  small = cv2.medianBlur(small, 3)
  h, w = small.shape[:2]
  marks = np.full((h, w), cv2.GC_PR_BGD, np.uint8)
  marks[h // 5 : h - h // 6, w // 5 : w - w // 5] = cv2.GC_PR_FGD
  if ground.share > _MIN_EVEN:
    off = garment_outlines.largest(cv2.absdiff(calm, ground.field))
    off = cv2.resize(off, size, interpolation=cv2.INTER_AREA)
    far = (off > max(20, 2 * ground.spread)).astype(np.uint8)
    far = cv2.morphologyEx(far, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    far = garment_outlines.small_holes_filled(
      garment_outlines.main_parts(far > 0)
    )
    if 0.05 < far.mean() < 0.9 and not _crosses_often(far):
      marks[:] = np.where(far, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
  depth = max(2, min(h, w) // 50)
  rim = np.ones((h, w), bool)
  rim[depth:-depth, depth:-depth] = False
  marks[rim] = cv2.GC_BGD
  models = np.zeros((1, 65)), np.zeros((1, 65))
  cv2.setRNGSeed(0)
  # Without a rectangle: the marks say where to begin.
  cv2.grabCut(small, marks, (0, 0, 1, 1), *models, 6, cv2.GC_INIT_WITH_MASK)
  found = (marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)
  found = cv2.morphologyEx(
    found.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)
  )
  found = garment_outlines.small_holes_filled(
    garment_outlines.main_parts(found > 0)
  )
  big = cv2.resize(found.astype(np.float32), photo.shape[1::-1])
  return big >= 0.5
