"""Shapes in signatures are checked in tests, and only there.

With the hook of conftest.py a mask without its channel axis is an error; left
alone, (b, h, w) against (b, h, w, 1) would broadcast to (b, h, w, h).
"""

import subprocess
import sys

from beartype import beartype
import entry_points
import jax
from jax import export
import jax.numpy as jnp
from jaxtyping import TypeCheckError, jaxtyped
import numpy as np
import pytest

from viton_jax import (
  engine,
  geometry,
  losses,
  metrics,
  predictions,
  representation,
)
from viton_jax.geometry import sampling, tps
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


def test_a_mask_without_its_channel_axis_is_refused_by_the_refinement():
  points = jnp.zeros((B, 100, 2))
  model = Refinement(features=2)
  variables = model.init(jax.random.key(0), IMAGE, IMAGE)
  batch = {'garment': IMAGE}
  with pytest.raises(TypeCheckError, match='garment_mask'):
    predictions.predict_refined(
      variables, batch, points, MASK[..., 0], IMAGE, model=model
    )


def test_images_of_two_sizes_are_refused():
  with pytest.raises(TypeCheckError, match='compose'):
    compose(MASK, IMAGE, IMAGE[:, :-1])
  with pytest.raises(TypeCheckError, match='absolute_error'):
    metrics.absolute_error(MASK[..., 0], MASK)


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
from viton_jax import metrics
wrong = metrics.absolute_error(jnp.zeros((2, 8, 8)), jnp.zeros((2, 8, 1)))
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


def test_the_signatures_of_the_warp_are_true():
  warp = jaxtyped(geometry.warp_tps, typechecker=beartype)
  grid = jaxtyped(tps.sampling_grid, typechecker=beartype)
  sample = jaxtyped(sampling.sample_bilinear, typechecker=beartype)
  points = jnp.asarray(tps.regular_grid(4), jnp.float32)[None].repeat(B, 0)
  assert jax.jit(warp)(IMAGE, points).shape == IMAGE.shape
  positions = grid(points, (5, 7))
  assert sample(IMAGE, positions).shape == (B, 5, 7, 3)
  with pytest.raises(TypeCheckError, match='control_points_norm'):
    warp(IMAGE, points[:1])


def test_arrays_of_another_pair_are_refused_in_a_result():
  image, mask = np.zeros((B, H, W, 3)), np.zeros((B, H, W, 1))
  points = np.zeros((B, 100, 2))
  with pytest.raises(TypeCheckError, match='TryOnBatch'):
    engine.TryOnBatch(
      output=image,
      warped=image,
      coarse=image,
      mask=mask[..., 0],
      alpha=mask,
      hidden=mask,
      uncovered=image,
      opacity=mask,
      texture=mask,
      shading=mask,
      control_points=points,
      correction=np.zeros((B, H // 4, W // 4, 2)),
      failures=[None] * B,
    )
