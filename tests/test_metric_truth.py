"""Figures that know the truth, by closed forms and scikit-image."""

import metric_goldens as goldens
import numpy as np
import scipy.ndimage
from skimage.color import rgb2lab

from viton_jax.metrics import truth

_FIGURES = {
  'garment_l1': 0,
  'garment_ssim': 1,
  'inner_l1': 0,
  'inner_ssim': 1,
  'inner_gradient_correlation': 1,
  'inner_energy_ratio': 1,
  'colour_shift': 0,
}


def pair():
  """(predictions, truth, garment): 2 of 64 x 48, a rectangle."""
  predictions, true = (x[:2] for x in goldens.pairs('small'))
  garment = np.zeros(true.shape[:3], bool)
  garment[:, 15:55, 10:40] = True
  return predictions, true, garment


measure = truth.garment_figures


def test_a_perfect_result():
  _, true, garment = pair()
  found = measure(true, true, garment)
  assert set(found) == set(_FIGURES)
  for name, best in _FIGURES.items():
    np.testing.assert_allclose(found[name], best, atol=1e-5, err_msg=name)


def test_only_what_lies_inside_counts():
  predictions, true, garment = pair()
  found = measure(
    np.where(garment[..., None], true, predictions), true, garment
  )
  assert (found['garment_l1'] == 0).all()
  np.testing.assert_allclose(found['colour_shift'], 0, atol=1e-4)
  # SSIM's windows see 5 pixels beyond the region, and no more.
  assert (found['garment_ssim'] < 1).all()
  np.testing.assert_array_equal(found['inner_ssim'], 1)
  ring = garment.copy()
  ring[:, 20:50, 15:35] = False
  found = measure(np.where(ring[..., None], predictions, true), true, garment)
  assert (found['garment_l1'] > 0).all() and (found['inner_l1'] == 0).all()


def test_l1_and_colour_against_plain_numpy():
  predictions, true, garment = pair()
  found = measure(predictions, true, garment)
  for i, where in enumerate(garment):
    ours, theirs = predictions[i][where], true[i][where]
    expected = np.abs(ours.astype(float) - theirs).mean()
    np.testing.assert_allclose(found['garment_l1'][i], expected, rtol=1e-5)
    shift = np.linalg.norm(
      rgb2lab(ours[None])[0].mean(axis=0)
      - rgb2lab(theirs[None])[0].mean(axis=0)
    )
    np.testing.assert_allclose(found['colour_shift'][i], shift, atol=1e-3)


def test_blur_costs_high_frequencies_and_little_l1():
  _, true, garment = pair()
  rng = np.random.default_rng(0)
  true = rng.integers(80, 170, true.shape, dtype=np.uint8)
  blurred = scipy.ndimage.gaussian_filter(true, (0, 2, 2, 0))
  shuffled = np.roll(true, 7, axis=2)
  soft, moved = (measure(x, true, garment) for x in (blurred, shuffled))
  assert (soft['inner_l1'] < moved['inner_l1']).all()
  assert (soft['inner_energy_ratio'] < 0.1).all()
  np.testing.assert_allclose(moved['inner_energy_ratio'], 1, atol=0.2)
  assert (np.abs(moved['inner_gradient_correlation']) < 0.2).all()
  # The opposite pattern has the same frequencies, and every gradient turned.
  found = measure(250 - true, true, garment)
  np.testing.assert_allclose(found['inner_energy_ratio'], 1, atol=1e-4)
  np.testing.assert_allclose(found['inner_gradient_correlation'], -1, atol=1e-5)


def test_an_empty_region_has_no_figures():
  predictions, true, garment = pair()
  garment[0] = False
  garment[1] = False
  garment[1, 20:28, 20:28] = True  # Nothing of it is left when eroded.
  found = measure(predictions, true, garment)
  for name in _FIGURES:
    assert np.isnan(found[name][0]), name
    assert np.isnan(found[name][1]) == name.startswith('inner'), name


def test_pixels_that_should_stay():
  _, true, garment = pair()
  result = true.copy()
  result[:, 20:30, 20:30] = 0  # Inside the garment.
  found = truth.outside_figures(result, true, ~garment)
  assert (found['kept_changed'] == 0).all() and (found['kept_l1'] == 0).all()
  result[0, 0, :12, 1] ^= 3
  found = truth.outside_figures(result, true, ~garment)
  kept = (~garment[0]).sum()
  np.testing.assert_allclose(found['kept_changed'], [12 / kept, 0], rtol=1e-5)
  changed = np.abs(result[0, 0].astype(float) - true[0, 0]).sum() / 3 / kept
  np.testing.assert_allclose(found['kept_l1'], [changed, 0], rtol=1e-5)


def test_masks():
  *_, garment = pair()

  def f(other, **options):
    found = truth.mask_figures(other, garment, **options)
    return [float(x[0]) for x in (found['mask_iou'], found['boundary_f'])]

  assert f(garment) == [1, 1]
  iou, score = f(np.roll(garment, 2, axis=2))
  np.testing.assert_allclose([iou, score], [28 / 32, 1])
  # Three pixels off: upper and lower edges still lie on each other.
  iou, score = f(np.roll(garment, 3, axis=2))
  np.testing.assert_allclose(iou, 27 / 33)
  assert 0.3 < score < 0.7
  assert f(np.roll(garment, 3, axis=2), tolerance_px=3)[1] == 1
  assert f(~garment)[0] == 0
  assert f(np.zeros_like(garment)) == [0, 0]
  nothing = np.zeros_like(garment)
  found = truth.mask_figures(nothing, nothing)
  assert all(np.isnan(x).all() for x in found.values())


def test_the_border_of_the_picture_is_no_outline():
  whole = np.ones((1, 20, 20), bool)
  half = whole.copy()
  half[:, 10:] = False
  moved = whole.copy()
  moved[:, 8:] = False
  assert truth.mask_figures(half, moved)['boundary_f'][0] == 1


def test_end_point_errors():
  rng = np.random.default_rng(0)
  true = rng.uniform(0, 60, (2, 40, 30, 2)).astype(np.float32)
  error = rng.normal(0, 3, true.shape).astype(np.float32)
  region = rng.uniform(size=true.shape[:3]) < 0.5
  predicted = np.where(region[..., None], true + error, np.nan)
  found = truth.flow_errors(predicted, true, region)
  for i in range(2):
    apart = np.linalg.norm(error[i][region[i]], axis=-1)
    np.testing.assert_allclose(found['epe_mean'][i], apart.mean(), rtol=1e-4)
    np.testing.assert_allclose(
      found['epe_p95'][i], np.percentile(apart, 95), rtol=1e-4
    )
  empty = truth.flow_errors(predicted, true, np.zeros_like(region))
  assert all(np.isnan(x).all() for x in empty.values())
