"""How near a picture is to the true one: L1, PSNR and SSIM.

One value for each example, (b,), over the whole picture or inside a region, so
that sums and counts can be added up over batches. jnp only; float32.
"""

import jax
import jax.numpy as jnp
import numpy as np

_RADIUS_PX = 5
_SIGMA_PX = 1.5


def l1(
  predictions: jax.Array,
  targets: jax.Array,
  *,
  region: jax.Array | None = None,
) -> jax.Array:
  """Mean absolute difference, in the pictures' own units.

  Args:
    predictions: (b, h, w, c).
    targets: the same shape.
    region: (b, h, w) weights, e.g. 0 or 1; None: everywhere.

  Returns:
    (b,); NaN where the region is empty.
  """
  difference = predictions.astype(jnp.float32) - targets.astype(jnp.float32)
  return mean_inside(jnp.abs(difference).mean(axis=-1), region)


def psnr(
  predictions: jax.Array,
  targets: jax.Array,
  *,
  data_range: float,
  region: jax.Array | None = None,
) -> jax.Array:
  """Peak signal-to-noise ratio in dB, (b,); infinite for equal pictures.

  Args:
    predictions: (b, h, w, c).
    targets: the same shape.
    data_range: largest minus smallest possible value: 255 for uint8.
    region: (b, h, w) weights; None: everywhere.
  """
  difference = predictions.astype(jnp.float32) - targets.astype(jnp.float32)
  error = mean_inside(jnp.square(difference).mean(axis=-1), region)
  return 10.0 * jnp.log10(data_range**2 / error)


def ssim(
  predictions: jax.Array,
  targets: jax.Array,
  *,
  data_range: float,
  region: jax.Array | None = None,
) -> jax.Array:
  """Mean structural similarity, see `ssim_map`.

  Args:
    predictions: (b, h, w, c).
    targets: the same shape.
    data_range: largest minus smallest possible value: 255 for uint8.
    region: (b, h, w) weights, over the whole map; None: the map's mean without
      a border of 5 pixels, as scikit-image and the paper have it.

  Returns:
    (b,), at most 1; NaN where the region is empty.
  """
  similarity = ssim_map(predictions, targets, data_range=data_range)
  if region is None:
    inner = slice(_RADIUS_PX, -_RADIUS_PX)
    similarity = similarity[:, inner, inner]
  return mean_inside(similarity, region)


def ssim_map(
  predictions: jax.Array, targets: jax.Array, *, data_range: float
) -> jax.Array:
  """Structural similarity around each pixel, the mean over channels.

  Gaussian window of 11 x 11, sigma 1.5, borders reflected, K1 = 0.01,
  K2 = 0.03, biased variances. scikit-image: structural_similarity(
  gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True).

  Args:
    predictions: (b, h, w, c).
    targets: the same shape.
    data_range: largest minus smallest possible value: 255 for uint8.

  Returns:
    (b, h, w) float32.

  References:
    Wang, Bovik, Sheikh and Simoncelli, Image Quality Assessment, IEEE
    Transactions on Image Processing 13, 2004, equation 13.
  """
  # Variances are differences of large sums: in units of the range, around the
  # middle of the true picture, least is lost. Means are put back below.
  x, y = (a.astype(jnp.float32) / data_range for a in (predictions, targets))
  shift = y.mean(axis=(1, 2, 3), keepdims=True)
  x, y = x - shift, y - shift
  mean_x, mean_y = _blur(x), _blur(y)
  var_x = _blur(x * x) - mean_x * mean_x
  var_y = _blur(y * y) - mean_y * mean_y
  covariance = _blur(x * y) - mean_x * mean_y
  mean_x, mean_y = mean_x + shift, mean_y + shift
  c1, c2 = 0.01**2, 0.03**2
  luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
  structure = (2 * covariance + c2) / (var_x + var_y + c2)
  return (luminance * structure).mean(axis=-1)


def mean_inside(values: jax.Array, region: jax.Array | None) -> jax.Array:
  """Mean of (b, h, w) values, weighted by `region` (b, h, w) -> (b,)."""
  if region is None:
    return values.mean(axis=(1, 2))
  weights = region.astype(jnp.float32)
  return (values * weights).sum(axis=(1, 2)) / weights.sum(axis=(1, 2))


def _blur(x):
  """Gaussian mean of 11 x 11 pixels, the picture mirrored at its borders."""
  offsets = np.arange(-_RADIUS_PX, _RADIUS_PX + 1)
  weights = np.exp(-0.5 * (offsets / _SIGMA_PX) ** 2)
  weights /= weights.sum()
  for axis in (1, 2):
    pad = [(0, 0)] * 4
    pad[axis] = (_RADIUS_PX, _RADIUS_PX)
    padded = jnp.pad(x, pad, mode='symmetric')
    size = x.shape[axis]
    x = sum(
      float(weight) * jax.lax.slice_in_dim(padded, i, i + size, axis=axis)
      for i, weight in enumerate(weights)
    )
  return x
