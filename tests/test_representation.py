"""The networks' input, channel by channel."""

import inspect

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from viton_jax import representation
from viton_jax.errors import InputError

H, W = 128, 192


@pytest.fixture(scope='module')
def batch():
  rng = np.random.default_rng(0)
  keypoints = np.zeros((2, 18, 3), np.float32)
  keypoints[..., 2] = 1
  keypoints[..., 0] = rng.uniform(20, W - 20, (2, 18))
  keypoints[..., 1] = rng.uniform(20, H - 20, (2, 18))
  keypoints[0, 3] = 0  # missing
  keypoints[0, 4, :2] = 0, 0
  keypoints[0, 5, :2] = W - 1, H - 1
  keypoints[1, 6, :2] = 30.4, 40.6
  return {
    'person': rng.integers(0, 256, (2, H, W, 3), np.uint8),
    'garment': rng.integers(0, 256, (2, H, W, 3), np.uint8),
    'head_mask': rng.integers(0, 256, (2, H, W), np.uint8),
    'parse': rng.integers(0, 20, (2, H, W), np.uint8),
    'body': rng.random((2, H // 16, W // 16), np.float32),
    'keypoints': keypoints,
  }


def test_channels_come_in_the_published_order(batch):
  inputs = jax.jit(
    lambda b: representation.network_inputs(b, fidelity='fixed')
  )(batch)
  assert inputs.shape == (2, H, W, 25) and inputs.dtype == jnp.float32
  person, garment = (
    batch[name] / 255 * 2 - 1 for name in ('person', 'garment')
  )
  np.testing.assert_allclose(inputs[..., :3], garment, atol=1e-6)
  head = person * (batch['head_mask'] / 255)[..., None]
  np.testing.assert_allclose(inputs[..., 4:7], head, atol=1e-6)
  body = representation.body_shape(
    jnp.asarray(batch['body']), (H, W), fidelity='fixed'
  )
  pose = representation.pose_map(
    jnp.asarray(batch['keypoints']), (H, W), fidelity='fixed'
  )
  np.testing.assert_allclose(inputs[..., 3:4], body, atol=1e-6)
  np.testing.assert_array_equal(inputs[..., 7:], pose)
  region = representation.garment_region(batch)
  np.testing.assert_array_equal(region[..., 0], batch['parse'] == 5)


def test_what_an_exchange_may_change_reaches_around_garment_and_arms():
  parse = np.zeros((2, H, W), np.uint8)
  parse[0, 40:60, 50:90] = 5
  parse[0, 70:75, 0:3] = 14  # At the border.
  parse[0, 100:120, 100:120] = 9  # Trousers stay.
  parse[1, 10:30, 10:30] = 13  # So does a face.
  found = jax.jit(representation.changed_region)({'parse': parse})
  assert found.shape == (2, H, W, 1) and found.dtype == jnp.float32
  inside = np.isin(parse[0], (5, 14)).astype(np.uint8)
  expected = cv2.dilate(inside, np.ones((2 * (H // 32) + 1,) * 2, np.uint8))
  np.testing.assert_array_equal(found[0, ..., 0], expected)
  assert not found[1].any()


def test_a_photo_shows_its_colours_and_four_kinds_of_parts():
  parse = np.array([[[5, 10, 14, 3], [9, 18, 2, 13], [0, 11, 6, 7]]], np.uint8)
  photo = np.full((1, 3, 4, 3), 51, np.uint8)
  found = np.asarray(jax.jit(representation.photo_channels)(photo, parse))
  assert found.shape == (1, 3, 4, representation.NUM_PHOTO_CHANNELS)
  np.testing.assert_allclose(found[..., :3], 0.2, rtol=1e-6)
  parts = found[0, ..., 3:]
  # Old garment, skin, lower clothes, head; or none of these.
  wanted = [[1, 2, 2, 2], [3, 3, 4, 4], [0, 0, 0, 0]]
  np.testing.assert_array_equal(parts @ [1, 2, 3, 4], wanted)
  np.testing.assert_array_equal(parts.sum(-1), np.minimum(wanted, 1))
  # What may not be seen is nothing.
  assert not representation.photo_channels(0 * photo, 0 * parse).any()


def test_float_pictures_give_what_bytes_give(batch):
  floats = batch | {
    name: batch[name].astype(np.float32)
    for name in ('person', 'garment', 'head_mask')
  }
  a, b = (
    representation.network_inputs(
      jax.tree.map(jnp.asarray, x), fidelity='original'
    )
    for x in (batch, floats)
  )
  np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('fidelity', ['fixed', 'original'])
def test_joints_are_squares_of_eleven_pixels(batch, fidelity):
  keypoints = batch['keypoints']
  pose = np.asarray(
    representation.pose_map(jnp.asarray(keypoints), (H, W), fidelity=fidelity)
  )
  expected = np.zeros((2, H, W, 18))
  for i in range(2):
    for k in range(18):
      x, y, confidence = keypoints[i, k]
      if confidence == 0 and fidelity == 'fixed':
        continue
      x, y = int(np.rint(x)), int(np.rint(y))
      rows = slice(max(y - 5, 0), y + 6)
      expected[i, rows, max(x - 5, 0) : x + 6, k] = 1
  np.testing.assert_array_equal(pose, expected)
  assert pose[0, ..., 3].sum() == (36 if fidelity == 'original' else 0)
  assert pose[0, ..., 4].sum() == pose[0, ..., 5].sum() == 36  # corners
  assert pose[1, 36:47, 25:36, 6].all() and pose[1, ..., 6].sum() == 121


def test_original_enlarges_the_body_as_tensorflow_1(batch):
  import tensorflow as tf

  ours = representation.body_shape(
    jnp.asarray(batch['body']), (H, W), fidelity='original'
  )
  theirs = tf.compat.v1.image.resize_bilinear(
    batch['body'][..., None], (H, W), align_corners=False
  )
  np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)


def test_fixed_enlarges_the_body_by_pixel_centres():
  body = np.zeros((1, 8, 12), np.float32)
  body[0, 3, 5] = 1
  ours = representation.body_shape(jnp.asarray(body), (H, W), fidelity='fixed')[
    0, ..., 0
  ]
  y, x = (np.abs(np.arange(n) + 0.5 - c) / 16 for n, c in ((H, 56), (W, 88)))
  expected = np.clip(1 - y, 0, 1)[:, None] * np.clip(1 - x, 0, 1)
  np.testing.assert_allclose(ours, expected, atol=1e-6)
  flat = representation.body_shape(
    jnp.ones((1, 8, 12)), (H, W), fidelity='fixed'
  )
  np.testing.assert_allclose(flat, 1, atol=1e-6)  # the border keeps its weight


def test_bytes_survive_the_way_there_and_back():
  values = jnp.arange(256, dtype=jnp.uint8)
  norm = representation.to_norm(values)
  assert norm[0] == -1 and norm[-1] == 1
  np.testing.assert_array_equal(representation.to_uint8(norm), values)
  beyond = representation.to_uint8(jnp.array([-1.5, 1.5]))
  np.testing.assert_array_equal(beyond, [0, 255])


@pytest.mark.parametrize('span', [(-1, 1), (0, 1), (0, 255)])
def test_numpy_and_jax_round_to_the_same_bytes(span):
  values = np.random.default_rng(0).uniform(*span, 5000).astype(np.float32)
  ours = representation.to_uint8(values, span)
  assert type(ours) is np.ndarray and ours.dtype == np.uint8
  theirs = jax.jit(lambda x: representation.to_uint8(x, span))(values)
  np.testing.assert_array_equal(ours, theirs)
  exact = (values.astype(float) - span[0]) * 255 / (span[1] - span[0])
  assert np.abs(ours - exact).max() <= 0.5 + 1e-4


def test_an_unknown_fidelity_is_refused(batch):
  # Without the tests' own check of the annotation.
  with pytest.raises(InputError, match="'orignal'.*'fixed', 'original'"):
    inspect.unwrap(representation.pose_map)(
      jnp.asarray(batch['keypoints']), (H, W), fidelity='orignal'
    )
