"""Human parsing without a parser model: colours and the joints of a pose.

GrabCut [1], seeded by the limbs, cuts the person out. Skin is learnt from the
face, cloth from the chest and the thighs, hair from the crown. Each pixel then
weighs its colour against where it lies on the body, after the costs have been
smoothed along the edges of the photo [2]; sleeves and hems end where one cut
across the limb explains the colours best.

Good enough for a try-on before a plain background; a parser network is better.

References:
  [1] Rother, Kolmogorov, Blake: "GrabCut", SIGGRAPH 2004.
  [2] Hosni et al.: "Fast cost-volume filtering for visual correspondence and
      beyond", PAMI 2013; He et al.: "Guided image filtering", PAMI 2013.
"""

import cv2
import numpy as np

from viton_jax.errors import InputError
from viton_jax.perception.parsing.body import TORSO, Body, measure
from viton_jax.perception.parsing.body_zones import Zones, grid
from viton_jax.perception.parsing.colours import (
  hair_colours,
  lower_colours,
  skin_colours,
  upper_colours,
)
from viton_jax.perception.parsing.silhouette import cut_person

# LIP-20.
HAIR, UPPER, PANTS, TORSO_SKIN, SKIRT, FACE = 2, 5, 9, 10, 12, 13
ARMS, LEGS, SHOES = (15, 14), (17, 16), (19, 18)  # Right, left.

# Longest side at which the work is done, around the person.
_WORK_PX = 448
# A pixel's colour counts no more than this against its place, in nats.
_MAX_COLOUR = 6.0
_NEVER = 60.0
_NO_HEM = 9.0
_HAIR, _SKIN, _UPPER, _LOWER = range(4)


def parse_person_grabcut(
  image: np.ndarray, keypoints: np.ndarray, *, mask: np.ndarray | None = None
) -> np.ndarray:
  """Labels the parts of one person by colour, guided by a pose.

  Args:
    image: (h, w, 3) uint8 RGB.
    keypoints: (18, 3) float, COCO-18: x, y in pixels, confidence (0 is a
      missing joint). The neck or both shoulders must be there.
    mask: (h, w) float32 in 0..1, how surely a pixel is the person; None:
      GrabCut cuts the person out.

  Returns:
    (h, w) uint8 LIP-20: background 0, hair (and hats) 2, upper clothes 5,
    trousers 9 or skirt 12, bare skin of the torso 10, face and neck 13, bare
    arms 14 (left) and 15 (right), bare legs 16 and 17, shoes 18 and 19.

  Raises:
    InputError: an unusable image, too few joints, or no upper clothes.
  """
  image = np.asarray(image)
  if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
    raise InputError(
      'a photo to parse must be uint8 of shape (h, w, 3), not '
      f'{image.dtype} of {image.shape}; decode it as RGB'
    )
  keypoints = np.asarray(keypoints, np.float64)
  body = measure(keypoints)
  x0, y0, x1, y1 = _frame(body, image.shape[:2])
  crop = image[y0:y1, x0:x1]
  scale = min(1.0, _WORK_PX / max(crop.shape[:2]))
  size = [max(16, round(side * scale)) for side in crop.shape[1::-1]]
  small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
  zoom = np.array(size) / crop.shape[1::-1]
  points = keypoints.copy()
  # Pixel centres lie at integers on both scales.
  points[:, :2] = (points[:, :2] - (x0, y0) + 0.5) * zoom - 0.5
  if mask is not None:
    mask = mask[y0:y1, x0:x1].astype(np.float32)
    mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA) > 0.5
  labels = _parse(small, measure(points), mask)
  if not (labels == UPPER).any():
    raise InputError(
      'no upper clothes were found at the joints of the pose; give a label '
      'map by --parse FILE or better joints by --pose FILE'
    )
  result = np.zeros(image.shape[:2], np.uint8)
  result[y0:y1, x0:x1] = _enlarge(labels, crop.shape[:2])
  return result


def _frame(body: Body, shape) -> tuple[int, int, int, int]:
  """The part of the image that the person may fill: x0, y0, x1, y1."""
  h, w = shape
  points = [
    body.joints[~np.isnan(body.joints).any(axis=1)],
    body.shoulders,
    body.hips,
    body.head[None],
  ]
  for side in (0, 1):
    if len(body.leg(side)) < 4:
      points.append(body.guessed_leg(side))
    if len(body.arm(side)) < 4:
      out = body.shoulders[side] - body.neck
      points.append(body.shoulders[side, None] + out)
  points = np.concatenate(points)
  reach = 1.4 * max(body.unit, body.head_unit)
  low = np.floor(points.min(axis=0) - reach).astype(int)
  high = np.ceil(points.max(axis=0) + reach).astype(int)
  x0, y0 = np.clip(low, 0, (w - 1, h - 1))
  x1, y1 = np.clip(high, 0, (w, h))
  if x1 - x0 < 8 or y1 - y0 < 8:
    raise InputError(
      f'the joints lie outside the photo of {w} x {h} pixels; give the pose '
      'of this photo by --pose FILE or a label map by --parse FILE'
    )
  return int(x0), int(y0), int(x1), int(y1)


def _parse(
  image: np.ndarray, body: Body, person: np.ndarray | None
) -> np.ndarray:
  """`parse_person_grabcut` at working size."""
  pixels = grid(image.shape[:2])
  zones = Zones(body, pixels)
  if person is None:
    person = cut_person(image, zones)
  lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
  return _label(image, lab, zones=zones, person=person)


def _label(
  image: np.ndarray, lab: np.ndarray, *, zones: Zones, person: np.ndarray
) -> np.ndarray:
  """(h, w) uint8 LIP-20 labels of the pixels of a person."""
  skin = skin_colours(lab, zones, person)
  hair = hair_colours(lab, zones, person, skin)
  hem, cuffs, ankles = 2.35, [1.0, 1.0], [1.5, 1.5]
  y, x = np.nonzero(person)
  colours = lab[y, x]
  for _ in range(2):
    upper = upper_colours(lab, zones, person, hem=hem, known=(skin, hair))
    lower = lower_colours(lab, zones, person, hem=hem, known=(skin, upper))
    models = (hair, skin, upper, lower)
    cost = np.full((4, *zones.shape), _MAX_COLOUR, np.float32)
    for k, model in enumerate(models):
      if model is not None:
        cost[k, y, x] = model.cost(colours)
    cost -= cost.min(axis=0)
    cost = np.minimum(cost, _MAX_COLOUR)
    if lower is None or (not zones.body.hips_seen and lower.like(upper)):
      hem = _NO_HEM
    else:
      hem = _find_hem(zones, person, cost)
    cuffs = [_find_cuff(arm, person, cost) for arm in zones.arms]
    ankles = [
      _find_ankle(leg, person, cost) if lower is not None else 0.0
      for leg in zones.legs
    ]
  place, skin_zones = _place(
    zones,
    hem=hem,
    cuffs=cuffs,
    ankles=ankles,
    long=_long_hair(zones, person, cost),
  )
  if lower is None:
    place[_LOWER] = _NEVER
  guide = image.astype(np.float32).mean(axis=2) / 255
  total = cost + np.minimum(place, _NEVER)
  radius = max(2, round(0.05 * zones.body.unit))
  total = _guided(total, guide, person.astype(np.float32), radius)
  kinds = total.argmin(axis=0)
  return _names(kinds, skin_zones, zones=zones, person=person, hem=hem)


def _best_cut(evidence, weight, prior) -> int:
  """Index from which on positive evidence is to hold, negative before it."""
  signed = evidence * weight
  before = np.concatenate([[0], np.cumsum(signed)])
  return int(np.argmin(before - (before[-1] - before) + prior))


def _profile(value, along, inside, edges):
  """Means of values in bins of `along`, and whether a bin has pixels."""
  place = np.digitize(along[inside], edges) - 1
  valid = (place >= 0) & (place < len(edges) - 1)
  count = np.bincount(place[valid], minlength=len(edges) - 1)
  total = np.bincount(
    place[valid], value[inside][valid], minlength=len(edges) - 1
  )
  return total / np.maximum(count, 1), count > 0


def _find_hem(zones: Zones, person, cost) -> float:
  """Depth at which the upper garment ends, in heads below the pit."""
  edges = np.arange(1.4, 3.61, 0.05)
  inside = zones.trunk(-0.15) & person
  for along, distance in zones.legs:
    inside |= (distance < 0.8) & person & (along > 0)
  for arm in zones.arms:
    if arm is not None:
      inside &= ~((arm[0] > 1) & (arm[1] < 1.2))
  value = np.clip(cost[_UPPER] - cost[_LOWER], -3, 3)
  evidence, seen = _profile(value, zones.s, inside, edges)
  prior = 1.5 * ((edges - 2.35) / 0.4) ** 2
  # Without hips there may be no hem either, in the image.
  prior[:-1] += 0.0 if zones.body.hips_seen else 4.0
  prior[-1] = 25.0 if zones.body.hips_seen else 0.0
  best = _best_cut(evidence, seen, prior)
  return float(edges[best]) if best < len(edges) - 1 else _NO_HEM


def _find_cuff(arm, person, cost) -> float:
  """Position along the arm at which the sleeve ends."""
  if arm is None:
    return 2.0
  along, distance = arm
  edges = np.arange(-0.2, 2.71, 0.05)
  value = np.clip(cost[_UPPER] - cost[_SKIN], -3, 3)
  evidence, seen = _profile(value, along, person & (distance < 0.7), edges)
  # Hands are bare, and most sleeves end at the wrist or above the elbow.
  prior = np.where(edges > 2.05, 20.0 * (edges - 2.05), 0.0)
  prior = prior + 1.0 * np.minimum(np.abs(edges - 0.55), np.abs(edges - 2))
  return float(edges[_best_cut(evidence, seen, prior)])


def _long_hair(zones: Zones, person, cost) -> tuple[bool, bool]:
  """Whether hair hangs down beside the right and the left of the neck."""
  if not zones.body.face_seen:
    return True, True
  like = person & (cost[_HAIR] < np.minimum(cost[_SKIN], cost[_UPPER]) + 0.5)
  found = []
  for side in (-1, 1):
    aside = zones.hx * side
    near = (aside > 0.3) & (aside < 0.48) & (zones.hy > 0.72) & (zones.hy < 1)
    found.append(bool((like & near).sum() > 0.3 * near.sum()))
  # The image's right is the left of a person who faces the camera.
  return tuple(found)


def _find_ankle(leg, person, cost) -> float:
  """Position along the leg at which trousers or skirt end."""
  along, distance = leg
  edges = np.arange(0.1, 2.11, 0.05)
  value = np.clip(cost[_LOWER] - cost[_SKIN], -3, 3)
  evidence, seen = _profile(value, along, person & (distance < 0.7), edges)
  prior = 0.5 * (2.1 - edges)
  return float(edges[_best_cut(evidence, seen, prior)])


def _ramp(off, width, low=2.5, high=6.0):
  """0 below a cut; rises across it and slowly beyond; float32."""
  near = np.clip(off / width + 0.5, 0, 1) * low
  return near + np.clip(off / 0.5, 0, 1) * (high - low)


def _place(zones: Zones, *, hem: float, cuffs, ankles, long):
  """What a label costs for where a pixel lies.

  Returns:
    (4, h, w) float32, and the six maps of which the one for skin is the
    least: head, torso, right arm, left arm, right leg, left leg.
  """
  t, s, head, face = np.abs(zones.t), zones.s, zones.head, zones.face
  beyond = np.maximum(zones.beside - zones.wide - 0.12, 0) / 0.1
  hair = 3 * np.maximum(head - 1, 0) + 12 * np.maximum(zones.hy - 0.9, 0)
  falls = 2.0 + 3 * np.maximum(s - 0.2, 0) + 4 * np.maximum(t - 0.55, 0)
  falls = np.where(
    zones.t > 0,
    *[np.where((s > 1.5) | (not there), _NEVER, falls) for there in long[::-1]],
  )
  hair = np.minimum(hair, falls)
  if zones.body.face_seen:
    inner = np.clip((1.05 - face) / 0.3, 0, 1)
    hair = hair + np.where(zones.hy > 0.42, 8.0 * inner, 0.0)
    on_face = np.where(zones.hy < 1.15, 6 * np.maximum(face - 1, 0), _NEVER)
  else:
    on_face = np.full(zones.shape, 3.0) + _NEVER * (zones.hy > 1.15)
  on_torso = np.clip(0.5 + 2.0 * s + 1.5 * t, 0.3, 4.0) + beyond
  on_torso = on_torso + np.where(zones.hy < 0.85, 8.0, 0.0)
  shoulder = 0.1 - 0.7 * np.clip(t - 0.2, 0, 0.5)
  upper = 10 * np.maximum(shoulder - s, 0) + beyond
  upper = upper + _ramp(s - hem, 0.12)
  upper = upper + np.where(zones.hy < 0.9, 8.0, 0.0)
  lower = _ramp(hem - s, 0.12)
  legs = np.full(zones.shape, _NEVER)
  on_legs = []
  for (along, distance), end in zip(zones.legs, ankles, strict=True):
    off = 3 * np.maximum(distance - 1.1, 0)
    legs = np.minimum(legs, off + _ramp(along - end, 0.12))
    on_legs.append(
      off + _ramp(end - along, 0.12) + np.where(s < 1.8, _NEVER, 0.0)
    )
  lower = lower + np.minimum(legs, np.where(s < TORSO + 1.2, beyond, _NEVER))
  on_arms = []
  for arm, cuff in zip(zones.arms, cuffs, strict=True):
    if arm is None:
      on_arms.append(np.full(zones.shape, 4.0))
      continue
    along, distance = arm
    off = 3 * np.maximum(distance - 1.1, 0)
    on_arms.append(off + _ramp(cuff - along, 0.12))
    upper = np.minimum(upper, off + _ramp(along - cuff, 0.12))
  skin_zones = np.stack([on_face, on_torso, *on_arms, *on_legs])
  place = np.stack([hair, skin_zones.min(axis=0), upper, lower])
  return place.astype(np.float32), skin_zones


def _guided(costs, guide, weight, radius: int) -> np.ndarray:
  """Smooths (k, h, w) costs along the edges of a guide, inside a mask."""

  def mean(values):
    return cv2.boxFilter(values * weight, -1, (2 * radius + 1,) * 2) / total

  total = cv2.boxFilter(weight, -1, (2 * radius + 1,) * 2) + 1e-6
  average = mean(guide)
  spread = mean(guide * guide) - average**2 + 0.03**2
  smooth = []
  for cost in costs:
    base = mean(cost)
    slope = (mean(cost * guide) - base * average) / spread
    base = base - slope * average
    smooth.append(mean(slope) * guide + mean(base))
  return np.stack(smooth)


def _names(kinds, skin_zones, *, zones: Zones, person, hem) -> np.ndarray:
  """From the four kinds to labels."""
  labels = np.zeros(zones.shape, np.uint8)
  labels[kinds == _HAIR] = HAIR
  labels[kinds == _UPPER] = UPPER
  labels[kinds == _LOWER] = PANTS
  skin = kinds == _SKIN
  where = skin_zones.argmin(axis=0)
  # Bare shoulders are the torso's.
  for k, arm in enumerate(zones.arms):
    if arm is not None:
      inside = (zones.beside < zones.wide - 0.05) & (arm[0] < 0.4)
      where[(where == 2 + k) & inside & (zones.s < 0.8)] = 1
  # The neck belongs to the face, down to its pit.
  neck = (zones.s < 0.05) & (np.abs(zones.t) < 0.33)
  labels[skin & ((where == 0) | ((where == 1) & neck))] = FACE
  labels[skin & (where == 1) & ~neck] = TORSO_SKIN
  # Skin far from the neck is a hand, whose arm was not found.
  _, parts = cv2.connectedComponents((skin & (where < 2)).astype(np.uint8))
  low = labels == TORSO_SKIN
  low &= (zones.s > 0.9) | ~np.isin(parts, np.unique(parts[labels == FACE]))
  for k in (0, 1):
    labels[low & ((zones.t > 0) == (k == 1))] = ARMS[k]
    labels[skin & (where == 2 + k)] = ARMS[k]
    labels[skin & (where == 4 + k)] = LEGS[k]
    along, distance = zones.legs[k]
    shoe = (along > 2.05) & (distance < 1.5) & (labels == PANTS)
    labels[shoe] = SHOES[k]
  if _is_skirt(kinds == _LOWER, labels, zones=zones, person=person, hem=hem):
    labels[labels == PANTS] = SKIRT
  return np.where(person, labels, 0).astype(np.uint8)


def _is_skirt(lower, labels, *, zones: Zones, person, hem) -> bool:
  """Whether cloth below the hem spans both legs and widens or ends early."""
  unit, s = zones.body.unit, zones.s
  lower = lower & person
  if lower.sum() < 0.2 * unit**2:
    return False
  end = np.quantile(s[lower], 0.98)
  between = (np.abs(zones.t) < 0.12) & (s > TORSO + 0.6) & (s < end - 0.2)
  gap = (between & ~person).sum() > 0.05 * between.sum()
  bare = np.isin(labels, LEGS).sum() > 0.1 * unit**2

  def width(at):
    rows = np.abs(s - at) < 0.06
    columns = np.abs(zones.t[rows & lower])
    return np.quantile(columns, 0.95) if len(columns) > 10 else 0.0

  top = max(hem + 0.12, TORSO)
  wide = end - top > 0.4 and width(end - 0.1) > 1.2 * width(top) > 0
  return bool(not gap and (bare or wide))


def _enlarge(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """Labels at another size with smooth outlines, (h, w) uint8."""
  best = np.zeros(size, np.float32)
  result = np.zeros(size, np.uint8)
  for label in np.unique(labels):
    share = cv2.GaussianBlur((labels == label).astype(np.float32), (0, 0), 0.8)
    share = cv2.resize(share, size[::-1], interpolation=cv2.INTER_LINEAR)
    more = share > best
    result[more] = label
    best = np.maximum(best, share)
  return result
