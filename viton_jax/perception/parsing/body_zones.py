"""Where the parts of a body are expected in an image, pixel by pixel.

Lengths are in heads, from crown to chin.
"""

import numpy as np

from viton_jax.perception.parsing.body import PIT, TORSO, Body

# Half widths of limbs at joints, with some cloth on them.
ARM_RADIUS = ([-0.2, 0.0, 1.0, 2.0, 2.4, 2.8], [0.2, 0.2, 0.17, 0.12, 0.2, 0.1])
LEG_RADIUS = ([0.0, 1.0, 2.0, 2.3], [0.38, 0.25, 0.16, 0.2])


def grid(shape) -> np.ndarray:
  """(h, w, 2) float32 x, y of every pixel."""
  y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
  return np.stack([x, y], axis=-1)


# (h, w) position along a limb, (h, w) distance from it; see `Zones`.
Limb = tuple[np.ndarray, np.ndarray]


def torso_place(body: Body, pixels: np.ndarray):
  """Beside the spine (to the person's left) and below the pit, in heads."""
  across = body.shoulders[1] - body.shoulders[0]
  sign = np.sign(across @ np.array([body.down[1], -body.down[0]])) or 1.0
  across = sign * np.array([body.down[1], -body.down[0]])
  off = (pixels - body.neck.astype(np.float32)) / np.float32(body.unit)
  return (
    off @ across.astype(np.float32),
    off @ body.down.astype(np.float32) + np.float32(PIT),
  )


def head_place(body: Body, pixels: np.ndarray):
  """Beside the head's axis, and below the crown (the chin is 1), in heads."""
  up = body.head_up.astype(np.float32)
  off = (pixels - body.head.astype(np.float32)) / np.float32(body.head_unit)
  return off @ np.array([-up[1], up[0]], np.float32), 0.54 - off @ up


def limb_place(points: np.ndarray, pixels: np.ndarray, unit: float):
  """Position along a limb, 0..len(points) - 1, and distance in heads.

  Args:
    points: (m, 2) pixels, m >= 2.
    pixels: (..., 2) float32.
    unit: pixels of a head.

  Returns:
    along, before 0 and beyond the end too by projection; distance from the
    line. float32 both.
  """
  best = np.full(pixels.shape[:-1], np.inf, np.float32)
  along = np.zeros(pixels.shape[:-1], np.float32)
  last = len(points) - 2
  for k, (start, end) in enumerate(zip(points[:-1], points[1:], strict=True)):
    step = (end - start).astype(np.float32)
    share = (pixels - start.astype(np.float32)) @ step
    share = share / max(float(step @ step), 1e-6)
    inside = np.clip(share, 0, 1)
    off = pixels - start.astype(np.float32) - inside[..., None] * step
    distance = np.hypot(off[..., 0], off[..., 1]) / np.float32(unit)
    nearer = distance < best
    low, high = (None if k == 0 else 0), (None if k == last else 1)
    share = share if low is high is None else np.clip(share, low, high)
    along = np.where(nearer, k + share, along)
    best = np.where(nearer, distance, best)
  return along, best


class Zones:
  """Where the parts of a body are expected, pixel by pixel; (h, w) all.

  Attributes:
    body: the Body.
    t, s: torso coordinates, see `torso_place`.
    hx, hy: head coordinates, see `head_place`.
    face, head: relative distance from the middle of face and head (1: rim).
    wide: the torso's half width at s, in heads.
    arms, legs: (right, left) of (position along the limb, 0 joint 1 joint 2
      hand or foot; distance over the limb's radius); None for an unknown arm.
    beside: distance from the torso's middle line, in heads.
  """

  def __init__(self, body: Body, pixels: np.ndarray):
    self.body = body
    self.shape = pixels.shape[:2]
    self.t, self.s = torso_place(body, pixels)
    self.hx, self.hy = head_place(body, pixels)
    self.face = np.hypot(self.hx / 0.37, (self.hy - 0.55) / 0.47)
    self.head = np.hypot(self.hx / 0.62, (self.hy - 0.42) / 0.70)
    shoulders, hips = (
      torso_place(body, pair.astype(np.float32))[0]
      for pair in (body.shoulders, body.hips)
    )
    share = np.clip((self.s - PIT) / TORSO, 0, 1)
    ends = [
      (1 - share) * shoulders[k] + share * (hips[k] + out)
      for k, out in ((0, -0.3), (1, 0.3))
    ]
    middle = (ends[0] + ends[1]) / 2
    self.wide = np.maximum(np.abs(ends[1] - ends[0]) / 2, 0.3)
    self.beside = np.abs(self.t - middle)
    self.arms = [
      self._limb(points, ARM_RADIUS, pixels) if len(points) >= 2 else None
      for points in (body.arm(0), body.arm(1))
    ]
    self.legs: list[Limb] = []
    for k in (0, 1):
      points = body.leg(k)
      if len(points) < 2:
        # Below the image, as a rule: straight down.
        points = body.guessed_leg(k)
      self.legs.append(self._limb(points, LEG_RADIUS, pixels))

  def _limb(self, points, radii, pixels) -> Limb:
    along, distance = limb_place(points, pixels, self.body.unit)
    distance = distance / np.interp(along, *radii).astype(np.float32)
    if len(points) > 2:
      return along, distance
    # The rest of the limb goes anywhere from the last known joint.
    off = pixels - points[1].astype(np.float32)
    off = np.hypot(off[..., 0], off[..., 1]) / np.float32(self.body.unit)
    rest = 0.95 + 0.9 * off
    return (
      np.where(rest < distance, 1 + off, along),
      np.minimum(distance, rest),
    )

  def trunk(self, spread: float, *, top: float = 0.0) -> np.ndarray:
    """(h, w) bool, the torso widened by `spread` heads, to below the hips."""
    end = TORSO + PIT + (0.2 if self.body.hips_seen else 2.2)
    return (self.beside < self.wide + spread) & (self.s > top) & (self.s < end)
