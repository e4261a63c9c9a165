"""The loss of the appearance flow network: a weighted sum of terms."""

from collections.abc import Mapping
import dataclasses

from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8, UInt16
import optax

from viton_jax import flow_levels
from viton_jax.metrics import absolute_error
from viton_jax.representation import GARMENT_PART, SKIN_PART, halved

_SOFT_PX = 0.01  # Below it a distance counts as its square.


@dataclasses.dataclass(frozen=True)
class Stage3Weights:
  """Weights of stage 3's terms.

  Attributes:
    flow: distance from the true flow, in pixels, where that is known.
    warped: mean absolute difference of the warped garment and the photo within
      the garment's region, for data without a true flow.
    smooth: how the correction bends from place to place, in pixels.
    parts: cross entropy of what is garment, skin, lower clothes, head, rest.
    light: mean absolute difference of the warped garment, lit, and the photo,
      without detail, where both show the garment.
    skin: the same of skin that the old garment hid, and of the skin of the
      photo before, going on there.
  """

  flow: float = 1.0
  warped: float = 0.0
  smooth: float = 0.5
  parts: float = 20.0
  light: float = 20.0
  skin: float = 10.0


def stage3_loss(
  found: Mapping[str, Float[Array, 'b _ _ _']],
  positions: Float[Array, 'b h w 2'],
  warped: Float[Array, 'b h w 3'],
  *,
  covered: Float[Array, 'b h w 1'],
  parts: UInt8[Array, 'b h w'],
  image_norm: Float[Array, 'b h w 3'],
  skin: Float[Array, 'b h w 3'],
  garment_before: Bool[Array, 'b h w'],
  flow: UInt16[Array, 'b _ _ 3'] | None = None,
  weights: Stage3Weights = Stage3Weights(),  # noqa: B008 - frozen
) -> tuple[Float[Array, ' b'], dict[str, Float[Array, ' b']]]:
  """Loss of the appearance flow network.

  Args:
    found: what the network predicts, see `predictions.predict_flow`.
    positions: (b, h, w, 2) of the garment's photo, in [-1, 1], corrected.
    warped: (b, h, w, 3) in [-1, 1], the garment at these positions.
    covered: (b, h, w, 1) in 0..1, whether they are of the garment.
    parts: (b, h, w), the true image's, see `representation.parts_of`.
    image_norm: (b, h, w, 3) in [-1, 1], the true image.
    skin: (b, h, w, 3) in 0..1, the skin of the photo before the exchange, going
      on everywhere.
    garment_before: (b, h, w), where that photo shows a garment.
    flow: (b, h / 4, w / 4, 3) of the pixels 2, 6, 10, ..., see `flow_levels`;
      needed unless weights.flow is 0.
    weights: of the terms.

  Returns:
    The weighted sum (b,) and its terms before weighting, (b,) each; `flow` and
    `skin` are 0 where nothing is known.
  """
  h, w = positions.shape[1:3]
  to_px = jnp.asarray([(w - 1) / 2, (h - 1) / 2], jnp.float32)[None, None, None]
  region = (parts == GARMENT_PART).astype(jnp.float32)[..., None]
  newly_bare = garment_before & (parts == SKIN_PART)
  image = 0.5 * (image_norm + 1.0)
  terms = {
    'smooth': _bends(found['correction'] * to_px),
    'parts': optax.softmax_cross_entropy_with_integer_labels(
      found['parts'], parts.astype(jnp.int32)
    ).mean((1, 2)),
    'light': _light_error(
      found['light'][..., :1],
      0.5 * (lax.stop_gradient(warped) + 1.0),
      image,
      shown=covered * region,
    ),
    'skin': _light_error(
      found['light'][..., 1:],
      skin,
      image,
      shown=newly_bare.astype(jnp.float32)[..., None],
    ),
  }
  if weights.flow:
    if flow is None:
      raise ValueError(
        'The flow weight is not 0, but flow is None: prepare drawn data with '
        'exchanged pairs, or set the weight to 0.'
      )
    terms['flow'] = _distance_px(positions, flow, to_px)
  if weights.warped:
    counts = region.sum(axis=(1, 2, 3)) + 1.0
    difference = absolute_error(warped * region, image_norm * region)
    terms['warped'] = difference * (h * w) / counts
  total = sum(
    (getattr(weights, name) * value for name, value in terms.items()),
    start=jnp.zeros(len(positions)),
  )
  return total, terms


def _distance_px(positions, flow, to_px) -> Float[Array, ' b']:
  """Mean distance from the known flow."""
  step = flow_levels.STEP
  some = positions[:, step // 2 :: step, step // 2 :: step]
  true, known = flow_levels.decode(flow)
  known = known.astype(jnp.float32)
  squared = jnp.square((some - true) * to_px).sum(axis=-1)
  distance = jnp.sqrt(squared + _SOFT_PX**2)
  return (distance * known).sum(axis=(1, 2)) / (known.sum(axis=(1, 2)) + 1.0)


def _light_error(
  light: Float[Array, 'b _ _ 1'],
  unlit: Float[Array, 'b h w 3'],
  image: Float[Array, 'b h w 3'],
  *,
  shown: Float[Array, 'b h w 1'],
) -> Float[Array, ' b']:
  """What something, once lit, differs from the image without detail.

  Args:
    light: (b, h / 4, w / 4, 1), a logarithm.
    unlit: (b, h, w, 3), from black, 0.
    image: the same.
    shown: (b, h, w, 1), where both count.
  """
  # One value of the light is for 4 x 4 pixels.
  unlit, image, shown = (
    halved(halved(x)) for x in (unlit * shown, image * shown, shown)
  )
  # A pattern that lies a little beside is not a matter of light.
  difference = _smoothed(jnp.exp(light) * unlit - image)
  total = jnp.abs(difference).mean(axis=-1).sum(axis=(1, 2))
  return total / (shown.sum(axis=(1, 2, 3)) + 1.0)


def _smoothed(x: Float[Array, 'b h w c']) -> Array:
  """A quarter, a half and a quarter of neighbours, down and across."""
  for axis in (1, 2):
    pads = [(0, 0)] * 4
    pads[axis] = (1, 1)
    wide = jnp.pad(x, pads, mode='edge')
    before, after = (
      lax.slice_in_dim(wide, i, i + x.shape[axis], axis=axis) for i in (0, 2)
    )
    x = 0.25 * before + 0.5 * x + 0.25 * after
  return x


def _bends(values: Float[Array, 'b h w c']) -> Float[Array, ' b']:
  """Mean absolute second difference, down and right.

  Not of first differences: where a straight line stays straight, however it is
  stretched or turned, nothing is to be paid.
  """
  down = jnp.abs(jnp.diff(values, 2, axis=1)).mean(axis=(1, 2, 3))
  right = jnp.abs(jnp.diff(values, 2, axis=2)).mean(axis=(1, 2, 3))
  return down + right
