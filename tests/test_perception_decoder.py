"""The decoder of heat maps and affinity fields, against a slow plain one."""

import cv2
import numpy as np
import pytest
from scipy import stats

from viton_jax.perception.pose import graph_pose, paf_decoder

# Limbs and channels in the form in which the format's description has them.
_PAIRS = (
  (1, 2),
  (1, 5),
  (2, 3),
  (3, 4),
  (5, 6),
  (6, 7),
  (1, 8),
  (8, 9),
  (9, 10),
  (1, 11),
  (11, 12),
  (12, 13),
  (1, 0),
  (0, 14),
  (14, 16),
  (0, 15),
  (15, 17),
  (2, 16),
  (5, 17),
)
_FIELDS = (
  (12, 13),
  (20, 21),
  (14, 15),
  (16, 17),
  (22, 23),
  (24, 25),
  (0, 1),
  (2, 3),
  (4, 5),
  (6, 7),
  (8, 9),
  (10, 11),
  (28, 29),
  (30, 31),
  (34, 35),
  (32, 33),
  (36, 37),
  (18, 19),
  (26, 27),
)
# A standing person: x, y of the 18 parts in units of its height.
_FIGURE = np.array(
  [
    (0, 0.08),
    (0, 0.2),
    (-0.1, 0.2),
    (-0.15, 0.35),
    (-0.17, 0.48),
    (0.1, 0.2),
    (0.15, 0.35),
    (0.17, 0.48),
    (-0.06, 0.52),
    (-0.07, 0.75),
    (-0.07, 0.97),
    (0.06, 0.52),
    (0.07, 0.75),
    (0.07, 0.97),
    (-0.03, 0.05),
    (0.03, 0.05),
    (-0.06, 0.07),
    (0.06, 0.07),
  ]
)


def draw_maps(rng, figures, *, shape=(40, 44), noise=0.02, missing=0.15):
  """(h, w, 57) float32 maps of people, with noise and parts left out.

  Args:
    rng: generator.
    figures: list of (18, 2) joints in map pixels.
    shape: (h, w).
    noise: standard deviation added everywhere.
    missing: probability of a part or limb to be left out.
  """
  h, w = shape
  maps = rng.normal(0, noise, (h, w, 57))
  y, x = np.mgrid[:h, :w]
  for joints in figures:
    for part, (px, py) in enumerate(joints):
      if rng.random() > missing:
        blob = np.exp(-((x - px) ** 2 + (y - py) ** 2) / 2)
        strength = rng.uniform(0.2, 1)
        maps[..., part] = np.maximum(maps[..., part], strength * blob)
    for (a, b), (cx, cy) in zip(_PAIRS, _FIELDS, strict=True):
      if rng.random() < missing:
        continue
      delta = joints[b] - joints[a]
      length = max(float(np.hypot(*delta)), 1e-3)
      ux, uy = delta / length
      along = (x - joints[a][0]) * ux + (y - joints[a][1]) * uy
      across = np.abs((x - joints[a][0]) * uy - (y - joints[a][1]) * ux)
      on = (along > -1) & (along < length + 1) & (across < 1.2)
      strength = rng.uniform(0.2, 1)
      maps[on, 19 + cx] += ux * strength
      maps[on, 19 + cy] += uy * strength
  return maps.astype(np.float32)


def random_figures(rng, shape=(40, 44)):
  """One to four people, who may stand before each other."""
  h, w = shape
  figures = []
  for _ in range(rng.integers(1, 5)):
    size = rng.uniform(0.5, 1.1) * h
    corner = rng.uniform(0, w), rng.uniform(-0.1, 0.4) * h
    figures.append(_FIGURE * size + corner + rng.normal(0, 0.4, (18, 2)))
  return figures


def slow_peaks(heat, openpose=False):
  """[part] -> list of (x, y, score), pixel by pixel."""
  if openpose:
    return [slow_openpose_peaks(heat[..., part]) for part in range(18)]
  sigma, size = 3, 25
  half = (2 * sigma + 1) / size / 2
  k = np.diff(stats.norm.cdf(np.linspace(-sigma - half, sigma + half, 26)))
  kernel = np.sqrt(np.outer(k, k))
  kernel /= kernel.sum()
  found = []
  for part in range(18):
    large = np.kron(heat[..., part].astype(np.float64), np.ones((4, 4)))
    smooth = cv2.filter2D(
      large, cv2.CV_64F, kernel, borderType=cv2.BORDER_CONSTANT
    )
    padded = np.pad(smooth, 1, constant_values=-np.inf)
    found.append(
      [
        (int(x), int(y), large[y, x])
        for y, x in np.argwhere(smooth > 0.05)
        if smooth[y, x] == padded[y : y + 3, x : x + 3].max()
      ]
    )
  return found


def slow_openpose_peaks(heat):
  """OpenPose in Python: smoothed by 3 pixels, above 0.1, four neighbours."""
  # SciPy's 'reflect' repeats the border pixel, as OpenCV's BORDER_REFLECT.
  smooth = cv2.GaussianBlur(heat, (25, 25), 3, borderType=cv2.BORDER_REFLECT)
  padded = np.pad(smooth, 1)
  return [
    (int(x), int(y), heat[y, x])
    for y, x in np.argwhere(smooth > 0.1)
    if smooth[y, x]
    >= max(
      padded[y, x + 1],
      padded[y + 2, x + 1],
      padded[y + 1, x],
      padded[y + 1, x + 2],
    )
  ]


def slow_limb(a_peaks, b_peaks, field, openpose=False):
  """[(score, i, j)] of one limb, pair by pair."""
  steps, enlarge, least = (9, 1, 9) if openpose else (10, 4, 7)
  pairs = []
  for i, (ax, ay, _) in enumerate(a_peaks):
    for j, (bx, by, _) in enumerate(b_peaks):
      length = np.hypot(bx - ax, by - ay)
      if length == 0:
        continue
      samples = []
      for t in range(10):
        # Single precision decides which way a half is rounded.
        at_x = np.float32(ax) + t * (np.float32(bx - ax) / np.float32(steps))
        at_y = np.float32(ay) + t * (np.float32(by - ay) / np.float32(steps))
        vx, vy = field[
          int(float(at_y) + 0.5) // enlarge, int(float(at_x) + 0.5) // enlarge
        ]
        samples.append((vx * (bx - ax) + vy * (by - ay)) / length)
      score = sum(samples) / 10
      score += min(0, 0.5 * enlarge * len(field) / length - 1)
      if sum(s > 0.05 for s in samples) >= least and score > 0:
        pairs.append((score, i, j))
  chosen = []
  for score, i, j in sorted(pairs, reverse=True):
    if all(i != other[1] and j != other[2] for other in chosen):
      chosen.append((score, i, j))
  return chosen


def slow_people(maps, openpose=False):
  """[(keypoints (18, 3), score)], by the book."""
  peaks = slow_peaks(maps, openpose)
  numbers, everything = [], []
  for part in peaks:
    numbers.append(range(len(everything), len(everything) + len(part)))
    everything += part
  rows = []  # 18 peak numbers or -1, score, count
  for limb, ((a, b), channels) in enumerate(zip(_PAIRS, _FIELDS, strict=True)):
    field = maps[..., [19 + c for c in channels]].astype(np.float64)
    for score, i, j in slow_limb(peaks[a], peaks[b], field, openpose):
      end_a, end_b = numbers[a][i], numbers[b][j]
      gain = everything[end_b][2] + score
      having = [r for r in rows if r[a] == end_a or r[b] == end_b]
      if len(having) == 0 and limb < 17:
        row = [-1] * 18 + [everything[end_a][2] + gain, 2]
        row[a], row[b] = end_a, end_b
        rows.append(row)
      elif len(having) == 1 and having[0][b] != end_b:
        having[0][b] = end_b
        having[0][18] += gain
        having[0][19] += 1
      elif len(having) == 2:
        one, two = having
        if any(one[k] > 0 and two[k] > 0 for k in range(18)):
          one[b] = end_b
          one[18] += gain
          one[19] += 1
        else:
          one[:18] = [
            x if x >= 0 else y for x, y in zip(one[:18], two[:18], strict=True)
          ]
          one[18] += two[18] + score
          one[19] += two[19]
          rows = [r for r in rows if r is not two]
  people = []
  for row in rows:
    if row[19] >= 4 and row[18] / row[19] >= (0.4 if openpose else 0.3):
      keypoints = np.zeros((18, 3))
      for part, number in enumerate(row[:18]):
        if number >= 0:
          x, y, score = everything[number]
          enlarge = 1 if openpose else 4
          width, height = enlarge * maps.shape[1], enlarge * maps.shape[0]
          keypoints[part] = x / width, y / height, max(score, 1e-3)
      people.append((keypoints, row[18] / row[19]))
  return people


@pytest.mark.slow
def test_people_equal_a_slow_implementation():
  crowds = 0
  for seed in range(200):
    rng = np.random.default_rng(seed)
    maps = draw_maps(rng, random_figures(rng))
    people, expected = paf_decoder.decode_people(maps), slow_people(maps)
    assert len(people) == len(expected), seed
    crowds += len(people) > 1
    for person, (keypoints, score) in zip(people, expected, strict=True):
      np.testing.assert_allclose(
        person.keypoints, keypoints, atol=1e-6, err_msg=str(seed)
      )
      assert person.score == pytest.approx(score, abs=1e-5)
  assert crowds > 100  # Or nothing was put together wrongly by chance.


def test_people_equal_a_slow_openpose():
  """The other program's rules, on maps as large as a photo."""
  crowds = 0
  for seed in range(25):
    rng = np.random.default_rng(1000 + seed)
    small = draw_maps(rng, random_figures(rng), missing=0.08)
    # Blobs as wide as those of the network, which spread over 8 pixels.
    maps = cv2.resize(
      np.stack(
        [cv2.GaussianBlur(x, (0, 0), 1) for x in small.transpose(2, 0, 1)], -1
      ),
      (0, 0),
      fx=4,
      fy=4,
      interpolation=cv2.INTER_CUBIC,
    ) * np.float32(1.6)
    people = paf_decoder.decode_people(maps, paf_decoder.OPENPOSE)
    expected = slow_people(maps, openpose=True)
    assert len(people) == len(expected), seed
    crowds += len(people) > 1
    for person, (keypoints, score) in zip(people, expected, strict=True):
      np.testing.assert_allclose(
        person.keypoints, keypoints, atol=1e-6, err_msg=str(seed)
      )
      assert person.score == pytest.approx(score, abs=1e-5)
  assert crowds > 8


def test_a_drawn_person_is_found_where_it_was_drawn():
  rng = np.random.default_rng(0)
  joints = _FIGURE * 36 + (22.3, 2.2)  # Off the centre: equal peaks are two.
  maps = draw_maps(rng, [joints], noise=0, missing=0)
  (person,) = paf_decoder.decode_people(maps)
  # The 4 x 4 blocks of a map pixel begin at its corner, not at its centre.
  found = person.keypoints[:, :2] * (44, 40) - 0.375
  np.testing.assert_allclose(found, joints, atol=0.5)
  assert (person.keypoints[:, 2] > 0.15).all()


def test_nobody_is_found_in_noise():
  rng = np.random.default_rng(0)
  maps = draw_maps(rng, [], noise=0.1)
  assert paf_decoder.decode_people(maps) == []


def test_thousands_of_peaks_are_cut_to_the_strongest():
  rng = np.random.default_rng(0)
  heat = rng.uniform(0, 1, (120, 120, 18)).astype(np.float32)
  peaks = paf_decoder.find_peaks(heat)
  assert {len(p) for p in peaks} == {256}
  assert all((np.diff(p[:, 1]) >= 0).all() for p in peaks)  # Reading order.


def test_the_largest_person_comes_first():
  rng = np.random.default_rng(1)
  small, large = _FIGURE * 26 + (8.3, 2.2), _FIGURE * 36 + (28.3, 2.2)
  maps = draw_maps(rng, [small, large], noise=0, missing=0)
  first, second = graph_pose.in_pixels(
    paf_decoder.decode_people(maps), (400, 440)
  )
  first, second = first.keypoints, second.keypoints
  assert first[1, 0] > 250 > 150 > second[1, 0]
  assert np.ptp(first[:, 1]) > np.ptp(second[:, 1])
  assert first.dtype == np.float32


def test_maps_of_another_shape_are_refused():
  with pytest.raises(ValueError, match='57'):
    paf_decoder.decode_people(np.zeros((8, 8, 56), np.float32))


@pytest.mark.parametrize(('noses', 'count'), [((0, 1), 1), ((1, 2), 2)])
def test_two_noses_keep_people_apart_unless_one_is_peak_zero(noses, count):
  """A quirk of the original: peak 0 passes for a missing part."""
  one = paf_decoder._Group({0: noses[0], 2: 10, 3: 11}, 3, np.float32(2))
  two = paf_decoder._Group({0: noses[1], 16: 20, 14: 21}, 3, np.float32(3))
  groups = [one, two]
  paf_decoder._add_limb(
    groups,
    (2, 10, np.float32(0.5)),
    (16, 20, np.float32(0.5)),
    score=np.float32(1),
  )
  assert len(groups) == count
  assert groups[0].peaks[0] == noses[0] and groups[0].peaks[16] == 20
  assert groups[0].count == (6 if count == 1 else 4)
  assert groups[0].score == (6 if count == 1 else 3.5)
