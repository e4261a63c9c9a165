"""A network that tells photos from made images, patch by patch.

Source: Isola et al., Image-to-Image Translation with Conditional Adversarial
Networks, CVPR 2017, section 3.2.2, with the normalisation of `Refinement` in
place of batch normalisation, so that images do not depend on one another.
"""

from flax import linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from viton_jax.models import initializers
from viton_jax.models.normalization import ImageNorm

_MOST = 8  # Times `features`: channels of the deepest layers.


class PatchDiscriminator(nn.Module):
  """4 x 4 convolutions; a score sees 70 x 70 pixels with three halvings.

  Variables: `params` alone, float32.

  Attributes:
    features: channels of the first convolution; 64 as published.
    halvings: convolutions of stride 2.
    dtype: of the convolutions; statistics and the scores are float32.
  """

  features: int = 64
  halvings: int = 3
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, images_norm: Float[Array, 'b h w 3']
  ) -> tuple[Float[Array, 'b _ _ _'], ...]:
    """Features and scores.

    Args:
      images_norm: (b, h, w, 3) in [-1, 1].

    Returns:
      The features of each layer, and last the scores (b, h', w', 1) float32: 1
      is what photos should get, 0 what made images should.
    """
    x = images_norm.astype(self.dtype)
    found = []
    for k in range(self.halvings + 1):
      x = self._convolution(
        min(2**k, _MOST) * self.features,
        stride=2 if k < self.halvings else 1,
        name=f'conv_{k + 1}',
      )(x)
      if k:
        x = ImageNorm(name=f'conv_{k + 1}_norm')(x)
      x = nn.leaky_relu(x, 0.2)
      found.append(x)
    scores = self._convolution(1, stride=1, name='scores')(x)
    return (*found, scores.astype(jnp.float32))

  def _convolution(self, features, *, stride, name):
    return nn.Conv(
      features,
      (4, 4),
      strides=stride,
      padding=1,
      dtype=self.dtype,
      kernel_init=initializers.glorot_uniform,
      name=name,
    )
