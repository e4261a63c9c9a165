"""Garments in shop photos: drawn ones with known masks; photos refused."""

import cv2
import numpy as np
import pytest

from input_pipeline import garment_masks
from input_pipeline.synthetic.pairs import render_pair
from viton_jax.errors import InputError
from viton_jax.perception.flat_garment import segment_garment


@pytest.fixture(scope='module')
def garments():
  pairs = [render_pair(8, index, 288) for index in range(1, 7)]
  return [(pair.garment, pair.garment_mask) for pair in pairs]


def overlap(found, true):
  return (found & true).sum() / (found | true).sum()


def as_drawn(photo):
  return photo


def on_grey(photo):
  return (0.7 * photo).astype(np.uint8)


def in_warm_uneven_light(photo):
  h, w = photo.shape[:2]
  y, x = np.mgrid[:h, :w]
  light = 1 - 0.25 * ((x / w - 0.6) ** 2 + (y / h - 0.2) ** 2)
  return (photo * light[..., None] * (1, 0.97, 0.92)).astype(np.uint8)


def compressed(photo):
  data = cv2.imencode('.jpg', photo, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
  return cv2.imdecode(data, cv2.IMREAD_COLOR)


def grainy(photo):
  grain = np.random.default_rng(0).normal(0, 7, photo.shape)
  return np.clip(photo + grain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
  'change', [grainy, as_drawn, on_grey, in_warm_uneven_light, compressed]
)
def test_drawn_garments(garments, change):
  for photo, true in garments:
    found = segment_garment(change(photo))
    assert found.shape == true.shape and found.dtype == bool
    assert overlap(found, true) > 0.93


def test_shadows_are_not_cloth(garments):
  """A dark garment's shadow goes; white cloth is never eaten."""
  gained = []
  for photo, true in garments:
    h, w = true.shape
    shade = np.roll(true.astype(np.float32), (h // 50, w // 80), axis=(0, 1))
    shade = 0.25 * cv2.GaussianBlur(shade, (0, 0), h / 50) * ~true
    shaded = (photo * (1 - shade[..., None])).astype(np.uint8)
    found = segment_garment(shaded)
    assert (found & true).sum() > 0.95 * true.sum()
    before = overlap(garment_masks.garment_mask(shaded), true)
    gained.append(overlap(found, true) - before)
  assert max(gained) > 0.1 and min(gained) > -0.02


def test_white_cloth_with_an_outline():
  photo = np.full((200, 160, 3), 252, np.uint8)
  cv2.rectangle(photo, (40, 50), (120, 150), (240, 240, 240), -1)
  cv2.rectangle(photo, (40, 50), (120, 150), (215, 215, 215), 2)
  true = np.zeros((200, 160), bool)
  true[50:151, 40:121] = True
  assert overlap(segment_garment(photo), true) > 0.95


@pytest.mark.parametrize('height,width', [(64, 48), (333, 517), (1500, 1100)])
def test_any_size(garments, height, width):
  photo, true = garments[2]
  photo = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
  true = cv2.resize(true.astype(np.uint8), (width, height)) > 0
  found = segment_garment(photo)
  assert found.shape == (height, width)
  assert overlap(found, true) > 0.9


def test_a_garment_that_touches_the_border(garments):
  photo, true = garments[0]
  rows = np.nonzero(true.any(axis=1))[0]
  end = rows[-1] - 20
  assert overlap(segment_garment(photo[:end]), true[:end]) > 0.93


def refused(photo):
  with pytest.raises(InputError) as caught:
    segment_garment(photo)
  message = str(caught.value)
  assert '--garment_mask' in message and '\n' not in message
  return message


def test_dark_background(garments):
  photo, true = garments[0]
  dark = np.where(true[..., None], photo, 40).astype(np.uint8)
  assert 'dark background (level 40 of 255' in refused(dark)


def test_patterned_background(garments):
  photo, true = garments[0]
  h, w = true.shape
  y, x = np.mgrid[:h, :w]
  tiles = np.where((x // 12 + y // 12) % 2, 250, 190)
  tiled = np.where(true[..., None], photo, tiles[..., None]).astype(np.uint8)
  assert 'patterned background' in refused(tiled)
  noisy = np.random.default_rng(0).integers(120, 256, (h, w, 3))
  noisy = np.where(true[..., None], photo, noisy).astype(np.uint8)
  assert 'patterned background' in refused(noisy)


def test_no_garment():
  message = refused(np.full((120, 90, 3), 250, np.uint8))
  assert 'nothing that differs' in message
  speck = np.full((120, 90, 3), 250, np.uint8)
  speck[50:54, 40:44] = 0
  assert 'nothing that differs' in refused(speck)


@pytest.mark.parametrize(
  'shape,dtype',
  [
    ((32, 32), np.uint8),
    ((32, 32, 4), np.uint8),
    ((32, 32, 3), np.float32),
  ],
)
def test_unusable_images(shape, dtype):
  with pytest.raises(InputError, match='uint8 of shape'):
    segment_garment(np.zeros(shape, dtype))


def test_tiny_images():
  with pytest.raises(InputError, match='10 x 12'):
    segment_garment(np.full((12, 10, 3), 255, np.uint8))
