"""A third network, VITON has none: it corrects the spline's warp and the mask.

The spline between 100 control points moves a garment as one sheet. It leaves
sleeves of bent arms behind, and lies 10 pixels off on average. This network
sees the garment, what the spline made of it, and the person, and says for each
place how much further its point of the garment lies, what is there at all: the
new garment, skin, lower clothes or something else, and how light falls on it.

It sees the photo as well, which tells the body's outline and the light. That
gives away what is asked where the photo shows the true result, so it is blank
then. A network that has learned from such examples alone makes nothing of it.

A U-Net: corrections are found at the coarsest level, as a part of the whole
image, and refined level by level, as in Han et al., ClothFlow, ICCV 2019, whose
features are warped in between; here they are not.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from viton_jax.models import initializers
from viton_jax.representation import NUM_PARTS, halved

# Channels of each level, in features; levels halve.
_CHANNELS = (4, 6, 9, 11, 11)
_GROUPS = 4  # Channels that are normalised together.
# Corrections start small beside [-1, 1].
_UNIT = 0.1


class AppearanceFlow(nn.Module):
  """Corrects where the points of a garment come from.

  Variables: `params` alone, float32.

  Attributes:
    features: a quarter of the first level's channels.
    dtype: of the convolutions; statistics and what comes out are float32.
  """

  features: int = 16
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    inputs: Float[Array, 'b h w c'],
    photo: Float[Array, 'b h w p'],
  ) -> tuple[
    Float[Array, 'b h//2 w//2 2'],
    Float[Array, 'b h w 5'],
    Float[Array, 'b h//2 w//2 2'],
  ]:
    """Predicts the correction, the parts and the light.

    Args:
      inputs: (b, h, w, c), see `predictions.flow_inputs`; h and w are half the
        working size, multiples of 32.
      photo: (b, h, w, p), see `representation.photo_channels`; 0 where nothing
        of it may be seen.

    Returns:
      What is added to the spline's positions, in their units, [-1, 1] being the
      garment's photo; logits of `representation.parts_of` the result; and
      logarithms of what is multiplied, from black: the garment's photo, and the
      skin that goes on from the photo's. float32.
    """
    channels = [self.features * x for x in _CHANNELS]
    # Squares of 2 x 2 pixels: few wide levels take processors less than many
    # narrow ones.
    x, seen = (_squares(y.astype(self.dtype)) for y in (inputs, photo))
    # From 0 on, where it stays unless there are photos to learn from.
    zeros = nn.initializers.zeros
    x = self._activated(
      self._convolution(x, channels[0], 'squares', kernel=1)
      + self._convolution(seen, channels[0], 'photo', kernel=1, init=zeros),
      'squares',
    )
    skips = []
    for level, count in enumerate(channels):
      if level:
        # Not a strided convolution, whose gradient takes XLA's CPUs long.
        x = self._block(halved(x), count, f'down_{level}')
      x = self._block(x, count, f'encoder_{level}')
      skips.append(x)
    correction = self._correction(x, len(channels) - 1)
    for level in reversed(range(len(channels) - 1)):
      x = jnp.concatenate([_doubled(x), skips[level]], axis=-1)
      x = self._block(x, channels[level], f'decoder_{level}')
      correction = _doubled(correction) + self._correction(x, level)
    parts = self._convolution(x, 4 * NUM_PARTS, 'parts', use_bias=True)
    light = self._convolution(x, 2, 'light', use_bias=True, init=zeros)
    return (
      correction,
      _pixels(parts.astype(jnp.float32)),
      light.astype(jnp.float32),
    )

  def _block(self, x, channels, name, *, kernel=3):
    return self._activated(
      self._convolution(x, channels, name, kernel=kernel), name
    )

  def _activated(self, x, name):
    channels = x.shape[-1]
    groups = channels // _GROUPS if channels % _GROUPS == 0 else 1
    x = nn.GroupNorm(num_groups=groups, dtype=jnp.float32, name=f'{name}_norm')(
      x.astype(jnp.float32)
    )
    return nn.leaky_relu(x, 0.1).astype(self.dtype)

  def _correction(self, x, level):
    found = self._convolution(
      x, 2, f'correction_{level}', use_bias=True, init=nn.initializers.zeros
    )
    return _UNIT * found.astype(jnp.float32)

  def _convolution(
    self,
    x,
    channels,
    name,
    *,
    kernel=3,
    use_bias=False,
    init=initializers.glorot_uniform,
  ):
    return nn.Conv(
      channels,
      (kernel, kernel),
      use_bias=use_bias,
      dtype=self.dtype,
      kernel_init=init,
      name=name,
    )(x)


def _squares(x: Float[Array, 'b h w c']) -> Float[Array, 'b h//2 w//2 4*c']:
  b, h, w, c = x.shape
  x = x.reshape(b, h // 2, 2, w // 2, 2, c).swapaxes(2, 3)
  return x.reshape(b, h // 2, w // 2, 4 * c)


def _pixels(x: Float[Array, 'b h w c']) -> Float[Array, 'b 2*h 2*w c//4']:
  """The inverse of `_squares`."""
  b, h, w, channels = x.shape
  x = x.reshape(b, h, w, 2, 2, channels // 4).swapaxes(2, 3)
  return x.reshape(b, 2 * h, 2 * w, channels // 4)


def _doubled(x: Float[Array, 'b h w c']) -> Float[Array, 'b 2*h 2*w c']:
  b, h, w, c = x.shape
  return jax.image.resize(x, (b, 2 * h, 2 * w, c), 'bilinear')
