"""VITON's second network: how much of the warped garment to show, and where.

Source: Han et al., VITON, CVPR 2018, section 3.3, with the layer sizes of the
released code, which first resizes its inputs to 256 x 192. Here the network
runs at the size of its inputs.
"""

from flax import linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from viton_jax.models import initializers
from viton_jax.models.normalization import ImageNorm


class Refinement(nn.Module):
  """Three 3 x 3 convolutions and one to a single channel.

  Variables: `params` alone, float32.

  Attributes:
    features: channels of the 3 x 3 convolutions; 64 as published.
    dtype: of the convolutions; statistics and the output are float32.
  """

  features: int = 64
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, warped: Float[Array, 'b h w 3'], coarse: Float[Array, 'b h w 3']
  ) -> Float[Array, 'b h w 1']:
    """Predicts the composition mask.

    Args:
      warped: (b, h, w, 3) warped garment in [-1, 1].
      coarse: (b, h, w, 3) coarse image in [-1, 1].

    Returns:
      alpha (b, h, w, 1), float32 in [0, 1], before its product with the
      garment mask.
    """
    x = jnp.concatenate([warped, coarse], axis=-1).astype(self.dtype)
    for k in (1, 2, 3):
      x = nn.Conv(
        self.features,
        (3, 3),
        use_bias=False,
        dtype=self.dtype,
        kernel_init=initializers.glorot_uniform,
        name=f'conv_{k}',
      )(x)
      x = nn.leaky_relu(ImageNorm(name=f'conv_{k}_norm')(x), 0.2)
    x = _Pointwise(1, dtype=self.dtype, name='final')(x)
    return nn.sigmoid(x.astype(jnp.float32))


class _Pointwise(nn.Module):
  """A 1 x 1 convolution as a matrix product, which takes CPUs a tenth of it.

  Attributes:
    features: output channels.
    dtype: of the product.
  """

  features: int
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self, x: Float[Array, 'b h w _']
  ) -> Float[Array, 'b h w {self.features}']:
    """The product with the kernel, and the bias added."""
    shape = (1, 1, x.shape[-1], self.features)
    kernel = self.param('kernel', initializers.glorot_uniform, shape)
    bias = self.param('bias', nn.initializers.zeros, shape[-1:])
    kernel, bias = kernel.astype(self.dtype), bias.astype(self.dtype)
    return x.astype(self.dtype) @ kernel[0, 0] + bias[None, None, None]


def compose(
  alpha: Float[Array, 'b h w 1'],
  warped: Float[Array, 'b h w 3'],
  coarse: Float[Array, 'b h w 3'],
) -> Float[Array, 'b h w 3']:
  """alpha * warped + (1 - alpha) * coarse; alpha after the mask product."""
  return alpha * warped + (1.0 - alpha) * coarse
