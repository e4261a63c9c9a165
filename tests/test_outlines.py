"""Outlines, blur and resizing without OpenCV equal OpenCV's."""

import cv2
import numpy as np
import pytest

from viton_jax.geometry import contour


@pytest.mark.parametrize('seed', range(40))
def test_borders_are_those_of_opencv(seed):
  """Same pixels, same first pixel, same direction: parts, holes, thin lines."""
  rng = np.random.default_rng(seed)
  noise = rng.random(rng.integers(6, 40, 2)).astype(np.float32)
  noise = cv2.GaussianBlur(noise, (0, 0), rng.choice([0.1, 0.5, 0.8, 1.5]))
  inside = np.pad(noise > rng.choice([0.3, 0.5, 0.6]), 1)
  expected, _ = cv2.findContours(
    inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
  )
  found = contour.follow_borders(inside)
  assert sorted(chain[:, 0].tolist() for chain in expected) == sorted(
    chain.tolist() for chain in found
  )


def test_nothing_to_follow():
  assert contour.follow_borders(np.zeros((5, 6), bool)) == []
  assert contour.trace(np.zeros((20, 20), np.float32)) == []


@pytest.mark.parametrize(
  'size',
  [
    (256, 192),
    (200, 150),
    (64, 48),
    (128, 64),
    (512, 384),
    (128, 96),
  ],
)
def test_resizing_is_that_of_opencv(size):
  values = np.random.default_rng(0).random(size).astype(np.float32)
  shrinks = size[0] > 128 or size[1] > 96
  method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
  expected = cv2.resize(values, (96, 128), interpolation=method)
  found = contour.resize_area(values, (128, 96))
  assert found.dtype == np.float32 and found.flags.c_contiguous
  np.testing.assert_allclose(found, expected, atol=5e-7)


@pytest.mark.parametrize('sigma', [0.5, 0.8, 2.0])
def test_blur_is_that_of_opencv(sigma):
  values = np.random.default_rng(0).random((31, 24)).astype(np.float32)
  np.testing.assert_allclose(
    contour.blur(values, sigma),
    cv2.GaussianBlur(values, (0, 0), sigma),
    atol=1e-6,
  )


@pytest.mark.parametrize('seed', range(30))
def test_core_is_what_erosion_leaves(seed):
  rng = np.random.default_rng(seed)
  noise = cv2.GaussianBlur(
    rng.random((14, 11)).astype(np.float32), (0, 0), rng.choice([0.3, 0.6])
  )
  mask = noise > rng.choice([0.3, 0.5])
  eroded = cv2.erode(mask.astype(np.uint8), np.ones((3, 3)))
  assert contour.has_core(mask) == eroded.any()


def test_a_corner_of_the_picture_counts_as_core():
  mask = np.zeros((9, 9), bool)
  mask[:2, :2] = True
  assert contour.has_core(mask)
  mask[0, 0] = False
  assert not contour.has_core(mask)
