"""The losses of both stages, one value for each example.

Every function returns arrays of shape (b,), so that training takes their plain
mean and evaluation can leave padding out. All are computed in float32.
"""

from collections.abc import Mapping
import dataclasses
import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Num

from viton_jax.metrics import absolute_error
from viton_jax.models import vgg19

# What each layer's distance is multiplied by. The released code divides by the
# distances' usual size and then weighs them against each other.
_PERCEPTUAL_SCALES = {
  'conv1_2': 2.5 / 5.3,
  'conv2_2': 1 / (2.7 * 1.2),
  'conv3_2': 1 / (1.35 * 2.3),
  'conv4_2': 1 / (0.67 * 8.2),
  'conv5_2': 1 / 0.16,
}
_STAGE1_LAYERS = tuple(_PERCEPTUAL_SCALES)
_STAGE2_LAYERS = ('conv3_2', 'conv4_2', 'conv5_2')
_PERCEPTUAL_UNIT = 128.0


@dataclasses.dataclass(frozen=True)
class Stage1Weights:
  """Weights of stage 1's terms, as published.

  Attributes:
    mask, image, perceptual: of the terms.
    kept: of the pixels that composing changes never takes from the coarse
      image, in the image's terms; 1 counts them like all others.
  """

  mask: float = 1.0
  image: float = 1.0
  perceptual: float = 3.0
  kept: float = 1.0


@dataclasses.dataclass(frozen=True)
class Stage2Weights:
  """Weights of stage 2's terms, as published. `alpha` counts negatively."""

  image: float = 0.2
  perceptual: float = 0.8
  alpha: float = 0.1
  tv: float = 5e-6


def total_variation(
  images: Num[Array, 'b h w c'],
) -> Float[Array, ' b']:
  """Sum of absolute differences of neighbours in each image.

  References:
    Rudin, Osher and Fatemi, Nonlinear total variation based noise removal,
    Physica D 60, 1992; its anisotropic form.
  """
  images = images.astype(jnp.float32)
  down = jnp.abs(images[:, 1:] - images[:, :-1]).sum(axis=(1, 2, 3))
  right = jnp.abs(images[:, :, 1:] - images[:, :, :-1]).sum(axis=(1, 2, 3))
  return down + right


def perceptual_distances(
  vgg: Mapping[str, Any],
  fakes_norm: Float[Array, 'b h w 3'],
  reals_norm: Float[Array, 'b h w 3'],
  *,
  dtype: DTypeLike = jnp.float32,
  remat: bool = False,
) -> dict[str, Float[Array, ' b']]:
  """Scaled distances of VGG19 features.

  Args:
    vgg: what `vgg19.load` returns.
    fakes_norm: (b, h, w, 3) in [-1, 1].
    reals_norm: the same; takes no gradient.
    dtype: of VGG19's convolutions.
    remat: see `vgg19.features`.

  Returns:
    Layer name -> (b,) float32.

  References:
    Johnson, Alahi and Fei-Fei, Perceptual Losses, ECCV 2016, section 3.2.
    Chen and Koltun, Cascaded Refinement Networks, ICCV 2017, equation 1.
  """
  # Two passes, not one over both: the backward pass then runs over the fakes
  # alone and the real images' activations are not kept for it.
  of_reals = vgg19.features(vgg, jax.lax.stop_gradient(reals_norm), dtype=dtype)
  of_fakes = vgg19.features(vgg, fakes_norm, dtype=dtype, remat=remat)
  return {
    name: scale * absolute_error(of_fakes[name], of_reals[name])
    for name, scale in _PERCEPTUAL_SCALES.items()
  }


def stage1_loss(
  garment_mask: Float[Array, 'b h w 1'],
  coarse: Float[Array, 'b h w 3'],
  *,
  region: Float[Array, 'b h w 1'],
  image_norm: Float[Array, 'b h w 3'],
  changed: Float[Array, 'b h w 1'] | None = None,
  weights: Stage1Weights = Stage1Weights(),  # noqa: B008 - frozen
  vgg: Mapping[str, Any] | None = None,
  dtype: DTypeLike = jnp.float32,
  remat: bool = False,
) -> tuple[Float[Array, ' b'], dict[str, Float[Array, ' b']]]:
  """Loss of the encoder-decoder.

  Args:
    garment_mask: (b, h, w, 1) predicted, in [-1, 1].
    coarse: (b, h, w, 3) predicted, in [-1, 1].
    region: (b, h, w, 1) true garment region, 0 or 1.
    image_norm: (b, h, w, 3) true image in [-1, 1].
    changed: (b, h, w, 1) 0 or 1, which pixels composing may take from the
      coarse image; needed unless weights.kept is 1.
    weights: of the terms.
    vgg: what `vgg19.load` returns; needed unless weights.perceptual is 0.
    dtype: of VGG19's convolutions.
    remat: see `vgg19.features`.

  Returns:
    The weighted sum (b,) and its terms before weighting, 'mask', 'image' and,
    if it counts, 'perceptual', each (b,).

  References:
    Han et al., VITON, CVPR 2018, equation 1.
  """
  if weights.kept != 1.0:
    if changed is None:
      raise ValueError(
        'weights.kept is not 1, but changed is None: give '
        'representation.changed_region, or set it to 1.'
      )
    # The difference is scaled, not its absolute value, so that the features
    # of the perceptual term see it scaled too.
    counts = changed + weights.kept * (1.0 - changed)
    coarse = image_norm + counts * (coarse - image_norm)
  terms = {
    'mask': absolute_error(garment_mask, region),
    'image': absolute_error(coarse, image_norm),
  }
  total = weights.mask * terms['mask'] + weights.image * terms['image']
  if weights.perceptual:
    terms['perceptual'] = _perceptual(
      vgg,
      coarse,
      image_norm,
      layers=_STAGE1_LAYERS,
      dtype=dtype,
      remat=remat,
    )
    total += weights.perceptual * terms['perceptual']
  return total, terms


def stage2_loss(
  output: Float[Array, 'b h w 3'],
  alpha: Float[Array, 'b h w 1'],
  *,
  image_norm: Float[Array, 'b h w 3'],
  weights: Stage2Weights = Stage2Weights(),  # noqa: B008 - frozen
  vgg: Mapping[str, Any] | None = None,
  dtype: DTypeLike = jnp.float32,
  remat: bool = False,
) -> tuple[Float[Array, ' b'], dict[str, Float[Array, ' b']]]:
  """Loss of the refinement network.

  Args:
    output: (b, h, w, 3) composed image in [-1, 1].
    alpha: (b, h, w, 1) composition mask after the product with the garment
      mask, in [0, 1].
    image_norm: (b, h, w, 3) true image in [-1, 1].
    weights: of the terms.
    vgg: what `vgg19.load` returns; needed unless weights.perceptual is 0.
    dtype: of VGG19's convolutions.
    remat: see `vgg19.features`.

  Returns:
    The weighted sum (b,) and its terms before weighting, 'image', 'alpha', 'tv'
    and, if it counts, 'perceptual', each (b,). The sum takes `alpha` away:
    showing the warped garment is rewarded.

  References:
    Han et al., VITON, CVPR 2018, equation 4.
  """
  terms = {
    'image': absolute_error(output, image_norm),
    'alpha': alpha.astype(jnp.float32).mean(axis=(1, 2, 3)),
    'tv': total_variation(alpha),
  }
  total = (
    weights.image * terms['image']
    - weights.alpha * terms['alpha']
    + weights.tv * terms['tv']
  )
  if weights.perceptual:
    terms['perceptual'] = _perceptual(
      vgg,
      output,
      image_norm,
      layers=_STAGE2_LAYERS,
      dtype=dtype,
      remat=remat,
    )
    total += weights.perceptual * terms['perceptual']
  return total, terms


def _perceptual(
  vgg, fakes_norm, reals_norm, *, layers, dtype, remat
) -> Float[Array, ' b']:
  if vgg is None:
    raise ValueError(
      'The perceptual weight is not 0, but vgg is None: load one with '
      'vgg19.load, or set the weight to 0.'
    )
  distances = perceptual_distances(
    vgg, fakes_norm, reals_norm, dtype=dtype, remat=remat
  )
  total = functools.reduce(operator.add, (distances[x] for x in layers))
  return total / (len(layers) * _PERCEPTUAL_UNIT)
