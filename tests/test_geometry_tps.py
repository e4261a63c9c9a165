"""The warp: the original's numbers, closed forms, independent references."""

import pathlib

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import interpolate, ndimage

from viton_jax.errors import InputError
from viton_jax.geometry import (
  regular_grid,
  sample_bilinear,
  sampling,
  sampling_grid,
  tps,
  warp_tps,
)

_GOLDENS = pathlib.Path(__file__).parent / 'goldens'


@pytest.fixture(scope='module')
def golden():
  figures = dict(np.load(_GOLDENS / 'tps.npz'))
  inputs = np.load(_GOLDENS / 'inputs_seed0.npz')
  figures['images'] = np.float32(inputs['product_image_u8'] / 127.5 - 1)
  return figures


def _random_points(b, n, amount=0.15, seed=0):
  rng = np.random.default_rng(seed)
  noise = rng.uniform(-amount, amount, (b, n * n, 2))
  return jnp.asarray(regular_grid(n) + noise, jnp.float32)


def _random_images(shape, seed=1):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.uniform(-1, 1, shape), jnp.float32)


def test_original_numbers(golden):
  """The original inverts in float32: mean 1e-4 and max 1e-2 are its own."""
  warped = warp_tps(jnp.asarray(golden['images']), golden['points'])
  error = np.abs(warped[:, ::4, ::4] - golden['output_every_4th'])
  assert error.mean() < 1e-4
  assert error.max() < 1e-2


def test_original_numbers_of_another_grid_and_size(golden):
  warped = jax.jit(warp_tps, static_argnums=2)(
    golden['images'], golden['points_5x5'], (128, 96)
  )
  error = np.abs(warped[:, ::4, ::4] - golden['output_5x5_every_4th'])
  assert error.mean() < 1e-4
  assert error.max() < 1e-2


@pytest.mark.parametrize('shape', [(1, 16, 12, 3), (2, 7, 5, 1), (1, 1, 4, 2)])
def test_identity(shape):
  images = _random_images(shape)
  points = jnp.tile(jnp.asarray(regular_grid(4), jnp.float32), (shape[0], 1, 1))
  np.testing.assert_allclose(warp_tps(images, points), images, atol=2e-5)


def test_affine_maps_are_exact():
  """A spline through an affine map is that map: 90 degrees, then a shift."""
  images = _random_images((1, 9, 9, 2))
  grid = regular_grid(3)
  turned = np.stack([grid[:, 1], -grid[:, 0]], axis=1)
  points = jnp.asarray(turned[None], jnp.float32)
  np.testing.assert_allclose(
    warp_tps(images, points)[0],
    np.rot90(images[0], -1, axes=(0, 1)),
    atol=1e-4,
  )
  moved = jnp.asarray(grid[None] + [0.25, 0.0], jnp.float32)
  np.testing.assert_allclose(
    warp_tps(images, moved)[0, :, :8], images[0, :, 1:], atol=1e-4
  )


def test_positions_against_scipy():
  points = _random_points(1, 10)
  ours = sampling_grid(points, (33, 21))[0].reshape(-1, 2)
  y, x = np.meshgrid(
    np.linspace(-1, 1, 33), np.linspace(-1, 1, 21), indexing='ij'
  )
  spline = interpolate.RBFInterpolator(
    regular_grid(10),
    np.asarray(points[0], np.float64),
    kernel='thin_plate_spline',
    degree=1,
  )
  theirs = spline(np.stack([x.ravel(), y.ravel()], 1))
  np.testing.assert_allclose(ours, theirs, atol=3e-6)


def test_positions_without_the_constant(monkeypatch):
  points = _random_points(2, 10)
  with_constant = sampling_grid(points, (40, 30))
  monkeypatch.setattr(tps, '_MAX_CONSTANT_BYTES', 0)
  np.testing.assert_allclose(
    sampling_grid(points, (40, 30)), with_constant, atol=2e-4
  )


def test_sampling_against_scipy_and_opencv():
  images = _random_images((1, 24, 18, 1))
  rng = np.random.default_rng(2)
  positions = rng.uniform(-1.3, 1.3, (1, 30, 20, 2)).astype(np.float32)
  ours = sample_bilinear(images, jnp.asarray(positions))[0, ..., 0]
  clipped = (np.clip(positions[0], -1, 1) + 1) / 2 * [17, 23]
  image = np.asarray(images[0, ..., 0])
  theirs = ndimage.map_coordinates(
    image, [clipped[..., 1], clipped[..., 0]], order=1, mode='nearest'
  )
  np.testing.assert_allclose(ours, theirs, atol=1e-5)
  maps = clipped.astype(np.float32)
  remapped = cv2.remap(
    image,
    maps[..., 0],
    maps[..., 1],
    cv2.INTER_LINEAR,
    borderMode=cv2.BORDER_REPLICATE,
  )
  # OpenCV may round positions to 1/32 pixel.
  np.testing.assert_allclose(ours, remapped, atol=0.1)


def test_both_gathers_agree():
  images = _random_images((2, 11, 8, 3))
  positions = sampling_grid(_random_points(2, 5, 0.5), (13, 9))
  np.testing.assert_allclose(
    sampling._sample_packed(images, positions),
    sampling._sample_four(images, positions),
    atol=1e-6,
  )
  line = images[:, :1]
  np.testing.assert_allclose(
    sampling._sample_packed(line, positions),
    sampling._sample_four(line, positions),
    atol=1e-6,
  )


def test_borders_repeat():
  images = _random_images((1, 6, 6, 1))
  far = jnp.full((1, 4, 2), 5.0, jnp.float32)
  np.testing.assert_allclose(
    warp_tps(images, far),
    jnp.full((1, 6, 6, 1), images[0, -1, -1, 0]),
    atol=1e-6,
  )


@pytest.mark.parametrize('what', ['images', 'points'])
def test_gradients_against_finite_differences(what):
  images = jnp.asarray(
    ndimage.gaussian_filter(_random_images((1, 12, 10, 2)), (0, 2, 2, 0))
  )
  # Positions stay inside and off the kinks at whole pixels for small steps.
  points = _random_points(1, 4, 0.1) * 0.9
  weights = _random_images((1, 12, 10, 2), seed=5)
  direction = _random_images(
    images.shape if what == 'images' else points.shape, seed=6
  )

  def loss(step):
    moved = {'images': images, 'points': points}
    moved[what] = moved[what] + step * direction
    return jnp.sum(weights * warp_tps(moved['images'], moved['points']))

  step = 2e-3
  numeric = (loss(step) - loss(-step)) / (2 * step)
  assert abs(numeric) > 0.02
  np.testing.assert_allclose(jax.grad(loss)(0.0), numeric, rtol=0.02, atol=2e-3)


def test_bfloat16_images_keep_float32_positions():
  images = _random_images((2, 64, 48, 3))
  points = _random_points(2, 10)
  half = warp_tps(images.astype(jnp.bfloat16), points)
  assert half.dtype == jnp.bfloat16
  rounded = images.astype(jnp.bfloat16).astype(jnp.float32)
  exact = warp_tps(rounded, points)
  # One rounding of the result, none of the positions.
  np.testing.assert_allclose(
    half.astype(jnp.float32), exact, rtol=2**-8, atol=1e-6
  )


def test_vmap_equals_batch():
  images, points = _random_images((3, 10, 8, 2)), _random_points(3, 4)
  one = jax.vmap(lambda i, p: warp_tps(i[None], p[None], (5, 7))[0])
  np.testing.assert_allclose(
    one(images, points), warp_tps(images, points, (5, 7)), atol=1e-6
  )


@pytest.mark.parametrize(
  'image_shape, points_shape, word',
  [
    ((1, 8, 8), (1, 9, 2), 'images'),
    ((1, 8, 8, 3), (1, 8, 2), 'control points'),
    ((1, 8, 8, 3), (1, 9, 3), 'control points'),
    ((1, 8, 8, 3), (1, 1, 2), 'at least'),
    ((2, 8, 8, 3), (1, 9, 2), '2 images'),
  ],
)
def test_bad_shapes_say_so(image_shape, points_shape, word):
  with pytest.raises(InputError, match=word):
    warp_tps(jnp.zeros(image_shape), jnp.zeros(points_shape))


def test_integer_images_are_refused():
  with pytest.raises(InputError, match='uint8'):
    warp_tps(jnp.zeros((1, 8, 8, 3), jnp.uint8), jnp.zeros((1, 9, 2)))
