"""Metrics in validation: of the network's image, next to the loss."""

import evaluations
import numpy as np
import pytest

from configs import stage1
from viton_jax.errors import InputError
from viton_jax.metrics import absolute_error, ssim
from viton_jax.training import loop, metric_log, steps


def train(packed, workdir, **fields):
  config = stage1.get_config('smoke')
  config.data.dir, config.data.format = str(packed), 'packed'
  config.features, config.sample_every = 4, 1000
  config.num_steps, config.eval_every = 1, 1
  config.compile_cache = 'off'
  config.eval.update(fields)
  loop.train_and_evaluate(config, workdir)
  (line,) = (x for x in metric_log.read(workdir) if 'validation/loss' in x)
  return line


def test_metrics_are_those_of_the_image():
  rng = np.random.default_rng(0)
  images, photos = rng.integers(0, 256, (2, 3, 64, 64, 3), np.uint8)
  found = steps.image_metrics(images, photos, metrics=('l1', 'ssim'), frozen={})
  np.testing.assert_allclose(found['l1'], absolute_error(images, photos))
  np.testing.assert_allclose(
    found['ssim'], ssim(images, photos, data_range=255.0)
  )
  assert not steps.image_metrics(images, photos, metrics=(), frozen={})


def test_validation_measures_what_the_config_names(
  packed, tmp_path, monkeypatch
):
  models = evaluations.write_models(tmp_path / 'models')
  heads = models / 'lpips_heads' / 'alex.pth'
  monkeypatch.setenv('VITON_JAX_MODELS', str(models))
  usual = train(packed, tmp_path / 'usual')
  assert 0 < usual['validation/l1'] < 255 and -1 < usual['validation/ssim'] < 1
  assert 'validation/lpips' not in usual
  with pytest.raises(InputError, match="'lpips' needs .*alexnet.ckpt"):
    train(packed, tmp_path / 'without', metrics=('lpips',))
  assert heads.exists()
  with_lpips = train(
    packed,
    tmp_path / 'with',
    metrics=('lpips',),
    lpips_weights=str(models / 'alexnet.pth'),
  )
  assert with_lpips['validation/lpips'] > 0
  assert 'validation/l1' not in with_lpips


def test_a_metric_that_is_none_is_refused(packed, tmp_path):
  with pytest.raises(InputError, match='config.eval.metrics'):
    train(packed, tmp_path, metrics=('fid',))
