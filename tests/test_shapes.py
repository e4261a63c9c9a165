"""Shapes in signatures are checked in tests, and only there.

With the hook of conftest.py a mask without its channel axis is an error; left
alone, (b, h, w) against (b, h, w, 1) would broadcast to (b, h, w, h).
"""

import subprocess
import sys

import entry_points
import jax
from jax import export
import jax.numpy as jnp
from jaxtyping import TypeCheckError
import pytest

from viton_jax import losses, representation
from viton_jax.models import EncoderDecoder, Refinement, compose

B, H, W = 2, 64, 64
MASK, IMAGE = jnp.zeros((B, H, W, 1)), jnp.zeros((B, H, W, 3))


def test_a_mask_without_its_channel_axis_is_refused_by_stage_1():
  weights = losses.Stage1Weights(perceptual=0.0)
  for mask, region in ((MASK[..., 0], MASK), (MASK, MASK[..., 0])):
    with pytest.raises(TypeCheckError, match='stage1_loss'):
      losses.stage1_loss(
        mask, IMAGE, region=region, image_norm=IMAGE, weights=weights
      )


def test_a_mask_without_its_channel_axis_is_refused_by_stage_2():
  weights = losses.Stage2Weights(perceptual=0.0)
  with pytest.raises(TypeCheckError, match='stage2_loss'):
    losses.stage2_loss(IMAGE, MASK[..., 0], image_norm=IMAGE, weights=weights)


def test_images_of_two_sizes_are_refused():
  with pytest.raises(TypeCheckError, match='compose'):
    compose(MASK, IMAGE, IMAGE[:, :-1])
  with pytest.raises(TypeCheckError, match='absolute_error'):
    losses.absolute_error(MASK[..., 0], MASK)


def test_a_head_mask_with_a_channel_axis_is_refused():
  batch = {
    'person': IMAGE,
    'head_mask': MASK,
    'body': jnp.zeros((B, H // 16, W // 16)),
    'keypoints': jnp.zeros((B, 18, 3)),
  }
  with pytest.raises(TypeCheckError, match='head_mask'):
    representation.person_representation(batch, fidelity='fixed')
  with pytest.raises(TypeCheckError, match='_is_garment'):
    representation.garment_region({'parse': MASK})


def test_networks_refuse_other_channels():
  inputs = jnp.zeros((B, H, W, 22))
  with pytest.raises(TypeCheckError, match='b h w 25'):
    EncoderDecoder(features=2).init(jax.random.key(0), inputs)
  with pytest.raises(TypeCheckError, match='coarse'):
    Refinement(features=2).init(jax.random.key(0), IMAGE, MASK)


def test_ranks_are_not_promoted():
  with pytest.raises(ValueError, match='numpy_rank_promotion'):
    IMAGE + IMAGE[0]


def test_checked_functions_are_traced_with_symbolic_shapes():
  (b,) = export.symbolic_shape('b')
  shapes = [jax.ShapeDtypeStruct((b, H, W, c), jnp.float32) for c in (1, 3, 3)]
  exported = export.export(jax.jit(compose))(*shapes)
  assert exported.out_avals[0].shape == (b, H, W, 3)
  with pytest.raises(TypeCheckError, match='compose'):
    export.export(jax.jit(compose))(*shapes[1:], shapes[0])


def test_production_checks_nothing():
  code = """
import sys
import jax.numpy as jnp
from viton_jax import losses
wrong = losses.absolute_error(jnp.zeros((2, 8, 8)), jnp.zeros((2, 8, 1)))
assert wrong.shape == (2,)
assert 'beartype' not in sys.modules, 'beartype was imported'
"""
  done = subprocess.run(
    [sys.executable, '-c', code],
    cwd=entry_points.ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
