"""The ground that a garment lies on, as a colour that varies over the photo."""

import dataclasses

import cv2
import numpy as np

# Levels of 255 within which a pixel is of the ground's colour.
_LIKE = 10.0
# Colours of the border that may be the ground's, the most frequent first.
_GUESSES = 4
# At most so many pixels are fitted.
_MAX_FITTED = 20_000
# How much light of the border must vary for the field to follow, per pixel.
_EVENNESS = 3e-4
# A wide kernel for a narrow one: how fast the fit narrows down, levels.
_SCALES = (30.0, 20.0, 14.0, 10.0, 7.0, 5.0, 4.0)


@dataclasses.dataclass(frozen=True)
class Ground:
  """The colour of the ground everywhere, also below the garment.

  Attributes:
    field: (h, w, 3) float32, levels of 255.
    share: of the photo's border that has this colour, 0..1.
    spread: distance of the ground's own pixels from the field that 19 of 20
      stay below, levels.
  """

  field: np.ndarray
  share: float
  spread: float


def fit_border(photo: np.ndarray) -> Ground:
  """The colour that explains most of the border and least of the middle.

  A garment may touch up to three edges, so the ground need not be the larger
  part of the border; corners, above all the upper ones, count more.

  Args:
    photo: (h, w, 3) float32 RGB, 0..255, freed of noise.

  Returns:
    a field of second order in x and y.
  """
  h, w, _ = photo.shape
  rim = np.ones((h, w), bool)
  depth = max(1, min(h, w) // 80)
  rim[depth:-depth, depth:-depth] = False
  y, x = np.nonzero(rim)
  if len(x) > _MAX_FITTED:
    step = len(x) // _MAX_FITTED + 1
    y, x = y[::step], x[::step]
  colours = photo[y, x].astype(np.float64)
  aside = np.minimum(x, w - 1 - x) / w
  count = 1.0 + 2.0 * ((aside < 0.12) & (y < 0.12 * h))
  count += (aside < 0.12) & (y > 0.88 * h)
  basis = _terms(x / w - 0.5, y / h - 0.5, order=2)
  middle = photo[h // 3 : h - h // 4 : 3, w // 3 : w - w // 3 : 3]
  best, best_score = None, -np.inf
  for guess in _frequent(colours, count):
    factors, off = _fit(basis, colours, count=count, start=guess)
    share = float(count[off < _LIKE].sum() / count.sum())
    field = _field(factors, (h, w), order=2)
    inner = field[h // 3 : h - h // 4 : 3, w // 3 : w - w // 3 : 3]
    alike = float((np.abs(middle - inner).max(axis=2) < _LIKE).mean())
    score = share - 0.5 * alike
    if score > best_score:
      best, best_score = Ground(field, share, _spread(off)), score
  assert best is not None  # There is always a most frequent colour.
  return best


def refit(photo: np.ndarray, ground: Ground, outside: np.ndarray) -> Ground:
  """Fits the ground to all that is seen of it.

  Args:
    photo: as for `fit_border`.
    outside: (h, w) bool, what is surely ground.

  Returns:
    a field of fourth order; `ground` where too little of it is seen.
  """
  h, w, _ = photo.shape
  y, x = np.nonzero(outside)
  if len(x) < 0.05 * h * w:
    return ground
  step = len(x) // _MAX_FITTED + 1
  y, x = y[::step], x[::step]
  rest = (photo[y, x] - ground.field[y, x]).astype(np.float64)
  if np.quantile(np.abs(rest), 0.8) < 2.5:
    # What remains is shade of the garment, which is not to be fitted.
    return ground
  # The correction must not run away below the garment, where nothing holds it.
  basis = _terms(x / w - 0.5, y / h - 0.5, order=4)
  hold = 1e-4 * len(x) * np.eye(basis.shape[1])
  weight = np.ones(len(x))
  for _ in range(4):
    scaled = basis * weight[:, None]
    factors = np.linalg.solve(
      scaled.T @ scaled + hold, scaled.T @ (rest * weight[:, None])
    )
    off = np.abs(rest - basis @ factors).max(axis=1)
    weight = np.sqrt(1 / (1 + (off / 3) ** 2))
  field = ground.field + _field(factors, (h, w), order=4)
  return Ground(field, ground.share, _spread(off))


def _spread(off: np.ndarray) -> float:
  """Distance that the ground's own pixels stay below, levels."""
  like = off[off < 1.5 * _LIKE]
  if not like.size:
    return 255.0
  # Pale cloth that the edge cuts off is near enough to be among them.
  return float(min(np.quantile(like, 0.95), 0.5 + 4 * np.median(like)))


def _frequent(colours: np.ndarray, count: np.ndarray) -> np.ndarray:
  """Up to `_GUESSES` frequent colours that differ: (n, 3)."""
  cells = np.clip(colours / 16, 0, 15).astype(np.int32)
  table = np.zeros((16, 16, 16))
  np.add.at(table, tuple(cells.T), count)
  # A colour at the edge of a cell counts for both.
  shifts = [np.roll(table, s, axis=a) for a in range(3) for s in (0, 1)]
  table = np.sum(shifts, axis=0)
  found = []
  for _ in range(_GUESSES):
    at = np.array(np.unravel_index(np.argmax(table), table.shape))
    if table[tuple(at)] <= 0.02 * count.sum() * 6 and found:
      break
    near = np.abs(cells - at).max(axis=1) <= 1
    if near.any():
      found.append(np.median(colours[near], axis=0))
    low, high = np.maximum(at - 2, 0), at + 3
    table[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = 0
  return np.array(found or [np.median(colours, axis=0)])


def _fit(basis, colours, *, count, start):
  """Iterated weighted least squares: one colour in light that varies.

  Hues do not vary, else cloth that fades into the ground's colour would fit.

  Returns:
    factors (terms, 3), and each colour's distance from the fit.
  """
  start = np.maximum(start, 1)
  bright = colours @ start / (start @ start)
  light = np.zeros(basis.shape[1])
  light[0] = 1
  off = np.abs(colours - start).max(axis=1)
  # Level light first; what bends it must be most of the border.
  hold = _EVENNESS * count.sum() * np.eye(len(light))
  hold[0, 0] = 1e-6
  for step, scale in enumerate(_SCALES):
    weight = count * np.exp(-0.5 * (off / scale) ** 2)
    terms = slice(0, 1 if step == 0 else len(light))
    part = basis[:, terms]
    light[:] = 0
    light[terms] = np.linalg.solve(
      part.T @ (part * weight[:, None]) + hold[terms, terms],
      part.T @ (bright * weight),
    )
    near = off < 2 * scale
    if near.sum() > 10:
      # The colour itself, where the light is taken off it.
      shade = np.maximum(basis[near] @ light, 0.05)
      start = np.maximum(np.median(colours[near] / shade[:, None], axis=0), 1)
      bright = colours @ start / (start @ start)
    off = np.abs(colours - np.outer(basis @ light, start)).max(axis=1)
  return np.outer(light, start), off


def _terms(x, y, *, order: int) -> np.ndarray:
  """Polynomial terms of x and y up to an order, the constant one first."""
  powers = [
    (n - k, k) for n in range(order + 1) for k in range(n + 1)
  ]  # fmt: skip
  return np.stack([x**i * y**j for i, j in powers], axis=-1)


def _field(factors, shape, *, order: int) -> np.ndarray:
  """The polynomial at every pixel: (h, w, 3) float32, clipped to 0..255."""
  # Smooth, so a grid of a sixteenth says all.
  h, w = shape
  rows, columns = min(h, 48), min(w, 48)
  y = (np.arange(rows) + 0.5) / rows - 0.5
  x = (np.arange(columns) + 0.5) / columns - 0.5
  grid = _terms(*np.meshgrid(x, y), order=order) @ factors
  field = cv2.resize(
    grid.astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC
  )
  return np.clip(field, 0, 255)
