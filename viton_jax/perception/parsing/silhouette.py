"""Cuts a person out of an image by GrabCut, seeded by the joints."""

from typing import Any

import cv2
import numpy as np

from viton_jax.perception.parsing.body_zones import Zones

_ROUNDS = 4


def cut_person(image: np.ndarray, zones: Zones) -> np.ndarray:
  """(h, w) bool, the person, by GrabCut from the pose."""
  far, _ = _seeds(zones, plain=True)
  flat = _flatten(image, far == cv2.GC_BGD)
  seeds, sure = _seeds(zones, plain=flat is not None)
  if ((seeds == cv2.GC_BGD) | (seeds == cv2.GC_PR_BGD)).sum() < 50:
    return np.ones(zones.shape, bool)
  person = _cut(image if flat is None else flat, seeds)
  if flat is None:
    person = _recut_head(image, zones, person)
  return _tidy(person, sure, zones.body.unit)


def _cut(image: np.ndarray, seeds: np.ndarray) -> np.ndarray:
  """(h, w) bool, the foreground; `seeds` are of cv2.GC_*."""
  models = np.zeros((1, 65)), np.zeros((1, 65))
  # GrabCut starts from k-means, which draws from OpenCV's generator.
  cv2.setRNGSeed(0)
  seeds = seeds.copy()
  inside = (seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)
  if inside.all() or not inside.any():
    return inside
  no_box: Any = None  # OpenCV's stubs lack that there may be none.
  cv2.grabCut(
    np.ascontiguousarray(image[..., ::-1]),
    seeds,
    no_box,
    *models,
    _ROUNDS,
    cv2.GC_INIT_WITH_MASK,
  )
  return (seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)


def _recut_head(image: np.ndarray, zones: Zones, person) -> np.ndarray:
  """Cuts the head by its own few colours, before a busy background."""
  near = (np.abs(zones.hx) < 1.0) & (zones.hy > -0.6) & (zones.hy < 1.0)
  y, x = np.nonzero(near)
  if not len(y):
    return person
  box = np.s_[y.min() : y.max() + 1, x.min() : x.max() + 1]
  face, head, hx, hy = (
    z[box] for z in (zones.face, zones.head, zones.hx, zones.hy)
  )
  seeds = np.full(face.shape, cv2.GC_BGD, np.uint8)
  seeds[head < 1.0] = cv2.GC_PR_BGD
  seeds[np.hypot(hx / 0.44, (hy - 0.47) / 0.52) < 1] = cv2.GC_PR_FGD
  seeds[(face < 0.75) | _crown(hx, hy)] = cv2.GC_FGD
  # Below the chin the body is no background.
  inside = near[box] & (hy < 0.9)
  seeds[~inside & (seeds == cv2.GC_BGD)] = cv2.GC_PR_BGD
  if min((seeds == cv2.GC_BGD).sum(), (seeds == cv2.GC_FGD).sum()) < 50:
    return person
  found = _cut(image[box], seeds)
  result = person.copy()
  result[box] = np.where(inside, found, result[box])
  return result


def _crown(hx, hy):
  """Crown and temples: hair, hat or skin, but nothing behind them."""
  return np.hypot(hx / 0.28, (hy - 0.47) / 0.33) < 1


def _seeds(zones: Zones, *, plain: bool) -> tuple[np.ndarray, np.ndarray]:
  """What GrabCut starts from.

  Args:
    zones: of the body.
    plain: whether the background is plain. Then colour alone finds wide hair;
      else the seeds keep closer to the head.

  Returns:
    (h, w) uint8 of cv2.GC_*, and (h, w) bool where surely the person is.
  """
  body, shape = zones.body, zones.shape
  near, far, aside = (0.9, 1.5, 0.85) if plain else (0.75, 1.15, 0.6)
  limb = 2.2 if plain else 1.6
  maybe = (zones.head < far) | zones.trunk(0.55, top=-0.4)
  maybe |= (np.abs(zones.t) < aside) & (zones.s > -1) & (zones.s < 1.3)
  # Wide skirts.
  flare = zones.wide + 0.3 + 0.4 * np.maximum(zones.s - 2.2, 0)
  maybe |= (zones.beside < flare) & (zones.s > 1.8) & (zones.s < 4.3)
  likely = (zones.head < near) | zones.trunk(0.05, top=0.05)
  sure = (zones.face < 0.75) | (zones.trunk(-0.3, top=0.2) & (zones.s < 2.2))
  sure |= _crown(zones.hx, zones.hy)
  sure |= (np.abs(zones.t) < 0.1) & (zones.s > -0.4) & (zones.s < 0.3)
  for k in (0, 1):
    if zones.arms[k] is None or len(body.arm(k)) < 4:
      outside = zones.t * (2 * k - 1) > 0
      maybe |= outside & zones.trunk(1.1)
  for _, distance in [arm for arm in zones.arms if arm] + zones.legs:
    maybe |= distance < limb
    likely |= distance < 0.9
  bones = np.zeros(shape, np.uint8)
  limbs = [body.arm(k) for k in (0, 1)]
  for k in (0, 1):
    leg = body.leg(k)
    if not len(leg) and body.hips_seen:
      # Below a knee that is not seen, a leg may be anywhere.
      leg = body.guessed_leg(k)[:2]
      leg[1] = leg[0] + 0.45 * (leg[1] - leg[0])
    limbs.append(leg)
  for points in limbs:
    # Hands and feet bend; their line is a guess.
    for start, end in zip(points[:2], points[1:3], strict=False):
      cv2.line(
        bones,
        np.rint(start).astype(int),
        np.rint(end).astype(int),
        1,
        max(1, round(0.1 * body.unit)),
      )
  sure |= bones > 0
  seeds = np.full(shape, cv2.GC_BGD, np.uint8)
  seeds[maybe] = cv2.GC_PR_BGD
  seeds[likely] = cv2.GC_PR_FGD
  seeds[sure] = cv2.GC_FGD
  return seeds, sure


def _flatten(image: np.ndarray, known: np.ndarray) -> np.ndarray | None:
  """Takes the slow light of a plain background out of an image.

  What is left of such a background is one narrow colour, so that even pale
  cloth before pale paper differs from it. None: the background is not plain.
  """
  h, w = known.shape
  y, x = np.nonzero(known)
  if len(y) < 0.04 * known.size:
    return None
  step = max(1, len(y) // 4000)
  y, x = y[::step], x[::step]

  def terms(x, y):
    x, y = x / w - 0.5, y / h - 0.5
    return np.stack([x * 0 + 1, x, y, x * x, x * y, y * y], axis=-1)

  # Noise is not structure.
  calm = cv2.blur(image, (5, 5))
  basis, values = terms(x, y), calm[y, x].astype(np.float64)
  weight = np.ones(len(y))
  for _ in range(4):
    factors = np.linalg.lstsq(
      basis * weight[:, None], values * weight[:, None], rcond=None
    )[0]
    off = np.abs(values - basis @ factors).max(axis=1)
    weight = 1 / (1 + (off / 6) ** 2)
  if np.quantile(off, 0.75) > 10:
    return None
  rows, columns = np.mgrid[:h, :w]
  light = terms(columns, rows) @ factors
  return np.clip(image - light + light.mean(axis=(0, 1)) + 0.5, 0, 255).astype(
    np.uint8
  )


def _tidy(person: np.ndarray, sure: np.ndarray, unit: float) -> np.ndarray:
  """Drops what hangs on no joint, and fills pinholes."""
  reach = max(1, round(0.03 * unit)) * 2 + 1
  kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
  mask = cv2.morphologyEx(person.astype(np.uint8), cv2.MORPH_OPEN, kernel)
  _, parts = cv2.connectedComponents(mask)
  kept = np.unique(parts[sure & (mask > 0)])
  mask = np.isin(parts, kept[kept > 0])
  _, holes, stats, _ = cv2.connectedComponentsWithStats(
    (~mask).astype(np.uint8)
  )
  small = stats[:, cv2.CC_STAT_AREA] < 0.03 * unit * unit
  # Between the legs the border of the image closes a gap that is none.
  left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
  right = left + stats[:, cv2.CC_STAT_WIDTH]
  bottom = top + stats[:, cv2.CC_STAT_HEIGHT]
  h, w = mask.shape
  small &= (left > 0) & (top > 0) & (right < w) & (bottom < h)
  small[0] = False
  return mask | small[holes]
