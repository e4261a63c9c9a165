"""VITON's first network: person representation and garment to coarse image.

Source: Han et al., VITON, CVPR 2018, section 3.2, with the layer sizes of the
released code. Parameters carry TensorFlow's shapes, so published weights fit
without transposing: see viton_jax/convert.py.
"""

import math

from flax import linen as nn
import jax
from jax import lax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from viton_jax.models import initializers
from viton_jax.models.convolutions import (
  conv4x4_stride2,
  conv_transpose4x4_stride2,
)
from viton_jax.models.normalization import BatchNorm

NUM_DOWNSAMPLES = 6  # As published, for 256 x 192.
# Channels of the encoder's layers in units of `features`; deeper ones have 8.
_WIDTHS = (1, 2, 4, 8)


class EncoderDecoder(nn.Module):
  """U-Net of strided convolutions with skip connections.

  Variables: `params` (float32) and `batch_stats`. In training it needs the
  random stream 'dropout', unless `dropout_rate` is 0.

  Attributes:
    features: channels of the first convolution; 64 as published.
    dtype: of the convolutions. Parameters, statistics and outputs stay float32.
    axis_name: the mapped axis over which training's batch is split, if any:
      batch statistics are then those of the whole batch.
    dropout_rate: in training, after the innermost up-convolution.
    bn_momentum: weight of the old moving averages of batch normalisation. The
      published 0.999 forgets its start after some thousands of steps; a run of
      hundreds needs less.
    num_downsamples: layers of the encoder, each downsamples by 2; 6 as
      published. For larger images 7 (512 x 384, height x width) or 8
      (1024 x 768) let the innermost layer see as much of them.
  """

  features: int = 64
  dtype: DTypeLike = jnp.float32
  axis_name: str | None = None
  dropout_rate: float = 0.5
  bn_momentum: float = 0.999
  num_downsamples: int = NUM_DOWNSAMPLES

  @nn.compact
  def __call__(
    self,
    inputs: Float[Array, 'b h w 25'],
    train: bool = False,
    first_example: Int[Array, ''] | int = 0,
  ) -> tuple[Float[Array, 'b h w 1'], Float[Array, 'b h w 3']]:
    """Predicts the garment's place and a coarse image.

    Args:
      inputs: (b, h, w, 25), as `representation.network_inputs` makes them; h
        and w multiples of 2 ** num_downsamples.
      train: use and update batch statistics, and drop out.
      first_example: place of `inputs` (of all devices) within a larger batch.

    Returns:
      garment mask (b, h, w, 1) and coarse image (b, h, w, 3), float32 in
      [-1, 1]. The mask is trained towards 0 and 1.

    Raises:
      ValueError: a side is not such a multiple.
    """
    _, h, w, _ = inputs.shape
    if h % 2**self.num_downsamples or w % 2**self.num_downsamples:
      raise ValueError(
        f'The input is {h} x {w}; both sides must be multiples of '
        f'{2**self.num_downsamples}.'
      )
    widths = [
      _WIDTHS[min(k, len(_WIDTHS) - 1)] * self.features
      for k in range(self.num_downsamples)
    ]
    x = inputs.astype(self.dtype)
    skips = []
    for k, width in enumerate(widths, start=1):
      if k > 1:
        x = nn.leaky_relu(x, 0.2)
      x = Down(width, name=f'encoder_{k}')(x)
      if k > 1:
        x = self._norm(f'encoder_{k}_norm')(x, train)
      skips.append(x)

    skips.pop()  # The innermost goes on as it is.
    for k in range(self.num_downsamples, 1, -1):
      # Back to the width before downsample k.
      x = Up(widths[k - 2], name=f'decoder_{k}')(nn.relu(x))
      x = self._norm(f'decoder_{k}_norm')(x, train)
      if k == self.num_downsamples and train and self.dropout_rate > 0:
        x = drop_out(
          x,
          self.dropout_rate,
          self.make_rng('dropout'),
          self.axis_name,
          first_example=first_example,
        )
      x = jnp.concatenate([x, skips.pop()], axis=-1)
    x = Up(4, name='decoder_1')(nn.relu(x))
    out = jnp.tanh(x.astype(jnp.float32))
    return out[..., :1], out[..., 1:]

  def _norm(self, name):
    return BatchNorm(
      axis_name=self.axis_name, momentum=self.bn_momentum, name=name
    )


class Down(nn.Module):
  """Halves the image: 4 x 4 convolution, stride 2, no bias."""

  features: int

  @nn.compact
  def __call__(
    self, x: Float[Array, 'b h w _']
  ) -> Float[Array, 'b h//2 w//2 {self.features}']:
    shape = (4, 4, x.shape[-1], self.features)
    kernel = self.param('kernel', initializers.normal, shape)
    return conv4x4_stride2(x, kernel.astype(x.dtype))


class Up(nn.Module):
  """Doubles the image: transposed 4 x 4 convolution, no bias."""

  features: int

  @nn.compact
  def __call__(
    self, x: Float[Array, 'b h w _']
  ) -> Float[Array, 'b 2*h 2*w {self.features}']:
    shape = (4, 4, self.features, x.shape[-1])
    kernel = self.param('kernel', initializers.normal, shape)
    return conv_transpose4x4_stride2(x, kernel.astype(x.dtype))


def drop_out(
  x: Float[Array, ' b *rest'],
  rate: float,
  key: Key[Array, ''],
  axis_name: str | None,
  *,
  first_example: Int[Array, ''] | int = 0,
) -> Float[Array, ' b *rest']:
  """Drops single values, the same ones however the batch is split.

  Each example draws from its own key, by its place in the global batch: device
  d of `axis_name` holds examples d * b to (d + 1) * b - 1.

  Args:
    x: (b, ...), this device's examples.
    rate: the share that is set to zero; the rest is scaled up by 1 / (1-rate).
    key: the same on all devices.
    axis_name: the mapped axis, or None.
    first_example: place of the first device's first example.
  """
  first = first_example
  if axis_name is not None:
    first += lax.axis_index(axis_name) * len(x)
  values = math.prod(x.shape[1:])  # Flat: see `initializers`.
  keep = jax.vmap(
    lambda i: jax.random.bernoulli(
      jax.random.fold_in(key, i), 1.0 - rate, (values,)
    )
  )(first + jnp.arange(len(x)))
  return jnp.where(
    keep.reshape(x.shape), x / (1.0 - rate), jnp.zeros((), x.dtype)
  )
