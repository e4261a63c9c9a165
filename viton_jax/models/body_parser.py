"""A small U-Net that labels the parts of a person from a photo and joints."""

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Of the input; the joints are drawn at a quarter of it, labels come at half.
HEIGHT, WIDTH = 256, 192
JOINT_STRIDE, LABEL_STRIDE = 4, 2
# Standard deviation of the blob around a joint, in cells of its map.
_JOINT_SIGMA = 1.5
_GROUPS = 8


class BodyParser(nn.Module):
  """Labels a photo of one person, framed around the joints.

  Two convolutions of stride 2 bring the photo to a quarter of its size, where
  the joints join; three scales below, whose skips are added. Each cell of a
  quarter gives the labels of its 2 x 2 cells of a half, which costs a CPU half
  as much as convolutions there. Group normalisation, so a batch of any size
  gives the same labels.

  Variables: `params` alone.

  Attributes:
    classes: how many labels.
    features: channels at 1/2, 1/4, 1/8, 1/16 and 1/32; multiples of 8.

  References:
    Ronneberger et al., U-Net, MICCAI 2015; Chaurasia and Culurciello,
    LinkNet, VCIP 2017; Wu and He, Group Normalization, ECCV 2018.
  """

  classes: int
  features: tuple[int, ...] = (16, 32, 64, 96, 128)

  @nn.compact
  def __call__(
    self,
    pixels: Float[Array, 'b h w 5'],
    keypoints: Float[Array, 'b k 3'],
  ) -> Float[Array, 'b h2 w2 {self.classes}']:
    """Logits of the labels.

    Args:
      pixels: (b, h, w, 5) float32, h and w multiples of 32: RGB, standardised;
        1 inside the photo and 0 beyond its border; the probability p of the
        person as 2 p - 1, all 0 where it is not known.
      keypoints: (b, k, 3) float32: x, y in pixels of the input, confidence
        (0: missing).

    Returns:
      (b, h / 2, w / 2, classes) float32.
    """
    first, *deeper = self.features
    stem = _Block(first, stride=2, name='stem')(pixels)
    x = _Block(deeper[0], kernel=1, name='enter')(_to_depth(stem))
    joints = joint_maps(keypoints, (x.shape[1], x.shape[2]))
    x = x + nn.Conv(deeper[0], (1, 1), name='joints')(joints)
    x = _Block(deeper[0], name='join')(x)
    skips = []
    for k, features in enumerate(deeper[1:]):
      skips.append(x)
      x = _Block(features, kernel=1, name=f'down_{k}')(_to_depth(x))
      x = _Block(features, name=f'down_{k}_more')(x)
    x = x + _Block(deeper[-1], name='bottom')(x)
    for k, skip in reversed(list(enumerate(skips))):
      x = nn.Conv(skip.shape[-1], (1, 1), name=f'narrow_{k}')(x)
      x = _Block(skip.shape[-1], name=f'up_{k}')(_twice(x) + skip)
    x = x + nn.Conv(deeper[0], (1, 1), name='edges')(_to_depth(stem))
    x = _Block(deeper[0], name='end')(x)
    return _to_space(nn.Conv(4 * self.classes, (1, 1), name='labels')(x))


class _Block(nn.Module):
  """Convolution, group normalisation, ReLU."""

  features: int
  kernel: int = 3
  stride: int = 1

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b _ _ _']:
    """The block's output, at 1 / stride of the size."""
    kernel, strides = (self.kernel,) * 2, (self.stride,) * 2
    x = nn.Conv(self.features, kernel, strides, use_bias=False)(x)
    return nn.relu(nn.GroupNorm(_GROUPS)(x))


def joint_maps(
  keypoints: Float[Array, 'b k 3'], size: tuple[int, int]
) -> Float[Array, 'b {size[0]} {size[1]} k']:
  """A Gaussian blob around each joint, nothing for a missing one.

  Args:
    keypoints: x, y in pixels of the network's input, confidence.
    size: of the maps, 1 / JOINT_STRIDE of the input.
  """
  at = (keypoints[..., :2] + 0.5) / JOINT_STRIDE - 0.5

  def fall(length: int, axis: int) -> Float[Array, 'b l k']:
    cells = jnp.arange(length, dtype=jnp.float32)[None, :, None]
    off = (cells - at[:, None, :, axis]) / _JOINT_SIGMA
    return jnp.exp(-0.5 * off * off)

  seen = (keypoints[..., 2] > 0).astype(jnp.float32)[:, None, :]
  rows, columns = fall(size[0], 1) * seen, fall(size[1], 0)
  return jnp.einsum('bhk,bwk->bhwk', rows, columns)


def _twice(x: Float[Array, 'b h w c']) -> Float[Array, 'b _ _ c']:
  b, h, w, c = x.shape
  return jax.image.resize(x, (b, 2 * h, 2 * w, c), 'nearest')


def _to_depth(x: Float[Array, 'b h w c']) -> Float[Array, 'b _ _ _']:
  """2 x 2 cells become one of four times the channels."""
  b, h, w, c = x.shape
  x = x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(b, h // 2, w // 2, 4 * c)


def _to_space(x: Float[Array, 'b h w c']) -> Float[Array, 'b _ _ _']:
  """The inverse of `_to_depth`."""
  b, h, w, c = x.shape
  x = x.reshape(b, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(b, 2 * h, 2 * w, c // 4)
