"""Errors pixel by pixel: L1, squared error and PSNR of each example."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Num, Shaped
import numpy as np

# Plain arrays as well as those of a device.
_Array = Array | np.ndarray


def absolute_error(
  predictions: Num[_Array, ' b *rest'],
  targets: Num[_Array, ' b *rest'],
  *,
  region: Shaped[_Array, 'b h w'] | None = None,
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


def squared_error(
  predictions: Num[_Array, 'b h w c'],
  targets: Num[_Array, 'b h w c'],
  *,
  data_range: int | float,
  region: Shaped[_Array, 'b h w'] | None = None,
) -> Float[Array, ' b']:
  """Mean squared difference (MSE) of each example, of values over data_range.

  Args:
    predictions: (b, h, w, c).
    targets: the same shape.
    data_range: largest minus smallest possible value: 255 for uint8.
    region: (b, h, w) weights; None: everywhere.

  Returns:
    (b,) in [0, 1]; NaN where the region is empty.
  """
  difference = _difference(predictions, targets) / data_range
  return mean_inside(jnp.square(difference).mean(axis=-1), region)


def psnr(
  predictions: Num[_Array, 'b h w c'],
  targets: Num[_Array, 'b h w c'],
  *,
  data_range: int | float,
  region: Shaped[_Array, 'b h w'] | None = None,
) -> Float[Array, ' b']:
  """Peak signal-to-noise ratio in dB, (b,); infinite for equal images.

  Args:
    predictions: (b, h, w, c).
    targets: the same shape.
    data_range: largest minus smallest possible value: 255 for uint8.
    region: (b, h, w) weights; None: everywhere.
  """
  error = squared_error(
    predictions, targets, data_range=data_range, region=region
  )
  return -10.0 * jnp.log10(error)


def mean_inside(
  values: Float[Array, 'b h w'], region: Shaped[_Array, 'b h w'] | None
) -> Float[Array, ' b']:
  """Mean of (b, h, w) values, weighted by `region` (b, h, w) -> (b,)."""
  if region is None:
    return values.mean(axis=(1, 2))
  weights = jnp.asarray(region).astype(jnp.float32)
  return (values * weights).sum(axis=(1, 2)) / weights.sum(axis=(1, 2))


def _difference(predictions: _Array, targets: _Array) -> Array:
  predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)
  return predictions.astype(jnp.float32) - targets.astype(jnp.float32)
