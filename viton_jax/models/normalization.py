"""The two normalisations of VITON, with float32 statistics in any dtype.

Flax's own modules refuse a bfloat16 input under strict dtype promotion, so the
few lines that are needed stand here.
"""

from flax import linen as nn
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np


class BatchNorm(nn.Module):
  """Batch normalisation whose statistics span all devices of `axis_name`.

  Means of x and x^2 are taken in float32 and averaged over the devices, so any
  split of the same global batch gives the same result. The variance is the
  biased one, in the output and in the moving average alike: that is what
  VITON's TensorFlow code computes.

  Attributes:
    axis_name: mapped axis to reduce over in training; None: this device alone.
    momentum: weight of the old moving average.
    epsilon: added to the variance.

  References:
    Ioffe and Szegedy, Batch Normalization, ICML 2015, Algorithm 1.
  """

  axis_name: str | None = None
  momentum: float = 0.999
  epsilon: float = 1e-5

  @nn.compact
  def __call__(
    self, x: Float[Array, 'b h w c'], train: bool
  ) -> Float[Array, 'b h w c']:
    """Normalises each channel; the dtype stays."""
    channels = (x.shape[-1],)
    scale = self.param('scale', nn.initializers.ones, channels)
    bias = self.param('bias', nn.initializers.zeros, channels)
    moving_mean = self.variable('batch_stats', 'mean', jnp.zeros, channels)
    moving_var = self.variable('batch_stats', 'var', jnp.ones, channels)

    x32 = x.astype(jnp.float32)
    if train:
      moments = jnp.stack(
        [x32.mean(axis=(0, 1, 2)), jnp.square(x32).mean(axis=(0, 1, 2))]
      )
      if self.axis_name is not None and not self.is_initializing():
        moments = lax.pmean(moments, self.axis_name)
      mean = moments[0]
      # Rounding can take the difference a little below zero.
      var = jnp.maximum(moments[1] - jnp.square(mean), 0.0)
      if not self.is_initializing():
        moving_mean.value = self._move(moving_mean.value, mean)
        moving_var.value = self._move(moving_var.value, var)
    else:
      mean, var = moving_mean.value, moving_var.value
    gain = scale * lax.rsqrt(var + self.epsilon)
    centred = x32 - _to_image(mean)
    return (centred * _to_image(gain) + _to_image(bias)).astype(x.dtype)

  def _move(self, average, value):
    return self.momentum * average + (1.0 - self.momentum) * value


class ImageNorm(nn.Module):
  """Normalises each image over all of its places and channels at once.

  Gain and offset are per channel. This is TF-slim's `layer_norm` on images.

  Attributes:
    epsilon: added to the variance.

  References:
    Ba, Kiros and Hinton, Layer Normalization, 2016, section 3.
  """

  epsilon: float = 1e-12

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h w c']:
    """Normalises each image; the dtype stays."""
    channels = (x.shape[-1],)
    scale = self.param('scale', nn.initializers.ones, channels)
    bias = self.param('bias', nn.initializers.zeros, channels)
    x32 = x.astype(jnp.float32)
    mean = x32.mean(axis=(1, 2, 3), keepdims=True)
    centred = x32 - mean
    var = jnp.square(centred).mean(axis=(1, 2, 3), keepdims=True)
    normalised = centred * lax.rsqrt(var + self.epsilon)
    scaled = normalised * _to_image(scale)
    return (scaled + _to_image(bias)).astype(x.dtype)


def _to_image(
  values: Float[Array, ' c'] | Float[np.ndarray, ' c'],
) -> Float[Array, '1 1 1 c'] | Float[np.ndarray, '1 1 1 c']:
  return values[None, None, None]
