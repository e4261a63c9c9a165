"""Where photos go in an input, against OpenCV, SciPy and TensorFlow."""

import dataclasses

import cv2
import numpy as np
import pytest
from scipy import ndimage

from viton_jax.geometry import interpolation
from viton_jax.perception import fitting
from viton_jax.perception.spec_types import FixedSize, Input


def photo(height, width, seed=0):
  """A smooth picture with another value everywhere."""
  rng = np.random.default_rng(seed)
  small = rng.integers(0, 256, (6, 5, 3), np.uint8)
  return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def rules(fit, size, *, color='rgb', pad_value=0, box_padding=1.0):
  fit = FixedSize(fit, size, box_padding)
  return Input(color=color, fit=fit, pad_value=pad_value)


@pytest.mark.parametrize('height, width', [(240, 180), (150, 200), (90, 90)])
def test_letterbox_center_puts_corner_pixels_on_corner_pixels(height, width):
  image = photo(height, width)
  got, place = fitting.fit_photo(image, rules('letterbox_center', (101, 101)))
  # The longer side goes from pixel 0 to pixel 100; the shorter one is centred.
  scale = 100 / (max(height, width) - 1)
  x0, y0 = (100 - scale * (width - 1)) / 2, (100 - scale * (height - 1)) / 2
  source = np.float32([(0, 0), (width - 1, 0), (0, height - 1)])
  target = np.float32([(x0, y0), (100 - x0, y0), (x0, 100 - y0)])
  matrix = cv2.getAffineTransform(source, target)
  expected = cv2.warpAffine(image, matrix, (101, 101))
  np.testing.assert_allclose(got, expected, atol=2)
  # What is not of the photo is black, and the photo is not.
  beside = np.ones((101, 101), bool)
  beside[
    int(np.floor(y0)) : int(np.ceil(100 - y0)) + 1,
    int(np.floor(x0)) : int(np.ceil(100 - x0)) + 1,
  ] = False
  assert (got[beside] == 0).all()
  assert beside.any() == (height != width)
  corners = place.to_photo(target[:, :2])
  np.testing.assert_allclose(corners, source, atol=1e-4)


def test_letterbox_topleft_by_hand():
  image = np.full((30, 60, 3), 200, np.uint8)
  got, place = fitting.fit_photo(
    image, rules('letterbox_topleft', (64, 64), pad_value=114)
  )
  # 64 / 60 * 30 = 32 rows.
  assert (got[:32] == 200).all() and (got[32:] == 114).all()
  np.testing.assert_allclose(
    place.to_photo(np.array([[-0.5, -0.5], [63.5, 31.5]])),
    [(-0.5, -0.5), (59.5, 29.5)],
  )


@pytest.mark.parametrize(
  'height, width, inner',
  [(200, 150, (200, 150)), (400, 200, (320, 160)), (64, 40, (205, 128))],
)
def test_pad_center_shrinks_what_is_larger_and_enlarges_only_the_tiny(
  height, width, inner
):
  image = np.full((height, width, 3), 255, np.uint8)
  got, _ = fitting.fit_photo(image, rules('pad_center', (320, 320)))
  rows, columns = got[..., 0].any(1), got[..., 0].any(0)
  assert (rows.sum(), columns.sum()) == inner
  for there, n in zip((rows, columns), inner, strict=True):
    assert np.flatnonzero(there)[0] == (320 - n) // 2


def test_affine_box_by_corner_points():
  image = photo(200, 160)
  box = 40, 30, 100, 150
  got, place = fitting.fit_photo(
    image, rules('affine_box', (256, 192), box_padding=1.25), box
  )
  # 60 x 120 becomes 75 x 150, then 112.5 x 150 for an aspect of 3:4, around
  # (70, 90); the box's corners go to the input's.
  source = np.float32([(13.75, 15), (126.25, 15), (13.75, 165)])
  target = np.float32([(0, 0), (192, 0), (0, 256)])
  matrix = cv2.getAffineTransform(source, target)
  expected = cv2.warpAffine(image, matrix, (192, 256))
  np.testing.assert_allclose(got, expected, atol=2)
  np.testing.assert_allclose(place.to_photo(target), source, atol=1e-6)


def test_a_very_large_photo_is_averaged_and_not_sampled():
  image = np.zeros((1600, 1600, 3), np.uint8)
  image[::2] = 200  # Rows that sampling would hit or miss.
  for fit in ('stretch', 'letterbox_center', 'letterbox_topleft', 'affine_box'):
    got, _ = fitting.fit_photo(image, rules(fit, (64, 64)))
    np.testing.assert_allclose(got[2:-2, 2:-2], 100, atol=10, err_msg=fit)


@pytest.mark.parametrize(
  'fit', ['stretch', 'letterbox_center', 'letterbox_topleft', 'affine_box']
)
@pytest.mark.parametrize('size', [(120, 90), (1000, 750)])
def test_a_dot_is_where_the_placement_says(fit, size):
  image = np.zeros((*size, 3), np.uint8)
  y, x = size[0] // 3, size[1] // 2
  r = size[0] // 30
  image[y - r : y + r + 1, x - r : x + r + 1] = 255
  got, place = fitting.fit_photo(image, rules(fit, (96, 80)))
  weights = got[..., 0] / got[..., 0].sum()
  at = (weights.sum(0) @ np.arange(80), weights.sum(1) @ np.arange(96))
  np.testing.assert_allclose(
    place.to_photo(np.array([at])), [(x, y)], atol=0.02 * size[0]
  )


def test_numbers_for_the_network_by_hand():
  placed = np.zeros((2, 3, 3), np.uint8)
  placed[1, 2] = 255, 51, 0
  spec = Input(
    color='rgb',
    fit=FixedSize('stretch', (2, 3)),
    scale=1 / 255,
    mean=(0.4, 0.1, 0.5),
    std=(0.2, 0.5, 0.25),
  )
  first = fitting.to_tensor(placed, spec)
  assert first.shape == (1, 3, 2, 3) and first.dtype == np.float32
  np.testing.assert_allclose(
    first[0, :, 1, 2],
    [(1 - 0.4) / 0.2, (0.2 - 0.1) / 0.5, -0.5 / 0.25],
    rtol=1e-6,
  )
  np.testing.assert_allclose(first[0, :, 0, 0], [-2, -0.2, -2], rtol=1e-6)
  last = fitting.to_tensor(placed, dataclasses.replace(spec, layout='nhwc'))
  np.testing.assert_array_equal(last, first.transpose(0, 2, 3, 1))


def test_the_colour_order():
  image = np.zeros((20, 20, 3), np.uint8)
  image[...] = 10, 20, 30
  for color, expected in (('rgb', (10, 20, 30)), ('bgr', (30, 20, 10))):
    got, _ = fitting.fit_photo(image, rules('stretch', (32, 32), color=color))
    assert (got == expected).all()


@pytest.mark.parametrize('n, size', [(7, 31), (12, 12), (119, 473)])
def test_enlarging(n, size):
  line = np.random.default_rng(n).normal(size=(n, 2)).astype(np.float32)

  def enlarged(align):
    at = fitting.enlarge_positions(n, size, align)
    return interpolation.linear_weights(at, n) @ line

  corners = ndimage.zoom(
    line, (size / n, 1), order=1, mode='nearest', grid_mode=False
  )
  np.testing.assert_allclose(enlarged('corners'), corners, atol=1e-4)
  centers = cv2.resize(line, (2, size), interpolation=cv2.INTER_LINEAR)
  np.testing.assert_allclose(enlarged('centers'), centers, atol=1e-4)
  tf = pytest.importorskip('tensorflow')
  tf1 = tf.compat.v1.image.resize_bilinear(line[None, :, None], (size, 1))
  np.testing.assert_allclose(enlarged('tf1'), tf1[0, :, 0], atol=1e-4)


def test_reading_outside():
  at = np.array([-2, -0.25, 0.5, 2.25, 4])
  line = np.array([8, 4, 2], np.float32)
  np.testing.assert_allclose(
    interpolation.linear_weights(at, 3, border='zero') @ line, [0, 6, 6, 1.5, 0]
  )
  np.testing.assert_allclose(
    interpolation.linear_weights(at, 3) @ line, [8, 8, 6, 2, 2]
  )
