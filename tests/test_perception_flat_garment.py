"""Garments in shop photos: drawn ones with known masks; photos refused."""

import cv2
import numpy as np
import pytest

from input_pipeline.synthetic import shop_photos
from input_pipeline.synthetic.pairs import render_pair
from viton_jax.errors import InputError
from viton_jax.perception import garment_ground, garment_outlines
from viton_jax.perception.flat_garment import segment_garment
from viton_jax.photo import inputs

# Not the drawings by which the constants were chosen.
SEED = 9000


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
    assert overlap(found, true) > (0.97 if change is as_drawn else 0.95)


def test_pale_stripes_do_not_join_sleeves_and_body():
  for index in range(1, 5):
    true = render_pair(8, index, 512).garment_mask
    dark = (np.arange(len(true)) // 14 % 2 == 0)[:, None, None]
    cloth = np.where(dark, (92, 112, 165), (244, 243, 236))
    cover = cv2.GaussianBlur(true.astype(np.float32), (0, 0), 0.7)[..., None]
    found = segment_garment(
      (255 * (1 - cover) + cloth * cover).round().astype(np.uint8)
    )
    assert overlap(found, true) > 0.95


def test_shadows_are_not_cloth(garments):
  for photo, true in garments:
    h, w = true.shape
    shade = np.roll(true.astype(np.float32), (h // 50, w // 80), axis=(0, 1))
    shade = 0.25 * cv2.GaussianBlur(shade, (0, 0), h / 50) * ~true
    shaded = (photo * (1 - shade[..., None])).astype(np.uint8)
    assert overlap(segment_garment(shaded), true) > 0.93


def test_white_cloth_with_an_outline():
  photo = np.full((200, 160, 3), 252, np.uint8)
  cv2.rectangle(photo, (40, 50), (120, 150), (240, 240, 240), -1)
  cv2.rectangle(photo, (40, 50), (120, 150), (215, 215, 215), 2)
  true = np.zeros((200, 160), bool)
  true[50:151, 40:121] = True
  assert overlap(segment_garment(photo), true) > 0.95


def test_cloth_brighter_than_its_ground():
  photo = np.full((200, 160, 3), 246, np.uint8)
  photo[50:151, 40:121] = 255
  photo[90:110, 70:90] = 30
  true = np.zeros((200, 160), bool)
  true[50:151, 40:121] = True
  assert overlap(segment_garment(photo), true) > 0.97


@pytest.mark.slow
def test_hard_photos():
  found = {}
  for index in range(len(shop_photos.KINDS)):
    drawn = shop_photos.render_shop_photo(SEED, index, 640)
    found[drawn.kind] = overlap(segment_garment(drawn.photo), drawn.mask)
  worst = min(found, key=lambda kind: found[kind])
  assert found[worst] > 0.8, (worst, found[worst])
  assert np.mean(list(found.values())) > 0.98


@pytest.mark.parametrize('height,width', [(96, 72), (333, 517), (1500, 1100)])
def test_any_size(garments, height, width):
  photo, true = garments[2]
  photo = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
  true = cv2.resize(true.astype(np.uint8), (width, height)) > 0
  found = segment_garment(photo)
  assert found.shape == (height, width)
  assert overlap(found, true) > 0.93


def test_a_garment_that_touches_the_border(garments):
  photo, true = garments[0]
  rows = np.nonzero(true.any(axis=1))[0]
  end = rows[-1] - 20
  assert overlap(segment_garment(photo[:end]), true[:end]) > 0.95


def on_ground(garments, index, ground):
  photo, true = garments[index]
  return np.where(true[..., None], photo, ground).astype(np.uint8), true


def test_dark_ground(garments):
  photo, true = on_ground(garments, 0, 40)
  assert overlap(segment_garment(photo), true) > 0.97


def test_tiles(garments):
  h, w = garments[0][1].shape
  y, x = np.mgrid[:h, :w]
  tiles = np.where((x // 12 + y // 12) % 2, 250, 190)[..., None]
  photo, true = on_ground(garments, 2, tiles)
  assert overlap(segment_garment(photo), true) > 0.93


def test_the_ground_is_not_the_larger_part_of_the_border():
  photo = np.full((300, 240, 3), 235, np.uint8)
  photo[60:, :] = (90, 30, 40)
  ground = garment_ground.fit_border(photo.astype(np.float32))
  assert np.abs(ground.field - 235).max() < 2 and ground.share < 0.5


def refused(photo):
  with pytest.raises(InputError) as caught:
    segment_garment(photo)
  message = str(caught.value)
  assert '--garment_mask' in message and '\n' not in message
  return message


def test_no_garment():
  message = refused(np.full((120, 90, 3), 250, np.uint8))
  assert 'nothing large that differs' in message and '(0.0 %' in message
  speck = np.full((120, 90, 3), 250, np.uint8)
  speck[50:54, 40:44] = 0
  assert 'nothing large that differs' in refused(speck)


def test_many_things():
  photo = np.full((300, 300, 3), 250, np.uint8)
  for x in (20, 120, 220):
    photo[100:200, x : x + 60] = 60
  assert 'falls into 3 pieces' in refused(photo)


@pytest.mark.parametrize(
  'spoil,why',
  [
    (lambda mask: mask[::12, 40:300].fill(True), 'ragged'),
    (lambda mask: mask[80:320, 170:200].fill(False), 'has holes over 24 %'),
    (lambda mask: mask[:, 195:202].fill(False), 'falls into 2 pieces'),
  ],
)
def test_masks_that_are_no_garment(spoil, why):
  mask = np.zeros((400, 400), bool)
  mask[50:350, 150:250] = True
  garment_outlines.check(mask)
  spoil(mask)
  with pytest.raises(InputError, match=why):
    garment_outlines.check(mask)


def test_people_are_no_garments():
  seen = 0
  for index in range(1, 13):
    try:
      segment_garment(render_pair(31, index, 320).person)
    except InputError as error:
      seen += 'shows a person' in str(error)
  assert seen >= 10


def test_transparency_that_cuts_nothing_out(garments):
  photo, true = garments[2]
  cut_out = np.where(true, 255, 0).astype(np.uint8)
  found, source = inputs.garment_mask_of(None, photo, cut_out, 'a.png')
  assert np.array_equal(found, true) and 'transparency' in source
  corners = np.full(true.shape, 255, np.uint8)
  corners[:4, :4] = 0
  found, source = inputs.garment_mask_of(None, photo, corners, 'a.png')
  assert overlap(found, true) > 0.97 and source == 'found in its photo'


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
