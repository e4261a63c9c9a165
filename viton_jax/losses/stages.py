"""The loss of each stage: a weighted sum of terms."""

from collections.abc import Callable, Mapping
import dataclasses
import functools
import operator
from typing import Any

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from viton_jax.losses import images
from viton_jax.losses.adversarial import Critic, adversarial_terms
from viton_jax.metrics import absolute_error

_STAGE1_LAYERS = ('conv1_2', 'conv2_2', 'conv3_2', 'conv4_2', 'conv5_2')
_STAGE2_LAYERS = ('conv3_2', 'conv4_2', 'conv5_2')
_PERCEPTUAL_UNIT = 128.0
_Terms = dict[str, Float[Array, ' b']]


@dataclasses.dataclass(frozen=True)
class ImageWeights:
  """Weights of the terms of the image that both stages have.

  Attributes:
    image: mean absolute difference from the photo.
    perceptual: of VGG19's features.
    lpips: as the LPIPS metric measures it.
    gradient: difference of the steps from pixel to pixel.
    adversarial: what a discriminator says that trains along.
    feature_matching: difference of the discriminator's features.
    kept: of the pixels that composing changes never takes from the network's
      image, in all of these terms; 1 counts them like all others.
  """

  image: float = 1.0
  perceptual: float = 3.0
  lpips: float = 0.0
  gradient: float = 0.0
  adversarial: float = 0.0
  feature_matching: float = 0.0
  kept: float = 1.0

  @property
  def critic(self) -> bool:
    """Whether a discriminator is needed."""
    return bool(self.adversarial or self.feature_matching)


@dataclasses.dataclass(frozen=True)
class Stage1Weights(ImageWeights):
  """Weights of stage 1's terms, as published.

  Attributes:
    mask: mean absolute difference of the mask.
    mask_iou: 1 - intersection over union of the mask.
  """

  mask: float = 1.0
  mask_iou: float = 0.0


@dataclasses.dataclass(frozen=True)
class Stage2Weights(ImageWeights):
  """Weights of stage 2's terms, as published.

  Attributes:
    alpha: of the composition mask's mean, which counts negatively.
    tv: of its total variation.
  """

  image: float = 0.2
  perceptual: float = 0.8
  alpha: float = 0.1
  tv: float = 5e-6


@dataclasses.dataclass(frozen=True)
class Judges:
  """What images are looked at through, each needed where its weight counts.

  Attributes:
    vgg: what `vgg19.load` returns.
    lpips: (fakes, reals), both in [-1, 1] -> (b,).
    critic: the discriminator.
    dtype: of VGG19's convolutions.
    remat: see `vgg19.features`.
  """

  vgg: Mapping[str, Any] | None = None
  lpips: Callable[[Array, Array], Array] | None = None
  critic: Critic | None = None
  dtype: DTypeLike = jnp.float32
  remat: bool = False


def stage1_loss(
  garment_mask: Float[Array, 'b h w 1'],
  coarse: Float[Array, 'b h w 3'],
  *,
  region: Float[Array, 'b h w 1'],
  image_norm: Float[Array, 'b h w 3'],
  changed: Float[Array, 'b h w 1'] | None = None,
  weights: Stage1Weights = Stage1Weights(),  # noqa: B008 - frozen
  judges: Judges = Judges(),  # noqa: B008 - frozen
) -> tuple[Float[Array, ' b'], _Terms]:
  """Loss of the encoder-decoder.

  Args:
    garment_mask: (b, h, w, 1) predicted, in [-1, 1].
    coarse: (b, h, w, 3) predicted, in [-1, 1].
    region: (b, h, w, 1) true garment region, 0 or 1.
    image_norm: (b, h, w, 3) true image in [-1, 1].
    changed: (b, h, w, 1) 0 or 1, which pixels composing may take from the
      coarse image; needed unless weights.kept is 1.
    weights: of the terms.
    judges: what the terms need.

  Returns:
    The weighted sum (b,) and its terms before weighting, 'mask', 'image' and
    all others that count, each (b,); beside them 'critic', see
    `adversarial_terms`, where there is one.

  References:
    Han et al., VITON, CVPR 2018, equation 1.
  """
  terms = {'mask': absolute_error(garment_mask, region)}
  if weights.mask_iou:
    terms['mask_iou'] = 1.0 - _soft_iou(garment_mask, region)
  terms |= _image_terms(
    coarse,
    image_norm,
    changed=changed,
    weights=weights,
    judges=judges,
    layers=_STAGE1_LAYERS,
  )
  return _weighted(terms, weights), terms


def stage2_loss(
  output: Float[Array, 'b h w 3'],
  alpha: Float[Array, 'b h w 1'],
  *,
  image_norm: Float[Array, 'b h w 3'],
  changed: Float[Array, 'b h w 1'] | None = None,
  weights: Stage2Weights = Stage2Weights(),  # noqa: B008 - frozen
  judges: Judges = Judges(),  # noqa: B008 - frozen
) -> tuple[Float[Array, ' b'], _Terms]:
  """Loss of the refinement network.

  Args:
    output: (b, h, w, 3) composed image in [-1, 1].
    alpha: (b, h, w, 1) composition mask after the product with the garment
      mask, in [0, 1].
    image_norm: (b, h, w, 3) true image in [-1, 1].
    changed: see `stage1_loss`.
    weights: of the terms.
    judges: what the terms need.

  Returns:
    The weighted sum (b,) and its terms before weighting, 'image', 'alpha', 'tv'
    and all others that count, each (b,); 'critic' as in `stage1_loss`. The sum
    takes `alpha` away: showing the warped garment is rewarded.

  References:
    Han et al., VITON, CVPR 2018, equation 4.
  """
  terms = _image_terms(
    output,
    image_norm,
    changed=changed,
    weights=weights,
    judges=judges,
    layers=_STAGE2_LAYERS,
  )
  terms |= {
    'alpha': alpha.astype(jnp.float32).mean(axis=(1, 2, 3)),
    'tv': images.total_variation(alpha),
  }
  return _weighted(terms, weights, negative=('alpha',)), terms


def _weighted(terms: _Terms, weights, negative=()) -> Float[Array, ' b']:
  # The critic's own loss is of other parameters.
  return functools.reduce(
    operator.add,
    (
      (-1.0 if name in negative else 1.0) * getattr(weights, name) * value
      for name, value in terms.items()
      if name != 'critic'
    ),
  )


def _image_terms(
  fakes_norm,
  reals_norm,
  *,
  changed,
  weights: ImageWeights,
  judges: Judges,
  layers: tuple[str, ...],
) -> _Terms:
  if weights.kept != 1.0:
    if changed is None:
      raise ValueError(
        'weights.kept is not 1, but changed is None: give '
        'representation.changed_region, or set it to 1.'
      )
    # The difference is scaled, not its absolute value, so that the features
    # of the other terms see it scaled too.
    counts = changed + weights.kept * (1.0 - changed)
    fakes_norm = reals_norm + counts * (fakes_norm - reals_norm)
  terms = {'image': absolute_error(fakes_norm, reals_norm)}
  if weights.perceptual:
    vgg = _needed(judges.vgg, 'perceptual', 'vgg', 'load one with vgg19.load')
    distances = images.perceptual_distances(
      vgg, fakes_norm, reals_norm, dtype=judges.dtype, remat=judges.remat
    )
    total = functools.reduce(operator.add, (distances[x] for x in layers))
    terms['perceptual'] = total / (len(layers) * _PERCEPTUAL_UNIT)
  if weights.lpips:
    lpips = _needed(judges.lpips, 'lpips', 'lpips', 'see metrics.lpips')
    terms['lpips'] = lpips(fakes_norm, reals_norm)
  if weights.gradient:
    terms['gradient'] = images.gradient_difference(fakes_norm, reals_norm)
  # Without one the terms are left out: validation has none.
  if weights.critic and judges.critic:
    found = adversarial_terms(judges.critic, fakes_norm, reals_norm)
    terms |= {
      name: value
      for name, value in found.items()
      if name == 'critic' or getattr(weights, name)
    }
  return terms


def _needed(judge, weight, name, remedy):
  if judge is None:
    raise ValueError(
      f'The {weight} weight is not 0, but {name} is None: {remedy}, or set the '
      'weight to 0.'
    )
  return judge


def _soft_iou(garment_mask, region) -> Array:
  """(b,); of a mask within [0, 1]."""
  mask = jnp.clip(garment_mask.astype(jnp.float32), 0.0, 1.0)
  both = jnp.minimum(mask, region).sum(axis=(1, 2, 3))
  either = jnp.maximum(mask, region).sum(axis=(1, 2, 3))
  return (both + 1.0) / (either + 1.0)  # 1 where there is no garment.
