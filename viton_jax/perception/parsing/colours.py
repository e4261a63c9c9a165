"""What colours skin, hair and clothes of one person have: mixtures in Lab."""

from typing import Any

import cv2
import numpy as np

from viton_jax.perception.parsing.body_zones import Zones


class Colours:
  """A mixture of Gaussians over Lab colours."""

  def __init__(self, samples, count: int, *, shade: float = 0.1):
    samples = np.asarray(samples, np.float32)
    if len(samples) > 3000:
      samples = samples[:: len(samples) // 3000 + 1]
    count = min(count, max(1, len(samples) // 20))
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 15, 0.5)
    no_labels: Any = None  # OpenCV's stubs lack that there may be none.
    _, member, _ = cv2.kmeans(
      samples, count, no_labels, stop, 1, cv2.KMEANS_PP_CENTERS
    )
    self.parts = []
    for k in range(count):
      own = samples[member[:, 0] == k].astype(np.float64)
      if len(own) < 8:
        continue
      mean = own.mean(axis=0)
      # Light and shade scale a colour; a floor for noise and compression.
      spread = np.cov(own.T) + np.diag([9.0, 4.0, 4.0])
      spread = spread + np.outer(mean, mean) * shade**2
      self.parts.append((len(own) / len(samples), mean, spread))

  def cost(self, colours: np.ndarray) -> np.ndarray:
    """Minus the logarithm of the density at (m, 3) Lab colours; (m,)."""
    best = np.full(len(colours), np.inf, np.float32)
    for weight, mean, spread in self.parts:
      root = np.linalg.inv(np.linalg.cholesky(spread)).astype(np.float32)
      off = (colours - mean.astype(np.float32)) @ root.T
      offset = 0.5 * np.linalg.slogdet(spread)[1] - np.log(weight)
      best = np.minimum(best, 0.5 * (off * off).sum(axis=1) + offset)
    return best

  def without(self, others, share: float):
    """Drops parts that look like another model and weigh less than `share`."""
    kept = []
    for weight, mean, spread in self.parts:
      at = mean[None].astype(np.float32)
      like = any(other is not None and other.near(at)[0] for other in others)
      if weight >= share or not like:
        kept.append((weight, mean, spread))
    # Two garments of one colour cannot do without what they share.
    if sum(weight for weight, _, _ in kept) > 0.3:
      self.parts = kept
    return self

  def like(self, other) -> bool:
    """Whether most of it looks like a part of another model."""
    return other is not None and 0.5 < sum(
      weight
      for weight, mean, _ in self.parts
      if other.near(mean[None].astype(np.float32))[0]
    )

  def near(self, colours: np.ndarray, deviations: float = 2.8):
    """(m,) bool: which colours lie within a part's `deviations`."""
    found = np.zeros(len(colours), bool)
    for _, mean, spread in self.parts:
      off = np.linalg.solve(np.linalg.cholesky(spread), (colours - mean).T)
      found |= (off * off).sum(axis=0) < deviations**2
    return found


def skin_colours(lab, zones: Zones, person) -> Colours:
  """Skin, from the middle of the face; of the world where none is seen."""
  core = (zones.face < 0.7) & (zones.hy > 0.5) & person
  samples = lab[core]
  if not zones.body.face_seen or len(samples) < 25:
    return _any_skin()
  # Lips, brows, beards and glasses are the minority.
  for _ in range(3):
    middle = np.median(samples, axis=0)
    off = np.abs(samples - middle)
    kept = (off < 2.5 * np.median(off, axis=0) + (6, 4, 4)).all(axis=1)
    samples = samples[kept]
  return Colours(samples, 1, shade=0.09)


def _any_skin() -> Colours:
  """Skin of all colours: a line from pale to dark in Lab."""
  model = Colours(np.zeros((20, 3)), 1)
  model.parts = [
    (1 / 3, np.array(mean), np.diag([100.0, 25.0, 36.0]))
    for mean in ([78.0, 12.0, 17.0], [60.0, 16.0, 22.0], [38.0, 13.0, 17.0])
  ]
  return model


def hair_colours(lab, zones: Zones, person, skin) -> Colours | None:
  """Hair, from around the crown; None where there is none."""
  around = (zones.face > 1.05) & (zones.head < 1.1) & (zones.hy < 0.35)
  around |= (zones.face > 1.1) & (zones.head < 0.95) & (zones.hy < 0.85)
  if not zones.body.face_seen:
    around = zones.head < 0.8
  samples = lab[around & person]
  if len(samples) >= 25 and zones.body.face_seen:
    samples = samples[~skin.near(samples, 1.5)]
  if len(samples) < 25:
    return None
  return Colours(samples, 3)


def upper_colours(lab, zones: Zones, person, *, hem, known) -> Colours | None:
  """Cloth of the chest."""
  chest = zones.trunk(-0.12) & (zones.s > 0.5) & (zones.s < min(hem, 1.9))
  for arm in zones.arms:
    if arm is not None:
      chest &= ~((arm[0] > 1) & (arm[1] < 1.2))
  samples = lab[chest & person]
  if len(samples) < 25:
    samples = lab[zones.trunk(-0.1) & person]
  if len(samples) < 25:
    return None
  return Colours(samples, 6).without(known, 0.25)


def lower_colours(lab, zones: Zones, person, *, hem, known) -> Colours | None:
  """Cloth of the thighs; None where they are not in the image."""
  below = np.zeros(zones.shape, bool)
  for along, distance in zones.legs:
    below |= (distance < 0.85) & (along < 0.9)
  for arm in zones.arms:
    if arm is not None:
      below &= ~((arm[0] > 1) & (arm[1] < 1.2))
  below &= person & (zones.s > max(2.6, min(hem + 0.1, 3.0)))
  if below.sum() < 25:
    return None
  # Tunics are long: the lowest that the image shows is the safest.
  end = np.quantile(zones.s[below], 0.98)
  samples = lab[below & (zones.s > end - 0.6)]
  skin = known[0]
  if len(samples) > 25 and skin.near(samples).mean() > 0.5:
    # Bare legs, or trousers of that colour.
    above = lab[below & (zones.s <= end - 0.6)]
    if len(above) > 25 and skin.near(above).mean() < 0.5:
      samples = above
  if len(samples) < 25:
    return None
  return Colours(samples, 4).without(known, 0.7)
