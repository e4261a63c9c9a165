"""The layers of a try-on, and the image that they make.

    behind = (1 - hidden) person + hidden uncovered
    cloth  = (1 - texture) coarse + texture shading warped
    result = (1 - opacity) behind + opacity cloth

Where `hidden` and `opacity` are 0 the photo's own pixels stay, exactly.
"""

from collections.abc import Sequence
import dataclasses
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num
import numpy as np

from viton_jax import labels
from viton_jax.composition import cells
from viton_jax.composition import regions as find
from viton_jax.composition.blurring import blur
from viton_jax.composition.regions import Regions

Images = Float[Array, 'b h w c']
Map = Float[Array, 'b h w 1']
Kind = TypeVar('Kind', Array, np.ndarray)

# Borders lose steps that are shorter than so many pixels of 256, by a blur that
# is then made so many times as steep: photos show borders that are smooth along
# them and sharp across.
_BORDER_PX = 2.0
_STEEP = 3.0
# Where several kinds meet, and none is left, those around count so much.
_LEAST = 0.01
# The shading's, of folds and of light from one side.
_SHADING_PX = 8.0
_SHADING_RANGE = (0.6, 1.3)
_LIGHT_RANGE = (0.3, 1.9)
# How much of the warped garment shows at least. The refinement's alpha is near
# one half on patterns that it never saw: prints would be ghosts.
_TEXTURE = 0.95
# The face's share where arms are seen: its light is another.
_FACE_WEIGHT = 0.05
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601.


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Layers:
  """What a try-on is made of beside photo, coarse image and warped garment.

  Attributes:
    hidden: (b, h, w, 1) in 0..1, where the photo shows the old garment.
    uncovered: (b, h, w, 3), in the images' range, what lies behind it.
    opacity: (b, h, w, 1) in 0..1, where the new garment lies.
    texture: (b, h, w, 1) in 0..1, how much of it is the warped garment.
    shading: (b, h, w, 1), what the warped garment is multiplied by, from black.
  """

  hidden: Array | np.ndarray
  uncovered: Array | np.ndarray
  opacity: Array | np.ndarray
  texture: Array | np.ndarray
  shading: Array | np.ndarray


def compose(
  person: Kind, coarse: Kind, warped: Kind, *, layers: Layers
) -> Kind:
  """The try-on, see the equations above.

  Args:
    person: (b, h, w, 3) in 0..1, or any range whose 0 is black.
    coarse: the same, of the encoder-decoder.
    warped: the same, the garment in the person's frame.
    layers: of the same range and size.
  """
  behind = person + layers.hidden * (layers.uncovered - person)
  cloth = coarse + layers.texture * (layers.shading * warped - coarse)
  return behind + layers.opacity * (cloth - behind)


def make_layers(
  person: Num[Array, 'b h w 3'],
  parse: Num[Array, 'b h w'],
  regions: Regions,
  *,
  shading: Map,
  skin_shading: Map | None = None,
  covered: Map,
  alpha: Map,
  mask: Map,
) -> Layers:
  """Layers from regions, and from what the networks say of the garment.

  Args:
    person: in 0..1.
    parse: LIP-20 labels of the photo.
    regions: what lies where.
    shading: see `Layers`.
    skin_shading: see `uncover`.
    covered: in 0..1, where the warp found the garment's `inner`.
    alpha: in 0..1, how much of the warped garment the refinement shows.
    mask: in 0..1, the predicted mask, which is a factor of `alpha`.
  """
  inside = jnp.asarray(regions.garment, jnp.float32)[..., None]
  # Soft outwards into what is hidden, and never over hair or hands.
  changed = (regions.garment | regions.hidden)[..., None]
  opacity = jnp.where(changed, _without_steps(inside), 0.0)
  share = alpha / jnp.maximum(mask, 0.3)
  return Layers(
    hidden=regions.hidden.astype(jnp.float32)[..., None],
    uncovered=uncover(person, parse, regions, skin_shading),
    opacity=opacity,
    texture=jnp.maximum(share, jnp.maximum(_TEXTURE, 1 - covered)).clip(0, 1),
    shading=shading,
  )


def whole(coarse: Images, alpha: Map) -> Layers:
  """Layers that make VITON's own image, which shows nothing of the photo.

  Args:
    coarse: any range.
    alpha: how much of the warped garment the refinement shows.
  """
  ones = jnp.ones_like(alpha)
  return Layers(
    hidden=ones, uncovered=coarse, opacity=ones, texture=alpha, shading=ones
  )


def gain(light: Float[Array, 'b _ _ c'], size: tuple[int, int]) -> Images:
  """What light multiplies colours by, from black: (b, h, w, c).

  Args:
    light: the logarithm of it, in smaller images, as the appearance flow
      network predicts it.
    size: (h, w).
  """
  b, _, _, c = light.shape
  light = jax.image.resize(light, (b, *size, c), 'bilinear')
  return jnp.exp(light).clip(*_LIGHT_RANGE)


def shading_by_coarse(coarse: Images, warped: Images, *, inside: Map) -> Map:
  """How light falls on the new garment where no network has predicted it.

  The ratio of the lightness of the coarse image to the warped garment's, both
  without detail: the encoder-decoder has learned where garments on people are
  dark, but not how they look.

  Args:
    coarse: in 0..1.
    warped: in 0..1, `spread` over the region.
    inside: 0 or 1, where the garment lies.
  """
  _, h, w, _ = inside.shape
  luma = jnp.array(_LUMA).reshape(1, 1, 1, 3)
  sums = jnp.concatenate(
    [
      (coarse * luma).sum(-1, keepdims=True) * inside,
      (warped * luma).sum(-1, keepdims=True) * inside,
    ],
    axis=-1,
  )
  # Smooth, so that a quarter of the size is enough.
  sums = blur(_halve(_halve(sums)), _SHADING_PX / 4)
  ratio = sums[..., :1] / jnp.maximum(sums[..., 1:], 0.01)
  ratio = jax.image.resize(ratio, (ratio.shape[0], h, w, 1), 'bilinear')
  return ratio.clip(*_SHADING_RANGE)


def inner(
  garment_masks: Num[Array | np.ndarray, 'b h w'],
) -> Bool[Array, 'b h w']:
  """The pixels of flat garments that no background is mixed into.

  Args:
    garment_masks: 0 or 1, 1 where the photo shows the garment.
  """
  outside = ~jnp.asarray(garment_masks).astype(bool)
  return ~cells.grown(outside, 1)


def spread(warped: Images, covered: Map) -> Images:
  """Continues a warped garment beyond its outline with its own colours."""
  return pull_push(warped, (covered > 0.9).astype(jnp.float32))


def uncover(
  person: Images,
  parse: Num[Array, 'b h w'],
  regions: Regions,
  skin_shading: Map | None = None,
) -> Images:
  """The photo, with what the old garment hides filled in.

  Skin continues the arms' and the neck's, lower clothes the lower clothes,
  background the background; what the photo does not show at all stays.

  Args:
    person: (b, h, w, 3), any range whose 0 is black.
    parse: LIP-20 labels of the photo.
    regions: what lies where.
    skin_shading: what skin is multiplied by where the photo does not show it.
  """
  hidden = jnp.asarray(regions.hidden)
  background = hidden & ~regions.skin & ~regions.lower & ~regions.garment
  total, shares = jnp.zeros_like(person), jnp.zeros_like(person[..., :1])
  for region, wanted in (
    (background, (0,)),
    (regions.lower, labels.LOWER_LABELS),
    (regions.skin, find.BARE),
  ):
    of_kind = find.is_any(parse, wanted)
    filled, sure = continued(person, parse, wanted)
    if skin_shading is not None and wanted is find.BARE:
      filled = filled * skin_shading
    kind = jnp.asarray(region | (of_kind & ~hidden), jnp.float32)[..., None]
    known = sure.any((1, 2))[:, None, None, None]
    share = jnp.where(known, _without_steps(kind, least=_LEAST), 0.0)
    total, shares = total + share * filled, shares + share
  known = hidden[..., None] & (shares > 0)
  return jnp.where(known, total / jnp.where(known, shares, 1.0), person)


def continued(
  person: Images, parse: Num[Array, 'b h w'], wanted: Sequence[int]
) -> tuple[Images, Bool[Array, 'b h w']]:
  """The photo with what is of some labels, going on everywhere.

  Args:
    person: (b, h, w, 3), any range.
    parse: LIP-20 labels of the photo.
    wanted: some of these.

  Returns:
    The image, 0 where the photo shows nothing of it; and what it goes on from.
  """
  sure = find.surely(find.is_any(parse, wanted), parse)
  weight = jnp.where(parse == labels.FACE, _FACE_WEIGHT, 1.0)
  return pull_push(person, jnp.where(sure, weight, 0.0)[..., None]), sure


def _without_steps(kind: Map, *, least: float = 0.0) -> Map:
  """0 or 1 in, 0..1 out, without the steps of its border.

  Args:
    kind: where something is.
    least: how much of its blur remains at least.
  """
  smooth = blur(kind, _BORDER_PX)
  steep = (0.5 + _STEEP * (smooth - 0.5)).clip(0.0, 1.0)
  return jnp.maximum(steep, least * smooth)


def pull_push(values: Images, weights: Float[Array, 'b h w 1']) -> Images:
  """Fills an image smoothly where its weights are 0.

  Averages of what is known go up a pyramid; where a level knows nothing it
  takes the next coarser one. Known pixels stay as they are.

  Args:
    values: (b, h, w, c).
    weights: (b, h, w, 1) in 0..1.

  Returns:
    (b, h, w, c); 0 where nothing at all is known.

  References:
    Gortler et al., The Lumigraph, SIGGRAPH 1996, section 3.4.
  """
  _, h, w, _ = values.shape
  if max(h, w) == 1:
    return jnp.where(weights > 0, values, 0.0)
  total = _halve(weights)
  mean = _halve(values * weights) / jnp.maximum(total, 1e-6)
  # Four pixels of a quarter's weight each know as much as one.
  filled = pull_push(
    jnp.where(total > 0, mean, 0.0), jnp.minimum(4 * total, 1.0)
  )
  b, h2, w2, c = filled.shape
  wide = jax.image.resize(filled, (b, 2 * h2, 2 * w2, c), 'bilinear')
  return weights * values + (1 - weights) * wide[:, :h, :w]


def _halve(x: Images) -> Float[Array, 'b h2 w2 c']:
  """Means of 2 x 2 pixels; an odd side is filled up with zeros."""
  b, h, w, c = x.shape
  x = jnp.pad(x, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)))
  return x.reshape(b, (h + 1) // 2, 2, (w + 1) // 2, 2, c).mean((2, 4))
