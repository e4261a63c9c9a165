"""Encoder-decoders with more or fewer downsamples, from config to images."""

import entry_points
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from input_pipeline import batches
from viton_jax import checkpoints, networks
from viton_jax.checkpoints import safetensors_files
from viton_jax.models import EncoderDecoder

pytestmark = pytest.mark.slow


def test_a_deeper_network_downsamples_once_more():
  """Its innermost picture is 1 x 2 pixels for 128 x 256; widths stay at 8."""
  model = EncoderDecoder(features=2, num_downsamples=7)
  inputs = jnp.zeros((1, 128, 256, 25))
  variables = jax.eval_shape(model.init, jax.random.key(0), inputs)
  kernels = {
    name: layer['kernel'].shape
    for name, layer in variables['params'].items()
    if 'kernel' in layer
  }
  assert kernels['encoder_7'] == (4, 4, 16, 16)
  assert kernels['decoder_7'] == (4, 4, 16, 16)
  assert kernels['decoder_6'] == (4, 4, 16, 32)  # With the skip connection.
  assert checkpoints.num_downsamples_of(variables['params']) == 7
  mask, coarse = jax.eval_shape(model.apply, variables, inputs)
  assert mask.shape == (1, 128, 256, 1) and coarse.shape == (1, 128, 256, 3)
  with pytest.raises(ValueError, match='multiples of 128'):
    jax.eval_shape(model.apply, variables, inputs[:, :64])


def test_six_is_the_published_network():
  shapes = [
    jax.eval_shape(
      EncoderDecoder(features=2, **options).init,
      jax.random.key(0),
      jnp.zeros((1, 64, 64, 25)),
    )
    for options in ({}, {'num_downsamples': 6})
  ]
  assert shapes[0] == shapes[1]
  assert checkpoints.num_downsamples_of(shapes[0]['params']) == 6


def test_downsamples_go_from_the_config_to_the_images(records_dir, tmp_path):
  first, second = tmp_path / '1', tmp_path / '2'
  entry_points.run(
    'viton_jax.train',
    *('--config', 'configs/stage1.py:smoke', '--workdir', first),
    *('--config.data.dir', records_dir, '--config.num_downsamples', 5),
  )
  entry_points.run(
    'viton_jax.train',
    *('--config', 'configs/stage2.py:smoke', '--workdir', second),
    *('--config.data.dir', records_dir, '--config.coarse_checkpoint', first),
  )
  checkpoint = checkpoints.read(first, 'encoder_decoder')
  assert checkpoint.num_downsamples == 5
  safetensors_files.write(checkpoint, tmp_path / 'first.safetensors')
  (batch,) = list(
    batches.eval_batches(records_dir, split='validation', batch_size=8)
  )[:1]
  results = [
    networks.load(place, second)(batch).output
    for place in (first, tmp_path / 'first.safetensors')
  ]
  assert results[0].shape == (8, 128, 64, 3)
  np.testing.assert_array_equal(*results)


def test_too_many_downsamples_are_refused(records_dir, tmp_path):
  line = entry_points.fails(
    'viton_jax.train',
    *('--config', 'configs/stage1.py:smoke', '--workdir', tmp_path / 'w'),
    *('--config.data.dir', records_dir, '--config.num_downsamples', 7),
  )
  assert (
    'config.num_downsamples: 7 downsamples do not fit the width of 64' in line
  )
