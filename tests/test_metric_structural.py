"""L1, PSNR and SSIM against the reference libraries and closed forms."""

import jax
import jax.numpy as jnp
import metric_goldens as goldens
import numpy as np
import pytest
from skimage import metrics as skimage_metrics

from viton_jax import metrics
from viton_jax.errors import InputError
from viton_jax.metrics import structural


def pictures():
  rng = np.random.default_rng(0)
  y, x = np.mgrid[:40, :33]
  waves = np.sin(x[..., None] / 6) * np.cos(y[..., None] / [5, 7, 9])
  true = np.clip(128 + 100 * waves + rng.normal(0, 9, (3, 40, 33, 3)), 0, 255)
  noise = rng.normal(0, [[[[2]]], [[[20]]], [[[80]]]], true.shape)
  other = np.clip(true + noise, 0, 255)
  other[2, 10:20] = 255
  return other.astype(np.uint8), true.astype(np.uint8)


@pytest.mark.parametrize('data_range', [255.0, 2.0])
def test_ssim_equals_scikit_image(data_range):
  a, b = (p.astype(np.float32) for p in pictures())
  if data_range == 2.0:
    a, b = a / 127.5 - 1, b / 127.5 - 1
  ours, ours_map = jax.jit(
    lambda a, b: (
      metrics.ssim(a, b, data_range=data_range),
      metrics.ssim_map(a, b, data_range=data_range),
    )
  )(a, b)
  for i in range(len(a)):
    mean, full = skimage_metrics.structural_similarity(
      a[i].astype(np.float64),
      b[i].astype(np.float64),
      gaussian_weights=True,
      sigma=1.5,
      use_sample_covariance=False,
      data_range=data_range,
      channel_axis=-1,
      full=True,
    )
    np.testing.assert_allclose(ours[i], mean, rtol=0, atol=2e-6)
    np.testing.assert_allclose(
      ours_map[i], full.mean(axis=-1), rtol=0, atol=2e-5
    )
  assert ours[0] > ours[1] > ours[2]


def test_psnr_equals_scikit_image():
  a, b = pictures()
  ours = metrics.psnr(jnp.asarray(a), jnp.asarray(b), data_range=255)
  for i in range(len(a)):
    expected = skimage_metrics.peak_signal_noise_ratio(
      b[i], a[i], data_range=255
    )
    np.testing.assert_allclose(ours[i], expected, rtol=1e-5)


def test_equal_pictures_are_at_the_optimum():
  a = jnp.asarray(pictures()[0])
  np.testing.assert_allclose(metrics.ssim(a, a, data_range=255), 1, atol=1e-6)
  assert (metrics.absolute_error(a, a) == 0).all()
  assert jnp.isinf(metrics.psnr(a, a, data_range=255)).all()


def test_flat_pictures_have_the_closed_form():
  x, y = 0.25, 0.75
  a, b = (jnp.full((1, 16, 16, 3), value) for value in (x, y))
  expected = (2 * x * y + 1e-4) / (x**2 + y**2 + 1e-4)
  np.testing.assert_allclose(
    metrics.ssim(a, b, data_range=1.0), expected, rtol=1e-5
  )
  np.testing.assert_allclose(metrics.absolute_error(a, b), 0.5, rtol=1e-6)


def test_a_region_leaves_the_rest_out():
  a, b = pictures()
  region = np.zeros(a.shape[:3], np.uint8)
  region[:, 12:30, 5:20] = 1
  cut = np.s_[:, 12:30, 5:20]
  np.testing.assert_allclose(
    metrics.absolute_error(a, b, region=region),
    np.abs(a[cut].astype(float) - b[cut]).mean(axis=(1, 2, 3)),
    rtol=1e-5,
  )
  np.testing.assert_allclose(
    metrics.ssim(a, b, data_range=255, region=region),
    np.mean(metrics.ssim_map(a, b, data_range=255)[cut], axis=(1, 2)),
    rtol=1e-5,
  )
  empty = metrics.absolute_error(a, b, region=np.zeros_like(region))
  assert jnp.isnan(empty).all()


# ------------------------------------------------------- reference libraries


@pytest.mark.parametrize('tag', ['full', 'small'])
@pytest.mark.parametrize('name', structural.SSIM)
def test_ssim_of_every_library(name, tag):
  found = metrics.ssim(
    *goldens.pairs(tag), data_range=255, options=structural.SSIM[name]
  )
  arrays, place = goldens.arrays(), f'ssim/{tag}/{name}'
  # Where the library itself computes in float32, it is 4e-5 off.
  exact = arrays.get(f'{place}_float64', arrays[place])
  tolerance = 1e-6 if exact.dtype == np.float64 else 1e-4
  np.testing.assert_allclose(found, exact, rtol=0, atol=tolerance)
  np.testing.assert_allclose(found, arrays[place], rtol=0, atol=1e-4)


def test_ssim_of_a_white_ground_keeps_its_digits():
  """Differences of large sums would lose them: photos of shops are white."""
  rng = np.random.default_rng(0)
  true = np.full((1, 64, 48, 3), 250, np.uint8)
  true[:, 20:40, 15:30] = rng.integers(0, 60, (20, 15, 3))
  other = np.clip(true + rng.integers(-2, 3, true.shape), 0, 255)
  expected = skimage_metrics.structural_similarity(
    *(x[0].astype(np.float64) for x in (other, true)),
    gaussian_weights=True,
    sigma=1.5,
    use_sample_covariance=False,
    data_range=255,
    channel_axis=-1,
  )
  found = metrics.ssim(other.astype(np.uint8), true, data_range=255)
  np.testing.assert_allclose(found[0], expected, rtol=0, atol=5e-7)


@pytest.mark.parametrize('name', structural.SSIM)
def test_a_perfect_result_has_an_ssim_of_1(name):
  _, true = goldens.pairs('small')
  found = metrics.ssim(
    true, true, data_range=255, options=structural.SSIM[name]
  )
  np.testing.assert_array_equal(found, 1)


@pytest.mark.parametrize(
  'variant, name',
  [
    ('torchmetrics', 'torchmetrics_1_9_float64'),
    ('pytorch_msssim', 'pytorch_msssim_1_0'),
    ('piq', 'piq_0_8'),
  ],
)
def test_ms_ssim_of_every_library(variant, name):
  pair = goldens.pairs('full')
  found = metrics.ms_ssim(*pair, data_range=255, variant=variant)
  expected = goldens.arrays()[f'ms_ssim/full/{name}']
  tolerance = 1e-6 if expected.dtype == np.float64 else 1e-5
  np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_odd_sizes_are_halved_as_each_library_does():
  x = np.arange(15, dtype=np.float32).reshape(1, 1, 3, 5)
  halves = {
    'torchmetrics': [[3, 5]],
    # Zeros around all of it, and the edges again at the top and left.
    'pytorch_msssim': [[0, 0.75, 1.75], [3.75, 9, 11]],
    'piq': [[0, 1.5, 3.5], [7.5, 9, 11]],
  }
  for variant, expected in halves.items():
    found = structural._halve(jnp.asarray(x), variant)
    np.testing.assert_allclose(found[0, 0], expected, err_msg=variant)


def test_small_pictures_have_no_five_scales():
  with pytest.raises(InputError, match='64 x 48 .* need 161; give larger'):
    metrics.ms_ssim(*goldens.pairs('small'), data_range=255)


@pytest.mark.parametrize('tag', ['full', 'small'])
def test_squared_error_is_that_of_hr_viton(tag):
  found = metrics.squared_error(*goldens.pairs(tag), data_range=255)
  expected = goldens.arrays()[f'mse/{tag}/hr_viton']
  np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)
