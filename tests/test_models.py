"""Networks against the released code's figures and against plain NumPy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import network_goldens as goldens
import numpy as np
import pytest

from viton_jax.models import EncoderDecoder, Refinement, compose
from viton_jax.models.encoder_decoder import drop_out
from viton_jax.models.normalization import BatchNorm, ImageNorm


def test_encoder_decoder_equals_the_released_code():
  variables = goldens.networks()['encoder_decoder']
  inputs = goldens.batch()['inputs']
  mask, coarse = jax.jit(goldens.MODEL.apply)(variables, inputs)
  assert mask.shape == (2, 256, 192, 1) and coarse.shape == (2, 256, 192, 3)
  ours = np.concatenate([mask, coarse], axis=-1)[:, ::4, ::4]
  theirs = goldens.arrays('stage1_ngf8_seed0')['infer_output_every4']
  np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)

  refine = goldens.networks()['refinement']
  theirs = goldens.arrays('stage2_ngf8_seed0')
  warped = jnp.asarray(theirs['infer_stn_image_outputs'])
  alpha = jax.jit(Refinement().apply)(refine, warped, coarse)
  region = (goldens.batch()['parse'] == 5)[..., None].astype(np.float32)
  np.testing.assert_allclose(
    (alpha * region)[:, ::4, ::4],
    theirs['infer_select_mask_every4'],
    rtol=0,
    atol=2e-6,
  )
  output = compose(alpha * region, warped, coarse)
  np.testing.assert_allclose(
    output[:, ::4, ::4],
    theirs['infer_image_outputs_every4'],
    rtol=0,
    atol=2e-6,
  )


def test_bfloat16_stays_near_float32_and_is_returned_as_float32():
  inputs = jnp.asarray(goldens.batch()['inputs'][:, 64:128, 64:128])
  variables = goldens.networks()['encoder_decoder']

  @jax.jit
  def both(variables, refine, inputs):
    results = []
    for dtype in (jnp.float32, jnp.bfloat16):
      model = EncoderDecoder(features=8, dtype=dtype)
      mask, coarse = model.apply(variables, inputs)
      alpha = Refinement(dtype=dtype).apply(refine, inputs[..., :3], coarse)
      results.append((mask, coarse, alpha))
    return results

  refine = goldens.networks()['refinement']
  exact, rough = both(variables, refine, inputs)
  for a, b in zip(exact, rough, strict=True):
    assert b.dtype == jnp.float32
    assert 0 < jnp.abs(a - b).max() < 0.05


def test_parameters_start_as_published():
  model = EncoderDecoder(features=32)
  variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 64, 64, 25)))
  params = variables['params']
  assert params['encoder_1']['kernel'].shape == (4, 4, 25, 32)
  assert params['decoder_6']['kernel'].shape == (4, 4, 256, 256)
  assert params['decoder_5']['kernel'].shape == (4, 4, 256, 512)
  assert params['decoder_1']['kernel'].shape == (4, 4, 4, 64)
  assert 'encoder_1_norm' not in params and 'decoder_1_norm' not in params
  for layer, values in params.items():
    if layer.endswith('norm'):
      assert (values['scale'] == 1).all() and (values['bias'] == 0).all()
    else:
      assert list(values) == ['kernel']
      kernel = values['kernel']
      assert abs(kernel.std() - 0.02) < 0.02 * 3 / np.sqrt(kernel.size)
      assert kernel.dtype == jnp.float32
  stats = variables['batch_stats']['decoder_2_norm']
  assert (stats['mean'] == 0).all() and (stats['var'] == 1).all()

  params = jax.jit(Refinement().init)(
    jax.random.key(0), jnp.zeros((1, 8, 8, 3)), jnp.zeros((1, 8, 8, 3))
  )['params']
  kernel = params['conv_2']['kernel']
  limit = np.sqrt(6 / (9 * 64 * 2))
  assert 0.98 * limit < jnp.abs(kernel).max() <= limit
  assert params['final']['bias'].shape == (1,)
  assert list(params['conv_1']) == ['kernel']


def test_a_size_that_does_not_halve_six_times_is_refused():
  with pytest.raises(ValueError, match='200 x 192.*multiples of 64'):
    goldens.MODEL.apply(
      goldens.networks()['encoder_decoder'], jnp.zeros((1, 200, 192, 25))
    )


def test_batch_norm_is_the_biased_one_over_the_whole_batch():
  x = 2 + 3 * jax.random.normal(jax.random.key(1), (8, 3, 5, 4))
  module = BatchNorm(axis_name='devices')
  variables = module.init(jax.random.key(0), x, False)
  variables['params'] = {'scale': jnp.arange(1.0, 5.0), 'bias': jnp.arange(4.0)}

  mapped = jax.pmap(
    lambda x: module.apply(variables, x, True, mutable=['batch_stats']),
    axis_name='devices',
  )
  y, updated = mapped(x[:, None])
  y = y[:, 0]
  x = np.asarray(x)
  mean, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
  expected = (x - mean) / np.sqrt(var + 1e-5) * np.arange(
    1.0, 5.0, dtype=np.float32
  ) + np.arange(4.0, dtype=np.float32)
  np.testing.assert_allclose(y, expected, atol=2e-5)
  stats = updated['batch_stats']
  for device in range(8):
    np.testing.assert_allclose(stats['mean'][device], 0.001 * mean, rtol=1e-4)
    np.testing.assert_allclose(
      stats['var'][device], 0.999 + 0.001 * var, rtol=1e-5
    )


def test_image_norm_spans_places_and_channels():
  x = 5 + jax.random.normal(jax.random.key(1), (3, 6, 7, 4))
  variables = ImageNorm().init(jax.random.key(0), x)
  y = ImageNorm().apply(variables, x)
  reference = nn.LayerNorm(
    epsilon=1e-12, reduction_axes=(1, 2, 3), use_fast_variance=False
  )
  expected = reference.apply(reference.init(jax.random.key(0), x), x)
  np.testing.assert_allclose(y, expected, atol=1e-5)
  assert y.shape == x.shape


def test_dropout_does_not_depend_on_the_split():
  x = jnp.ones((8, 4, 4, 16))
  key = jax.random.key(3)
  whole = drop_out(x, 0.5, key, None)
  split = jax.pmap(
    lambda x: drop_out(x, 0.5, key, 'devices'), axis_name='devices'
  )(x.reshape(4, 2, 4, 4, 16))
  assert (split.reshape(x.shape) == whole).all()
  assert set(np.unique(whole)) == {0.0, 2.0}
  assert 0.45 < float((whole > 0).mean()) < 0.55
  assert not (whole[0] == whole[1]).all()  # Each example draws its own.
