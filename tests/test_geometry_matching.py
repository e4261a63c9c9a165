"""Matching: the original's intermediate values, a better fit, bad input."""

import pathlib

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from viton_jax.errors import InputError
from viton_jax.geometry import (
  ControlPoints,
  MatchingError,
  alignment,
  fit_control_points,
  match_batch,
  original,
  shape_context,
  starts,
  tps,
  warp_tps,
)

_GOLDENS = pathlib.Path(__file__).parent / 'goldens'
_PAIRS = [f'p{i}' for i in range(1, 7)]
_ALL = np.ones(100, dtype=bool)


@pytest.fixture(scope='module')
def golden():
  figures = dict(np.load(_GOLDENS / 'shape_context_pairs.npz'))
  for pair in _PAIRS:
    for mask in ('garment', 'person'):
      key = f'{pair}_{mask}'
      figures[key] = np.unpackbits(figures[key], axis=1).astype(bool)
  return figures


def _four(golden, pair):
  return [
    golden[f'{pair}_{key}']
    for key in (
      'garment_points',
      'garment_tangents',
      'person_points',
      'person_tangents',
    )
  ]


def _iou(garment, person, points_norm):
  image = jnp.asarray(garment[None, ..., None], jnp.float32)
  points = jnp.asarray(points_norm[None], jnp.float32)
  warped = np.asarray(warp_tps(image, points))[0, ..., 0] > 0.5
  return (warped & person).sum() / (warped | person).sum()


def _rows(cvec):
  """The golden assignment: one-based rows, dummies above 100."""
  rows = cvec[:100].astype(int)
  return np.where(rows <= 100, rows - 1, -1)


@pytest.mark.parametrize('pair', _PAIRS)
def test_first_round_of_the_original(golden, pair):
  x, tx, y, ty = _four(golden, pair)
  h1, _ = shape_context.histograms(x, _ALL)
  h2, _ = shape_context.histograms(y, _ALL)
  np.testing.assert_array_equal(h1, golden[f'{pair}_garment_histograms'])
  np.testing.assert_array_equal(h2, golden[f'{pair}_person_histograms'])
  cost = shape_context.matching_cost(h1, h2, tx, ty)
  expected = golden[f'{pair}_first_costs']
  np.testing.assert_allclose(cost, expected, atol=1e-6)
  rows, total = shape_context.assign(cost)
  padded = np.full((125, 125), 0.25)
  padded[:100, :100] = expected
  assignment = golden[f'{pair}_first_assignment'].astype(int) - 1
  assert abs(total - padded[assignment, range(125)].sum()) < 1e-9
  np.testing.assert_array_equal(rows, _rows(golden[f'{pair}_first_assignment']))


@pytest.mark.parametrize('pair', _PAIRS)
def test_last_round_of_the_original(golden, pair):
  matches = original.match_iteratively(*_four(golden, pair))
  np.testing.assert_array_equal(
    matches.rows, _rows(golden[f'{pair}_last_assignment'])
  )
  expected = golden[f'{pair}_coefficients']
  np.testing.assert_allclose(
    matches.spline.coefficients,
    expected,
    rtol=1e-6,
    atol=1e-9 * np.abs(expected).max(),
  )
  points = original.control_points(matches.spline, (128, 96))
  np.testing.assert_array_equal(
    points,
    (golden[f'{pair}_control_points'].reshape(2, 100).T * (96, 128)).round(),
  )


def test_inverse_by_blocks_equals_the_whole_grid(golden):
  """Also where the spline folds: wild targets, hardly any smoothing."""
  rng = np.random.default_rng(0)
  source = rng.uniform(2, 40, (12, 2))
  spline = original.fit_spline(
    source, source + rng.normal(0, 6, source.shape), regularisation=1.0
  )
  w, h = 30, 40
  x, y = np.meshgrid(
    np.arange(-2 * w, 2 * w + 1.0),
    np.arange(-2 * h, 2 * h + 1.0),
    indexing='ij',
  )
  grid = np.stack([x.ravel(), y.ravel()], 1)
  image = spline(grid)
  x, y = np.meshgrid(np.linspace(1, w, 10), np.linspace(1, h, 10))
  targets = np.stack([x.ravel(), y.ravel()], 1)
  brute = [np.argmin(np.sum((image - t) ** 2, axis=1)) for t in targets]
  np.testing.assert_array_equal(
    original.control_points(spline, (h, w)), grid[brute]
  )


def test_assignment_is_optimal():
  cost = np.random.default_rng(3).uniform(0, 1, (40, 40))
  rows, total = shape_context.assign(cost, dummy_cost=9.0)
  best = optimize.linear_sum_assignment(cost)
  assert (rows >= 0).all()
  # 10 dummies matched with 10 dummies cost 9 each.
  assert total == pytest.approx(cost[best].sum() + 90)


def test_golden_pairs_beat_the_original(golden):
  ious = []
  for pair in _PAIRS:
    garment, person = golden[f'{pair}_garment'], golden[f'{pair}_person']
    theirs = golden[f'{pair}_control_points'].reshape(2, 100).T * 2 - 1
    ours = fit_control_points(garment, person).points_norm
    ious.append(_iou(garment, person, ours))
    assert ious[-1] >= _iou(garment, person, theirs)
  assert np.mean(ious) >= 0.96


def test_original_mode_end_to_end(golden):
  """Its own random sample, so not the golden numbers, but their quality."""
  garment, person = golden['p1_garment'], golden['p1_person']
  points = fit_control_points(garment, person, fidelity='original')
  assert points.size == (128, 96) and points.num_matched > 85
  assert _iou(garment, person, points.points_norm) > 0.93
  one_based = (points.points_norm + 1) / 2 * (96, 128)
  np.testing.assert_allclose(one_based, one_based.round(), atol=1e-4)
  small = fit_control_points(
    garment, person, fidelity='original', size=(64, 48)
  )
  assert small.size == (64, 48)
  assert _iou(garment, person, small.points_norm) > 0.88


def _known_pair(garment, bar=False):
  """A person's region made from a garment mask by a known smooth warp."""
  h, w = garment.shape
  y, x = np.mgrid[:h, :w].astype(np.float32)
  dx, dy = (x - w / 2 - 3) / w, (y - h / 2 + 4) / h
  scale = w / 96
  fx = w / 2 + w * (1.1 * dx - 0.12 * dy) + 2 * scale * np.sin(6 * dy)
  fy = h / 2 + h * (1.05 * dy + 0.05 * dx) + 2 * scale * np.sin(5 * dx)
  person = cv2.remap(garment.astype(np.float32), fx, fy, cv2.INTER_LINEAR) > 0.5
  region = person.copy().astype(np.uint8)
  if bar:
    cv2.line(
      region,
      (int(0.3 * w), int(0.75 * h)),
      (int(0.75 * w), int(0.55 * h)),
      0,
      int(7 * scale),
    )
  return region > 0, np.stack([fx, fy], -1)


@pytest.mark.parametrize('bar', [False, True])
@pytest.mark.parametrize('pair', ['p1', 'p2', 'p5'])
def test_texture_lands_where_it_should(golden, pair, bar):
  """Small end-point error, arm across the torso or not."""
  garment = golden[f'{pair}_garment']
  person, truth = _known_pair(garment, bar)
  points = fit_control_points(garment, person).points_norm
  h, w = garment.shape
  grid = np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1)
  coordinates = jnp.asarray(grid[None], jnp.float32)
  where = np.asarray(warp_tps(coordinates, jnp.asarray(points[None])))[0]
  error = np.linalg.norm(where - truth, axis=-1)[person]
  assert error.mean() < 1.0
  assert np.percentile(error, 95) < 3.5


def test_any_mask_size_gives_the_same_warp(golden):
  """Control points differ by the position of border pixel centres alone."""
  garment = golden['p1_garment']
  person, _ = _known_pair(garment)
  big = [
    cv2.resize(m.astype(np.uint8), (960, 1280), interpolation=0) > 0
    for m in (garment, person)
  ]
  small = fit_control_points(garment, person).points_norm
  same = fit_control_points(*big, image_size=(128, 96)).points_norm
  np.testing.assert_allclose(same, small, atol=1e-5)
  large = fit_control_points(*big).points_norm
  assert 1e-4 < np.abs(large - small).max() < 0.02


def test_exact_coordinates_of_a_shift():
  """A shape moved by whole pixels: the warp is that shift, at any size."""
  garment = np.zeros((256, 192), np.uint8)
  cv2.fillPoly(
    garment,
    [
      np.int32(
        [
          [60, 50],
          [80, 40],
          [110, 40],
          [130, 50],
          [150, 100],
          [130, 105],
          [125, 90],
          [125, 180],
          [66, 180],
          [65, 90],
          [60, 105],
          [40, 100],
        ]
      )
    ],
    1,
  )
  person = np.roll(garment, (8, -12), (0, 1))
  result = fit_control_points(garment > 0, person > 0)
  points = (result.points_norm + 1) / 2 * (191, 255)
  y, x = np.meshgrid(
    np.linspace(0, 255, 10), np.linspace(0, 191, 10), indexing='ij'
  )
  inside = (x > 40) & (x < 130) & (y > 60) & (y < 180)
  error = points.reshape(10, 10, 2) - np.stack([x + 12, y - 8], -1)
  assert np.abs(error[inside]).max() < 0.3
  assert isinstance(result, ControlPoints)
  assert result.cost < 0.1 and result.residual_px < 0.5


def test_float_masks_and_levels(golden):
  """A map in [-1, 1] at level 0 is the same as in [0, 1] at 0.5."""
  garment, person = golden['p1_garment'], golden['p1_person']
  soft = cv2.GaussianBlur(person.astype(np.float32), (0, 0), 1.5)
  a = fit_control_points(garment * 2.0 - 1, soft * 2 - 1, level=0.0)
  b = fit_control_points(garment, soft)
  np.testing.assert_allclose(a.points_norm, b.points_norm, atol=2e-3)
  assert _iou(garment, soft > 0.5, b.points_norm) > 0.97


def test_deterministic(golden):
  masks = golden['p4_garment'], golden['p4_person']
  for fidelity in ('fixed', 'original'):
    first = fit_control_points(*masks, fidelity=fidelity, seed=3).points_norm
    again = fit_control_points(*masks, fidelity=fidelity, seed=3).points_norm
    np.testing.assert_array_equal(first, again)
  other = fit_control_points(*masks, fidelity='original', seed=4).points_norm
  assert (other != first).any()


def test_modes_span_the_affine_maps():
  points = np.random.default_rng(0).uniform(0, 90, (20, 2))
  warp = starts.affine_start(scale=1.3, shift=(4.0, -7.0), size=(128, 96))
  mapped = alignment.point_modes(points, (128, 96)) @ warp
  np.testing.assert_allclose(mapped, 1.3 * points + (4, -7), atol=1e-8)


_OK = np.zeros((128, 96), bool)
_OK[30:100, 25:70] = True


def _line():
  mask = np.zeros((128, 96), bool)
  mask[10:120, 40] = True
  return mask


def _small():
  """A square of 99 boundary points and fewer: 24 x 24 has 96."""
  mask = np.zeros((128, 96), bool)
  mask[20:44, 20:44] = True
  return mask


@pytest.mark.parametrize('fidelity', ['fixed', 'original'])
@pytest.mark.parametrize(
  'bad, word',
  [
    (np.zeros((128, 96), bool), 'empty'),
    (np.ones((128, 96), bool), 'four borders'),
    (_line(), 'thin'),
    (_small(), '96 boundary points'),
    (np.where(_OK, np.nan, 0.0), 'NaN'),
    (np.zeros((64, 96), bool), 'one size'),
    (np.zeros((128, 96, 3), bool), 'shape'),
    (np.full((128, 96), 'a'), 'numbers'),
  ],
)
def test_bad_masks_say_why(bad, word, fidelity):
  for masks in ((bad, _OK), (_OK, bad)):
    with pytest.raises(MatchingError, match=word) as caught:
      fit_control_points(*masks, fidelity=fidelity)
    assert '\n' not in str(caught.value)
  assert isinstance(caught.value, InputError)


def test_bad_options_say_so():
  with pytest.raises(InputError, match='fidelity'):
    fit_control_points(_OK, _OK, fidelity='exact')
  with pytest.raises(InputError, match='size'):
    fit_control_points(_OK, _OK, size=(64, 48))


def _polygon(*corners):
  mask = np.zeros((256, 192), np.uint8)
  cv2.fillPoly(mask, [np.int32(corners)], 1)
  return mask > 0


@pytest.mark.slow
def test_a_wide_region_is_not_laid_on_the_torso_alone():
  """Arms that hang beside the body make one wide region of it and sleeves."""
  garment = _polygon(
      (72, 40), (85, 48), (107, 48), (120, 40), (140, 48), (185, 190),
      (168, 196), (136, 110), (138, 205), (54, 205), (56, 110), (24, 196),
      (7, 190), (52, 48),
  )  # fmt: skip
  person = _polygon(
    (48, 96), (118, 96), (150, 130), (160, 245), (8, 245), (20, 130)
  )
  one = fit_control_points(garment, person).points_norm
  batched, _ = match_batch(garment[None], person[None])
  matrix = tps.position_matrix(10, (256, 192))
  for points in (one, np.asarray(batched[0])):
    found = (matrix @ points).reshape(256, 192, 2)
    collar, hem = ((found[y, 83, 1] + 1) / 2 * 255 for y in (100, 240))
    assert collar < 60  # A torso laid on it alone would be cut off at 122.
    assert 190 < hem < 210
