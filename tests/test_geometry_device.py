"""Matching on the device: its steps and the whole against the host's."""

import pathlib

import cv2
import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

from viton_jax.errors import InputError
from viton_jax.geometry import (
  MatchingError,
  contour,
  crossings,
  elimination,
  fit_control_points,
  match_batch,
  match_with_reasons,
  shape_context,
  sinkhorn,
  spline,
  tps,
)
from viton_jax.geometry.device import REASONS

_GOLDENS = pathlib.Path(__file__).parent / 'goldens'
_SIZE = (128, 96)


@pytest.fixture(scope='module')
def golden():
  """The six golden pairs, float32, garments and people."""
  figures = np.load(_GOLDENS / 'shape_context_pairs.npz')
  return tuple(
    np.stack(
      [
        np.unpackbits(figures[f'p{i}_{key}'], axis=1).astype(np.float32)
        for i in range(1, 7)
      ]
    )
    for key in ('garment', 'person')
  )


def _shape(seed):
  """Blurred blobs with holes, some of them across the border; float32."""
  noise = np.random.default_rng(seed).normal(size=_SIZE).astype(np.float32)
  noise = cv2.GaussianBlur(noise, (0, 0), 7)
  return contour.blur((noise > noise.mean()).astype(np.float32), 0.8)


@pytest.fixture(scope='module')
def outline():
  @jax.jit
  def run(values):
    contours = crossings.trace(values)
    share = crossings.shares(contours, 400)
    points, angles = crossings.spread(contours, 400)
    return points, angles, share, contours.lengths, contours.complete

  return run


@pytest.mark.parametrize('seed', range(5))
def test_outlines_are_those_that_the_host_walks_along(outline, seed):
  values = _shape(seed)
  contours = contour.trace(values)
  assert len(contours) > 1
  expected_points, expected_angles = contour.spread(contours, 400)
  points, angles, share, lengths, complete = outline(values)
  first, length = contour.first_share(contours, 400)
  assert int(share[0]) == first and int(share.sum()) == 400 and complete
  np.testing.assert_allclose(lengths.sum(), length, rtol=1e-5)
  np.testing.assert_allclose(points, expected_points, atol=2e-3)
  assert np.cos(angles - expected_angles).min() > 0.999


def test_no_outline_and_too_many_crossings(outline):
  lengths = outline(np.zeros(_SIZE, np.float32))[3]
  np.testing.assert_array_equal(lengths, 0)
  speck = np.zeros(_SIZE, np.float32)
  speck[60:62, 40:42] = 1
  np.testing.assert_array_equal(outline(speck)[3], 0)
  noise = np.random.default_rng(0).integers(0, 2, _SIZE).astype(np.float32)
  assert not outline(contour.blur(noise, 0.8))[4]


@pytest.mark.parametrize('n', [60, 120])
def test_elimination_solves_what_lapack_solves(n):
  """Also where unknowns differ by six orders of magnitude in scale."""
  rng = np.random.default_rng(n)
  scale = np.diag(np.logspace(-3, 3, n))
  square = rng.normal(size=(n, 2 * n))
  system = scale @ (square @ square.T / n) @ scale
  expected = rng.normal(size=(n, 2))
  right = system @ expected
  found = jax.jit(elimination.solve)(
    jnp.asarray(system, jnp.float32), jnp.asarray(right, jnp.float32)
  )
  weighted = np.diag(scale)[:, None] * (np.asarray(found) - expected)
  assert np.abs(weighted).max() < 1e-4 * np.abs(scale @ expected).max()


def test_sinkhorn_is_one_to_one_and_nearly_optimal():
  rng = np.random.default_rng(0)
  here, there = rng.uniform(size=(2, 100, 2))
  cost = np.sqrt(spline.squared_distances(here, there)).astype(np.float32)
  dummy = shape_context.DUMMY_COST
  assign = jax.jit(lambda x: sinkhorn.assign(x, dummy_cost=dummy))
  rows = np.asarray(assign(cost))
  matched = rows[rows >= 0]
  assert len(np.unique(matched)) == len(matched) > 60
  best, _ = shape_context.assign(cost)

  def price(rows):
    real = np.flatnonzero(rows >= 0)
    return cost[rows[real], real].mean()

  assert price(rows) <= 1.05 * price(best)
  # Where the right assignment is plain, it is found; outliers go to dummies.
  order = rng.permutation(100)
  plain = np.full((100, 100), 0.9, np.float32)
  plain[order, np.arange(100)] = 0.01
  plain[:, :10] = 0.9
  np.testing.assert_array_equal(
    assign(plain), np.where(np.arange(100) < 10, -1, order)
  )


def _nan():
  mask = np.zeros(_SIZE, np.float32)
  mask[30:100, 25:70] = 1
  mask[50, 50] = np.nan
  return mask


def _box(rows, columns):
  mask = np.zeros(_SIZE, np.float32)
  mask[rows, columns] = 1
  return mask


# A mask, and words that the host's sentence and the device's have in common.
_BAD = (
  (_nan(), 'holds NaN or infinity'),
  (_box(slice(0), slice(0)), 'is empty'),
  (_box(60, 40), 'boundary points'),
  (_box(slice(20, 53), slice(0, 33)), 'boundary points'),  # It has 99.
  (_box(slice(None), slice(None)), 'touches all four borders'),
  (_box(slice(10, 120), 40), 'nowhere three pixels wide'),
)


@pytest.fixture(scope='module')
def matched(golden):
  """Golden pairs before bad garments and bad people, and alone."""
  run = jax.jit(match_with_reasons)
  bad = np.stack([mask for mask, _ in _BAD])
  with_bad = [
    np.concatenate(parts)
    for parts in (
      (golden[0], bad, golden[0]),
      (golden[1], golden[1], bad),
    )
  ]
  with_good = [np.concatenate([masks] * 3) for masks in golden]
  return [
    [np.asarray(x) for x in run(*masks)] for masks in (with_bad, with_good)
  ]


@pytest.mark.slow
def test_golden_pairs_match_as_on_the_host(golden, matched):
  (points, reasons), _ = matched
  assert points.shape == (18, 100, 2) and points.dtype == np.float32
  assert (reasons[:6] == 0).all()
  matrix = tps.position_matrix(10, _SIZE)
  for found, garment, person in zip(points, *golden, strict=False):
    host = fit_control_points(garment, person).points_norm
    half = np.float32([47.5, 63.5])
    apart = np.linalg.norm((matrix @ (found - host)) * half, axis=1)
    inside = apart[person.ravel() > 0]
    assert inside.mean() < 0.1 and inside.max() < 1.0  # Pixels.


@pytest.mark.slow
def test_a_bad_mask_has_its_reason_and_costs_no_other_pair(golden, matched):
  (points, reasons), (alone, _) = matched
  np.testing.assert_array_equal(points[:6], alone[:6])
  regular = spline.regular_grid(10).astype(np.float32)
  garment, person = golden[0][0], golden[1][0]
  for i, (mask, words) in enumerate(_BAD):
    for place, masks in ((6 + i, (mask, person)), (12 + i, (garment, mask))):
      np.testing.assert_array_equal(points[place], regular)
      sentence = REASONS[reasons[place]]
      with pytest.raises(MatchingError, match=words) as caught:
        fit_control_points(*masks)
      assert words in sentence
      # Which of the two masks it is.
      assert sentence.split()[:3] == str(caught.value).split()[:3]


@pytest.mark.slow
def test_one_program_for_any_batch_and_platform():
  b = export.symbolic_shape('b')[0]
  masks = jax.ShapeDtypeStruct((b, 64, 48), jnp.bool_)
  exported = export.export(
    jax.jit(match_batch), platforms=('cpu', 'cuda', 'tpu')
  )(masks, masks)
  points, ok = exported.out_avals
  assert points.shape == (b, 100, 2) and points.dtype == jnp.float32
  assert ok.shape == (b,) and ok.dtype == jnp.bool_
  # No library of a platform is called, and nothing of Python.
  calls = {
    line.split('@')[1].split('(')[0]
    for line in exported.mlir_module().splitlines()
    if 'stablehlo.custom_call' in line
  }
  assert calls <= {'shape_assertion', 'Sharding'}


def test_wrong_shapes():
  for shapes in (((2, 8, 8), (2, 8, 9)), ((8, 8), (8, 8)), ((1, 1, 8),) * 2):
    with pytest.raises(InputError, match='one shape'):
      match_batch(*(np.zeros(shape, bool) for shape in shapes))
