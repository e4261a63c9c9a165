"""From heat maps and part affinity fields to people.

Cao et al. 2017, "Realtime Multi-Person 2D Pose Estimation using Part Affinity
Fields", sections 2.2 to 2.4, written anew in NumPy with the smoothing,
thresholds and scores of two programs (`Rules`): tf-pose-estimation's compiled
decoder, and OpenPose's in Python, which reads maps as large as the photo.

1. The heat maps are smoothed; tf-pose-estimation first enlarges them four times
   by repetition. Both are linear, so one small matrix an axis does both.
2. Peaks are where the smoothed map equals the maximum around.
3. A pair of peaks that a limb may join is scored by the field along the line
   between them; the best pairs are taken, one to one.
4. Limbs that share a peak make a person.

Arithmetic is in float32 and in the original's order where a rounding could
change which pixel is read.
"""

import dataclasses
import functools

import cv2
import numpy as np
from scipy import ndimage, special

from viton_jax.runtime.blas_threads import one_blas_thread

NUM_PARTS = 18
HEAT_CHANNELS = 19  # The parts and the background.
NUM_CHANNELS = 57

_ENLARGE = 4
_KERNEL_SIZE = 25
_KERNEL_SIGMAS = 3.0
_MAX_PEAKS = 256  # A part; more are noise, and pairs grow with the square.
_NUM_SAMPLES = 10
_MIN_SAMPLE = 0.05
_MIN_PARTS = 4

# The limbs in the order in which people are put together: parts at both ends,
# and the field's channel of the x component (y is the next).
_LIMBS = (
    (1, 2, 12), (1, 5, 20), (2, 3, 14), (3, 4, 16), (5, 6, 22), (6, 7, 24),
    (1, 8, 0), (8, 9, 2), (9, 10, 4), (1, 11, 6), (11, 12, 8), (12, 13, 10),
    (1, 0, 28), (0, 14, 30), (14, 16, 34), (0, 15, 32), (15, 17, 36),
    (2, 16, 18), (5, 17, 26),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Rules:
  """In what the two programs differ.

  Attributes:
    enlarge: how many times the heat maps are repeated before they are smoothed
      with tf-pose-estimation's kernel; 1: a Gaussian of 3 pixels instead.
    min_peak: smoothed heat of a part, at least.
    corners: whether a peak must not be below its diagonal neighbours either.
    last_step: at which of the samples along a limb its end lies.
    min_good_samples: of ten, that must agree with the field.
    min_score: of a person.
  """

  enlarge: int
  min_peak: float
  corners: bool
  last_step: int
  min_good_samples: int
  min_score: float


TF_POSE = Rules(
  enlarge=4,
  min_peak=0.05,
  corners=True,
  last_step=10,
  min_good_samples=7,
  min_score=0.3,
)
OPENPOSE = Rules(
  enlarge=1,
  min_peak=0.1,
  corners=False,
  last_step=9,
  min_good_samples=9,
  min_score=0.4,
)


@dataclasses.dataclass(frozen=True)
class Person:
  """A person found.

  Attributes:
    keypoints: (18, 3) float32 in COCO-18 order: x and y as fractions of the
      image's width and height, in [0, 1), and the confidence, which is the
      heat map's value there; all 0 for a part that was not found.
    score: mean over the parts of confidences and limb scores.
  """

  keypoints: np.ndarray
  score: float


@dataclasses.dataclass
class _Group:
  """A person in the making."""

  peaks: dict[int, int]  # part -> number of its peak
  count: int  # Can exceed the parts: a part that is replaced counts again.
  score: np.float32


@functools.cache
def smoothing_kernel() -> np.ndarray:
  """(25,) float64 of sum 1; the smoothing is its outer product with itself.

  The square root of a normal distribution's mass in 25 bins of 3 sigma to
  each side, which is the Gaussian blur that tf-pose-estimation uses.
  """
  half = _KERNEL_SIGMAS + (2 * _KERNEL_SIGMAS + 1) / _KERNEL_SIZE / 2
  edges = np.linspace(-half, half, _KERNEL_SIZE + 1)
  kernel = np.sqrt(np.diff(special.ndtr(edges)))
  return kernel / kernel.sum()


@functools.lru_cache(maxsize=64)
def _enlarge_and_smooth(size: int) -> np.ndarray:
  """(4 * size, size) float32; outside of the map are zeros."""
  matrix = np.zeros((_ENLARGE * size, size))
  for tap, weight in enumerate(smoothing_kernel()):
    row = np.arange(_ENLARGE * size)
    source = row + tap - _KERNEL_SIZE // 2
    inside = (source >= 0) & (source < _ENLARGE * size)
    np.add.at(matrix, (row[inside], source[inside] // _ENLARGE), weight)
  return matrix.astype(np.float32)


def smooth_heat(heat: np.ndarray) -> np.ndarray:
  """Enlarges a heat map four times and smooths it.

  Args:
    heat: (h, w) float32.

  Returns:
    (4 h, 4 w) float32.
  """
  rows, columns = (_enlarge_and_smooth(n) for n in heat.shape)
  return rows @ heat @ columns.T


def find_peaks(heat: np.ndarray, rules: Rules = TF_POSE) -> list[np.ndarray]:
  """Finds where parts may be.

  Args:
    heat: (h, w, 18 or more) float32 heat maps.
    rules: of which program.

  Returns:
    for each part, (n, 3) float32: x, y in pixels of the enlarged map, in
    reading order, and the unsmoothed heat there.
  """
  shape = cv2.MORPH_RECT if rules.corners else cv2.MORPH_CROSS
  window = cv2.getStructuringElement(shape, (3, 3))
  found = []
  for part in range(NUM_PARTS):
    smooth: np.ndarray
    if rules.enlarge == 1:
      smooth = ndimage.gaussian_filter(heat[..., part], _KERNEL_SIGMAS)
    else:
      smooth = smooth_heat(heat[..., part])
    highest = smooth >= cv2.dilate(smooth, window)
    at = np.flatnonzero(highest & (smooth > rules.min_peak))
    if len(at) > _MAX_PEAKS:
      strongest = np.argsort(-smooth.ravel()[at], kind='stable')
      at = np.sort(at[strongest[:_MAX_PEAKS]])
    y, x = np.divmod(at, smooth.shape[1])
    score = heat[y // rules.enlarge, x // rules.enlarge, part]
    found.append(np.stack([x, y, score], -1).astype(np.float32))
  return found


def match_limb(
  a, b, field, *, rules: Rules = TF_POSE
) -> list[tuple[int, int, np.float32]]:
  """Joins the peaks of two parts.

  Args:
    a: (n, 3) float32 peaks of one part (`find_peaks`).
    b: (m, 3) float32 peaks of the other.
    field: (h, w, 2) float32, the limb's affinity field.
    rules: of which program.

  Returns:
    (index in a, index in b, score) of the joined, best first.
  """
  delta = b[None, :, :2] - a[:, None, :2]
  length = np.sqrt(np.square(delta).sum(-1))
  unit = delta / np.maximum(length, np.float32(1e-6))[..., None]
  step = delta / np.float32(rules.last_step)
  total = np.zeros(length.shape, np.float32)
  good = np.zeros(length.shape, int)
  for i in range(_NUM_SAMPLES):
    at = a[:, None, :2] + np.float32(i) * step
    at = (at.astype(np.float64) + 0.5).astype(int) // rules.enlarge
    sample = field[at[..., 1], at[..., 0]]
    along = unit[..., 0] * sample[..., 0] + unit[..., 1] * sample[..., 1]
    total += along
    good += along > _MIN_SAMPLE
  # A limb longer than half the map's height loses score.
  height = rules.enlarge * field.shape[0]
  far = 0.5 * height / np.maximum(length.astype(np.float64), 1e-6) - 1
  score = (total / np.float32(_NUM_SAMPLES) + np.minimum(far, 0)).astype(
    np.float32
  )
  usable = (good >= rules.min_good_samples) & (score > 0) & (length > 0)
  first, second = np.nonzero(usable)
  joined, used = [], (set(), set())
  for k in np.argsort(-score[first, second], kind='stable'):
    i, j = int(first[k]), int(second[k])
    if i not in used[0] and j not in used[1]:
      joined.append((i, j, score[i, j]))
      used[0].add(i)
      used[1].add(j)
  return joined


def decode_people(maps: np.ndarray, rules: Rules = TF_POSE) -> list[Person]:
  """Finds the people in a network's output.

  Args:
    maps: (h, w, 57) float32: 18 parts, background, 19 fields of x and y.
    rules: of which program.

  Returns:
    the people, in no particular order; none is an empty list.

  Raises:
    ValueError: `maps` has another shape.
  """
  if maps.ndim != 3 or maps.shape[-1] != NUM_CHANNELS:
    raise ValueError(f'maps must be (h, w, {NUM_CHANNELS}), not {maps.shape}')
  maps = np.asarray(maps, np.float32)
  # The products are too small to share: threads double the time on an idle
  # machine, and multiply it on a busy one.
  with one_blas_thread():
    peaks = find_peaks(maps, rules)
  # Peaks are numbered through all parts.
  first = np.cumsum([0] + [len(x) for x in peaks])
  groups: list[_Group] = []
  for part_a, part_b, channel in _LIMBS:
    if not len(peaks[part_a]) or not len(peaks[part_b]):
      continue
    channel += HEAT_CHANNELS
    field = maps[..., channel : channel + 2]
    limbs = match_limb(peaks[part_a], peaks[part_b], field, rules=rules)
    for i, j, score in limbs:
      _add_limb(
        groups,
        (part_a, int(first[part_a]) + i, peaks[part_a][i, 2]),
        (part_b, int(first[part_b]) + j, peaks[part_b][j, 2]),
        score=score,
      )
  everything = np.concatenate(peaks)
  size = rules.enlarge * np.array(maps.shape[1::-1])
  people = []
  for group in groups:
    mean = group.score / np.float32(group.count)
    if group.count < _MIN_PARTS or mean < np.float32(rules.min_score):
      continue
    keypoints = np.zeros((NUM_PARTS, 3), np.float32)
    for part, number in group.peaks.items():
      keypoints[part, :2] = everything[number, :2] / size
      # A peak can stand where the heat before smoothing was not positive, but
      # 0 would say that the part is missing.
      keypoints[part, 2] = max(everything[number, 2], 1e-3)
    people.append(Person(keypoints, float(mean)))
  return people


def _add_limb(groups: list[_Group], a, b, *, score) -> None:
  """Gives a limb to the people that have one of its ends.

  Args:
    groups: the people so far; changed in place.
    a: part, number and heat of the limb's first end.
    b: the same of its second.
    score: of the limb.
  """
  (part_a, number_a, heat_a), (part_b, number_b, heat_b) = a, b
  owners = [
    g
    for g in groups
    if g.peaks.get(part_a) == number_a or g.peaks.get(part_b) == number_b
  ]
  if not owners:
    # The original starts nobody with the last two limbs, from shoulders to
    # ears; such people would have two parts and be dropped in the end.
    peaks = {part_a: number_a, part_b: number_b}
    groups.append(_Group(peaks, 2, heat_a + heat_b + score))
  elif len(owners) <= 2:
    one = owners[0]
    if len(owners) == 2:
      # The original takes peak 0 for a missing part here, and so do we.
      shared = {part for part, number in one.peaks.items() if number}
      if not any(owners[1].peaks.get(part) for part in shared):
        one.peaks = owners[1].peaks | one.peaks
        one.count += owners[1].count
        one.score = one.score + owners[1].score + score
        groups[:] = [g for g in groups if g is not owners[1]]
        return
    elif one.peaks.get(part_b) == number_b:
      return
    one.peaks[part_b] = number_b
    one.count += 1
    one.score = one.score + (heat_b + score)
