"""How near an image is to the true one: L1, PSNR and SSIM.

One value for each example, (b,), over the whole image or inside a region, so
that sums and counts can be added up over batches. float32.

`compare_methods` measures a try-on, and two simpler ways to make one:

    paste    the warped garment pasted wherever the predicted mask is at least
             1/2, on the coarse image
    coarse   the encoder-decoder's image alone
    whole    VITON's image: coarse and warped garment, mixed by the refinement
    result   what is shown: unless composed whole, the photo where nothing
             changes
"""

import functools
import operator

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num, UInt8
import numpy as np

from viton_jax.representation import to_uint8

# Plain arrays as well as those of a device.
_Array = Array | np.ndarray
METHODS = ('paste', 'coarse', 'whole', 'result')
METRICS = ('l1', 'ssim', 'garment_l1', 'garment_ssim')
_RADIUS_PX = 5
_SIGMA_PX = 1.5


def compare_methods(
  *,
  output: Float[np.ndarray, 'b h w 3'],
  coarse: Float[np.ndarray, 'b h w 3'],
  warped: Float[np.ndarray, 'b h w 3'],
  mask: Float[np.ndarray, 'b h w 1'],
  alpha: Float[np.ndarray, 'b h w 1'],
  truth: UInt8[np.ndarray, 'b h w 3'],
  region: Bool[np.ndarray, 'b h w'],
) -> list[dict[str, dict[str, float]]]:
  """Metrics of every method for every pair.

  L1 is in grey levels (0..255), SSIM has data range 255; both over the whole
  image and over the garment's region in the true image.

  Args:
    output: (b, h, w, 3) in [-1, 1], the try-on.
    coarse: (b, h, w, 3) in [-1, 1].
    warped: (b, h, w, 3) in [-1, 1].
    mask: (b, h, w, 1) in [0, 1].
    alpha: (b, h, w, 1), how much of `warped` the refinement shows.
    truth: (b, h, w, 3) uint8, the true images.
    region: (b, h, w) bool, where the true images show the garment.

  Returns:
    b times method -> metric -> value; NaN where a region is empty.
  """
  pasted = np.where(mask >= 0.5, warped, coarse)
  whole = coarse + alpha * (warped - coarse)
  tried = pasted, coarse, whole, output
  values = {
    method: jax.tree.map(np.asarray, _compare(images, truth, region))
    for method, images in zip(METHODS, tried, strict=True)
  }
  return [
    {
      method: {name: float(value[i]) for name, value in row.items()}
      for method, row in values.items()
    }
    for i in range(len(truth))
  ]


@jax.jit
def _compare(images: Array, truth: Array, region: Array):
  levels = to_uint8(images)
  inside = region.astype(jnp.float32)
  of_ssim = functools.partial(ssim, levels, truth, data_range=255.0)
  return {
    'l1': absolute_error(levels, truth),
    'ssim': of_ssim(),
    'garment_l1': absolute_error(levels, truth, region=inside),
    'garment_ssim': of_ssim(region=inside),
  }


def absolute_error(
  predictions: Num[_Array, ' b *rest'],
  targets: Num[_Array, ' b *rest'],
  *,
  region: Num[_Array, 'b h w'] | None = None,
) -> Float[Array, ' b']:
  """Mean absolute difference (L1) of each example, in the values' own units.

  Args:
    predictions: (b, ...); with a region (b, h, w, c).
    targets: the same shape.
    region: (b, h, w) weights, e.g. 0 or 1; None: everywhere.

  Returns:
    (b,); NaN where the region is empty.
  """
  difference = jnp.abs(_difference(predictions, targets))
  if region is None:
    return difference.mean(axis=tuple(range(1, difference.ndim)))
  return mean_inside(difference.mean(axis=-1), region)


def psnr(
  predictions: Num[_Array, 'b h w c'],
  targets: Num[_Array, 'b h w c'],
  *,
  data_range: int | float,
  region: Num[_Array, 'b h w'] | None = None,
) -> Float[Array, ' b']:
  """Peak signal-to-noise ratio in dB, (b,); infinite for equal images.

  Args:
    predictions: (b, h, w, c).
    targets: the same shape.
    data_range: largest minus smallest possible value: 255 for uint8.
    region: (b, h, w) weights; None: everywhere.
  """
  difference = _difference(predictions, targets)
  error = mean_inside(jnp.square(difference).mean(axis=-1), region)
  return 10.0 * jnp.log10(data_range**2 / error)


def ssim(
  predictions: Num[_Array, 'b h w c'],
  targets: Num[_Array, 'b h w c'],
  *,
  data_range: int | float,
  region: Num[_Array, 'b h w'] | None = None,
) -> Float[Array, ' b']:
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
  predictions: Num[_Array, 'b h w c'],
  targets: Num[_Array, 'b h w c'],
  *,
  data_range: int | float,
) -> Float[Array, 'b h w']:
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
  # middle of the true image, least is lost. Means are put back below.
  x, y = (
    jnp.asarray(a).astype(jnp.float32) / data_range
    for a in (predictions, targets)
  )
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


def mean_inside(
  values: Float[Array, 'b h w'], region: Num[_Array, 'b h w'] | None
) -> Float[Array, ' b']:
  """Mean of (b, h, w) values, weighted by `region` (b, h, w) -> (b,)."""
  if region is None:
    return values.mean(axis=(1, 2))
  weights = region.astype(jnp.float32)
  return (values * weights).sum(axis=(1, 2)) / weights.sum(axis=(1, 2))


def _difference(predictions: _Array, targets: _Array) -> Array:
  predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)
  return predictions.astype(jnp.float32) - targets.astype(jnp.float32)


def _blur(x):
  """Gaussian mean of 11 x 11 pixels, the image mirrored at its borders."""
  offsets = np.arange(-_RADIUS_PX, _RADIUS_PX + 1)
  weights = np.exp(-0.5 * (offsets / _SIGMA_PX) ** 2)
  weights /= weights.sum()
  for axis in (1, 2):
    pad = [(0, 0)] * 4
    pad[axis] = (_RADIUS_PX, _RADIUS_PX)
    padded = jnp.pad(x, pad, mode='symmetric')
    size = x.shape[axis]
    x = functools.reduce(
      operator.add,
      (
        float(weight) * jax.lax.slice_in_dim(padded, i, i + size, axis=axis)
        for i, weight in enumerate(weights)
      ),
    )
  return x
