"""Garments at the size of the photo against the networks' own warp."""

import dataclasses

import cv2
import numpy as np
from scipy import interpolate
import skimage.data

from input_pipeline.synthetic.pairs import render_pair
from viton_jax import geometry
from viton_jax.labels import FACE, GARMENT_LABEL, HEAD_LABELS
from viton_jax.photo import full_size


def bent_points():
  points = geometry.regular_grid(10).astype(np.float32)
  x, y = points.T
  return np.stack([0.9 * x + 0.1 * y**2, 0.85 * y - 0.1 * x * y], axis=1)


def test_is_the_networks_warp_where_sizes_are_equal():
  photo = cv2.GaussianBlur(skimage.data.astronaut()[:256, :192], (0, 0), 2)
  points = bent_points()
  got = full_size.warp_photo(
    photo, full_size.warp_positions(points, (256, 192)), out_size=(256, 192)
  )
  expected = np.asarray(
    geometry.warp_tps(photo[None].astype(np.float32), points[None])
  )[0]
  # Cubic here, linear there.
  assert np.abs(got - expected).max() < 4


def test_takes_the_corrections_of_the_networks_along():
  photo = cv2.GaussianBlur(skimage.data.astronaut()[:256, :192], (0, 0), 2)
  points = bent_points()
  rng = np.random.default_rng(0)
  correction = cv2.resize(
    rng.normal(0, 0.1, (5, 4, 2)), (48, 64), interpolation=cv2.INTER_CUBIC
  ).astype(np.float32)
  got = full_size.warp_photo(
    photo,
    full_size.warp_positions(points, (256, 192), correction),
    out_size=(256, 192),
  )
  expected = np.asarray(
    geometry.warp_tps(
      photo[None].astype(np.float32), points[None], correction=correction[None]
    )
  )[0]
  assert np.abs(got - expected).max() < 4
  plain = full_size.warp_photo(
    photo, full_size.warp_positions(points, (256, 192)), out_size=(256, 192)
  )
  assert np.abs(got.astype(int) - plain).mean() > 5


def test_is_the_same_map_at_any_size_of_garment_and_person():
  """Reference: the exact spline at every pixel, sampled by OpenCV."""
  photo = cv2.GaussianBlur(skimage.data.astronaut(), (0, 0), 3)
  photo = cv2.resize(photo, (600, 800), interpolation=cv2.INTER_LINEAR)
  points = bent_points()
  h, w = 512, 384
  # Pixel centres of the big picture in [-1, 1] between the small one's.
  ys = ((np.arange(h) + 0.5) * 256 / h - 0.5) / 255 * 2 - 1
  xs = ((np.arange(w) + 0.5) * 192 / w - 0.5) / 191 * 2 - 1
  spline = interpolate.RBFInterpolator(
    geometry.regular_grid(10), points, kernel='thin_plate_spline'
  )
  gx, gy = np.meshgrid(xs, ys)
  norm = spline(np.stack([gx.ravel(), gy.ravel()], 1)).reshape(h, w, 2)
  px = ((norm + 1) / 2 * (191, 255) + 0.5) * (600 / 192, 800 / 256) - 0.5
  expected = cv2.remap(
    photo,
    *np.float32(np.moveaxis(px, -1, 0)),
    cv2.INTER_CUBIC,
    borderMode=cv2.BORDER_REPLICATE,
  )
  got = full_size.warp_photo(
    photo, full_size.warp_positions(points, (256, 192)), out_size=(h, w)
  )
  difference = np.abs(got.astype(int) - expected)[8:-8, 8:-8]
  assert difference.max() <= 6 and difference.mean() < 0.4


def test_a_much_larger_photo_is_averaged_not_skipped():
  stripes = np.zeros((2048, 1536, 3), np.uint8)
  stripes[::2] = 255  # Finer than the output can show: grey.
  got = full_size.warp_photo(
    stripes,
    full_size.warp_positions(
      geometry.regular_grid(10).astype(np.float32), (256, 192)
    ),
    out_size=(256, 192),
  )
  assert np.abs(got.astype(int) - 127).max() < 8


def test_background_takes_the_colour_of_the_nearest_cloth():
  photo = np.full((60, 80, 3), 255, np.uint8)
  mask = np.zeros((60, 80), bool)
  mask[20:40, 20:60] = True
  photo[20:40, 20:40] = (200, 0, 0)
  photo[20:40, 40:60] = (0, 0, 200)
  got = full_size.spread_garment(photo, mask)
  assert (got[:, :35] == (200, 0, 0)).all()
  assert (got[:, 45:] == (0, 0, 200)).all()


def test_a_gap_that_the_mask_has_bridged_becomes_cloth():
  photo = np.full((200, 200, 3), 250, np.uint8)
  mask = np.zeros((200, 200), bool)
  mask[40:160, 40:160] = True
  photo[mask] = (200, 0, 0)
  photo[150:160, 90:96] = 250  # Paper seen between a sleeve and the body.
  photo[90:110, 90:110] = 250  # A white print, far within: it stays.
  got = full_size.spread_garment(photo, mask)
  assert (got[150:160, 90:96] == (200, 0, 0)).all()
  assert (got[95:105, 95:105] == 250).all()


def test_the_end_of_a_gap_beside_a_sleeve_becomes_cloth():
  """Even where the paper is in shade; a stripe like it stays a stripe."""
  photo = np.full((400, 300, 3), 235, np.uint8)
  mask = np.zeros((400, 300), bool)
  mask[100:300, 60:240] = True
  photo[mask] = (20, 30, 90)
  photo[140:160, 60:240] = (215, 205, 235)
  for row in range(224, 300):  # It narrows upwards, and is darker there.
    half = (row - 210) // 14
    photo[row, 100 - half : 101 + half] = 195 - max(0, 240 - row)
    if row >= 240:
      mask[row, 100 - half : 101 + half] = False
  got = full_size.spread_garment(photo, mask).astype(int)
  assert (got[200:300, 85:115, 0] < 30).all()
  np.testing.assert_array_equal(got[145:155, 70:230], photo[145:155, 70:230])


def test_a_collar_covers_the_neck_and_an_outline_does_not():
  parse = np.zeros((512, 384), np.uint8)
  parse[50:150, 150:230] = FACE
  parse[50:60, 150:230] = 2  # Hair.
  opacity = np.zeros(parse.shape, np.float32)
  opacity[120:400] = 1  # A collar over the lower third.
  opacity[100:120, 225:] = 1  # An outline five pixels too wide.
  opacity[:70, 150:230] = 1  # Nonsense over hair.
  found = full_size.in_front(parse, opacity)
  head = parse > 0
  assert not found[122:148, 156:224].any()
  assert found[72:116, 150:230].all() and found[50:60, 150:230].all()
  assert not found[~head].any()


def test_enlarged_masks_have_steep_borders_without_steps():
  rows, columns = np.mgrid[:256, :192]
  slope = columns > 60 + 0.3 * rows  # In steps of pixels, on the small mask.
  large = full_size.sharpened(slope.astype(np.float32), (1024, 768))
  rows, columns = np.mgrid[:1024, :768] / 4
  beyond = (columns - 60 - 0.3 * rows) / np.hypot(1, 0.3)
  assert (large[beyond > 2] == 1).all()
  assert (large[beyond < -2] == 0).all()
  # Where it crosses one half the border is straight to a quarter of a pixel.
  crossing = (large[40:-40] > 0.5).argmax(axis=1) / 4
  fit = np.polynomial.Polynomial.fit(np.arange(len(crossing)), crossing, 1)
  assert np.abs(crossing - fit(np.arange(len(crossing)))).max() < 0.6


def test_what_stays_is_the_photo_and_the_head_always():
  pair = render_pair(3, 4, 512)
  other = render_pair(3, 4, 512, garment_index=9)
  sample = dataclasses.replace(
    pair.sample('me.png', 'shirt.png'),
    garment=other.garment,
    garment_mask=other.garment_mask,
  )
  done = full_size.paste(sample)
  kept = ~done.changed
  assert 0.5 < kept.mean() < 0.95
  np.testing.assert_array_equal(done.image[kept], sample.person[kept])
  assert not done.changed[np.isin(sample.parse, HEAD_LABELS)].any()
  assert done.changed[sample.parse == GARMENT_LABEL].mean() > 0.97
