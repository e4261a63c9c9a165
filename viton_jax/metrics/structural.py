"""Structural similarity, with every window and padding that papers print.

The same pair has an SSIM of .920 or .927, depending on the library, because of
what the window sees beyond the border and which part of the map is averaged.
`SSIM` names those in use:

    hr_viton              scikit-image on PIL's grey, as HR-VITON measures
    skimage_rgb_gaussian  the paper's window on RGB; the default here
    skimage_rgb_default   scikit-image without arguments: a uniform window
    torchmetrics_1_9      torchmetrics from 1.4.2: the whole map
    torchmetrics_0_11_4   torchmetrics to 1.4.1
    pytorch_ssim          Po-Hsun-Su's: zeros beyond the border, the whole map
    pytorch_msssim_1_0    no padding
"""

from collections.abc import Callable
import dataclasses
import functools
import operator
from typing import Literal

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num, Shaped
import numpy as np

from viton_jax.errors import InputError
from viton_jax.metrics import resize
from viton_jax.metrics.errors import mean_inside

# Plain arrays as well as those of a device.
_Array = Array | np.ndarray
_Pair = tuple[Array, Array]
_Spread = tuple[Array, Array, Array]
_C1, _C2 = 0.01**2, 0.03**2


@dataclasses.dataclass(frozen=True)
class Ssim:
  """How structural similarity is measured.

  Attributes:
    window: its weights.
    size: of the window, in pixels; odd.
    sigma: of the Gaussian, in pixels.
    sample_covariance: divide by n - 1 in place of n.
    padding: beyond the border: 'symmetric' repeats the edge pixel, 'reflect'
      does not; 'valid': no pixel whose window goes beyond it.
    border_px: left out of the mean, at each side of the map.
    grey: of PIL's grey levels, not of RGB; uint8 images alone.
  """

  window: Literal['gaussian', 'uniform'] = 'gaussian'
  size: int = 11
  sigma: float = 1.5
  sample_covariance: bool = False
  padding: Literal['symmetric', 'reflect', 'zero', 'valid'] = 'symmetric'
  border_px: int = 5
  grey: bool = False


_DEFAULT = Ssim()
_VALID = Ssim(padding='valid', border_px=0)
_WHOLE = Ssim(padding='reflect', border_px=0)
SSIM = {
  'hr_viton': Ssim(grey=True),
  'skimage_rgb_gaussian': _DEFAULT,
  'skimage_rgb_default': Ssim(
    window='uniform', size=7, sample_covariance=True, border_px=3
  ),
  'torchmetrics_1_9': _WHOLE,
  'torchmetrics_0_11_4': Ssim(padding='reflect'),
  'pytorch_ssim': Ssim(padding='zero', border_px=0),
  'pytorch_msssim_1_0': _VALID,
}

MultiScale = Literal['torchmetrics', 'pytorch_msssim', 'piq']
# Wang et al. 2003, section 3.2.
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_SMALLEST_PX = (_DEFAULT.size - 1) * 2 ** (len(_SCALE_WEIGHTS) - 1) + 1


def ssim(
  predictions: Num[_Array, 'b h w c'],
  targets: Num[_Array, 'b h w c'],
  *,
  data_range: int | float,
  region: Shaped[_Array, 'b h w'] | None = None,
  options: Ssim = _DEFAULT,
) -> Float[Array, ' b']:
  """Mean structural similarity, see `ssim_map`.

  Args:
    predictions: (b, h, w, c).
    targets: the same shape.
    data_range: largest minus smallest possible value: 255 for uint8.
    region: (b, h, w) weights, over the whole map; None: the map's mean without
      its border. Not with padding 'valid', whose map is smaller.
    options: window, padding and border.

  Returns:
    (b,), at most 1; NaN where the region is empty.
  """
  similarity = ssim_map(
    predictions, targets, data_range=data_range, options=options
  )
  if region is None:
    _, h, w = similarity.shape
    border = options.border_px
    similarity = similarity[:, border : h - border, border : w - border]
  return mean_inside(similarity, region)


def ssim_map(
  predictions: Num[_Array, 'b h w c'],
  targets: Num[_Array, 'b h w c'],
  *,
  data_range: int | float,
  options: Ssim = _DEFAULT,
) -> Float[Array, 'b h2 w2']:
  """Structural similarity around each pixel, the mean over channels.

  K1 = 0.01, K2 = 0.03. The default is scikit-image's structural_similarity(
  gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True).

  Args:
    predictions: (b, h, w, c); uint8 RGB if options.grey.
    targets: the same shape.
    data_range: largest minus smallest possible value: 255 for uint8.
    options: window and padding.

  Returns:
    (b, h, w) float32; smaller by size - 1 with padding 'valid'.

  References:
    Wang, Bovik, Sheikh and Simoncelli, Image Quality Assessment, IEEE
    Transactions on Image Processing 13, 2004, equation 13.
  """
  if options.grey:
    predictions, targets = (
      resize.to_grey(images)[..., None] for images in (predictions, targets)
    )
  similarity, _ = _maps(
    _scaled(predictions, data_range), _scaled(targets, data_range), options
  )
  return similarity.mean(axis=1)


def ms_ssim(
  predictions: Num[_Array, 'b h w c'],
  targets: Num[_Array, 'b h w c'],
  *,
  data_range: int | float,
  variant: MultiScale = 'pytorch_msssim',
) -> Float[Array, ' b']:
  """Structural similarity over five scales, of RGB with a Gaussian window.

  Args:
    predictions: (b, h, w, c), no side below 161 pixels.
    targets: the same shape.
    data_range: largest minus smallest possible value: 255 for uint8.
    variant: 'pytorch_msssim' and 'piq' multiply the scales of each channel and
      differ in odd sizes; 'torchmetrics' those of all channels, its last scale
      over the whole reflected map.

  Returns:
    (b,), in [0, 1].

  Raises:
    InputError: a side is too small for five scales.

  References:
    Wang, Simoncelli and Bovik, Multi-scale structural similarity, Asilomar
    2003, equation 7.
  """
  size = predictions.shape[1:3]
  if min(size) < _SMALLEST_PX:
    raise InputError(
      f'images of {size[0]} x {size[1]} pixels are too small for MS-SSIM, '
      f'whose five scales need {_SMALLEST_PX}; give larger ones or leave '
      'MS-SSIM out'
    )
  x, y = (_scaled(images, data_range) for images in (predictions, targets))
  # torchmetrics averages over channels first.
  axes = (1, 2, 3) if variant == 'torchmetrics' else (2, 3)
  product: Array | float = 1.0
  for scale, weight in enumerate(_SCALE_WEIGHTS):
    if scale:
      x, y = (_halve(images, variant) for images in (x, y))
    last = scale == len(_SCALE_WEIGHTS) - 1
    whole = last and variant == 'torchmetrics'
    similarity, structure = _maps(x, y, _WHOLE if whole else _VALID)
    value = (similarity if last else structure).mean(axis=axes)
    product = product * jnp.maximum(value, 0.0) ** weight
  product = jnp.asarray(product)
  return product if product.ndim == 1 else product.mean(axis=-1)


def _halve(x: Array, variant: MultiScale) -> Array:
  """Means of 2 x 2 pixels; an odd size as each library takes it."""
  odd = tuple(n % 2 for n in x.shape[2:])
  if variant == 'pytorch_msssim':
    x = jnp.pad(x, ((0, 0), (0, 0), *((n, n) for n in odd)))
  elif variant == 'piq':
    x = jnp.pad(x, ((0, 0), (0, 0), *((max(odd), 0),) * 2), mode='edge')
  b, c, h, w = x.shape
  x = x[:, :, : h // 2 * 2, : w // 2 * 2]
  return x.reshape(b, c, h // 2, 2, w // 2, 2).mean(axis=(3, 5))


def _scaled(images: _Array, data_range: int | float) -> Array:
  """(b, c, h, w): twice as fast on CPUs as with the channels last."""
  scaled = jnp.asarray(images).astype(jnp.float32) / data_range
  return scaled.transpose(0, 3, 1, 2)


@functools.partial(jax.jit, static_argnames='options')
def _maps(x: Array, y: Array, options: Ssim) -> tuple[Array, Array]:
  """(b, c, h, w) each: the similarity, and its factor without luminance."""
  means: _Pair = _padded(x, options), _padded(y, options)
  spread = None
  for axis in (3, 2):
    means, spread = _gather(means, spread, axis=axis, options=options)
  assert spread is not None
  n = options.size**2
  unbiased = n / (n - 1) if options.sample_covariance else 1.0
  (mean_x, mean_y), (var_x, var_y, covariance) = means, spread
  luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
  structure = (2 * unbiased * covariance + _C2) / (
    unbiased * (var_x + var_y) + _C2
  )
  return luminance * structure, structure


def _padded(x: Array, options: Ssim) -> Array:
  """The image with what the windows see beyond its border."""
  radius = options.size // 2
  pad = ((0, 0), (0, 0), (radius, radius), (radius, radius))
  if options.padding == 'zero':
    return jnp.pad(x, pad)
  if options.padding == 'valid':
    return x
  return jnp.pad(x, pad, mode=options.padding)


def _gather(
  means: _Pair, spread: _Spread | None, *, axis: int, options: Ssim
) -> tuple[_Pair, _Spread]:
  """Means, variances and covariance of the windows along one axis.

  As sums of squared deviations, along rows and then of what the rows have:
  differences of large sums would lose what flat areas consist of.
  """
  size = means[0].shape[axis] - options.size + 1

  def windowed(*terms: Callable[[int], Array]) -> Array:
    return functools.reduce(
      operator.add,
      (
        float(weight) * functools.reduce(operator.add, (f(i) for f in terms))
        for i, weight in enumerate(_weights(options))
      ),
    )

  def at(x: Array) -> Callable[[int], Array]:
    return lambda i: lax.slice_in_dim(x, i, i + size, axis=axis)

  x, y = (at(mean) for mean in means)
  # Without barriers XLA computes each mean anew for everything made of it.
  mean_x, mean_y = lax.optimization_barrier((windowed(x), windowed(y)))
  within = [()] * 3 if spread is None else [(at(part),) for part in spread]
  spread = (
    windowed(lambda i: jnp.square(x(i) - mean_x), *within[0]),
    windowed(lambda i: jnp.square(y(i) - mean_y), *within[1]),
    windowed(lambda i: (x(i) - mean_x) * (y(i) - mean_y), *within[2]),
  )
  return (mean_x, mean_y), lax.optimization_barrier(spread)


def _weights(options: Ssim) -> np.ndarray:
  if options.window == 'uniform':
    return np.full(options.size, 1 / options.size)
  offsets = np.arange(options.size) - options.size // 2
  weights = np.exp(-0.5 * (offsets / options.sigma) ** 2)
  return weights / weights.sum()
