"""How large a garment's sleeves are, and where they end on a person's arms."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num
import numpy as np

from viton_jax.composition.cells import cells_of

Region = Bool[Array, 'b h w']

# What of a flat garment is sleeves, see `sleeve_area`; in half widths.
_DISK = 0.6
_APART = 0.2
# Areas of sleeves, and where such sleeves end on an arm: medians of 1,184 drawn
# pairs of both styles.
_AREAS = (0.08, 0.16, 0.45, 0.55, 0.8)
_ENDS = (0.0, 0.57, 0.62, 1.65, 1.82)


def sleeve_area(
  garment_masks: Num[Array | np.ndarray, 'b h w'],
) -> Float[Array, ' b']:
  """How large the sleeves of flat garments are, (b,).

  What a disk of 0.6 of the garment's half width does not come near is sleeves.
  The result is the mean area of both, in squares of the half width: under 0.1
  without sleeves, about 0.35 for short and 0.65 for long ones, whether they
  stand out from the body or hang down beside it.

  Args:
    garment_masks: 0 or 1, 1 where the photo shows the garment.
  """
  inside = cells_of(jnp.asarray(garment_masks).astype(bool), jnp.mean) > 0.5
  depth = distance_inside(inside)
  half_width = jnp.maximum(depth.max((1, 2), keepdims=True), 1.0)
  radius = _DISK * half_width
  # From the pixels that the disk's centre may reach.
  beyond = distance_inside(depth < radius) - radius
  sleeves = inside & (beyond > _APART * half_width)
  return sleeves.sum((1, 2)) / 2 / jnp.square(half_width[:, 0, 0])


def distance_inside(region: Region) -> Float[Array, 'b h w']:
  """Distance of each cell of a region from the nearest cell beside it.

  All candidates of a row, then of a column: exact, for small images alone.
  """
  _, h, w = region.shape
  far = jnp.float32(h * h + w * w)

  def nearest(squares, n):
    at = jnp.arange(n, dtype=jnp.float32)
    apart = jnp.square(at[:, None] - at[None])
    return (squares[..., None, :] + apart[None, None]).min(-1)

  in_rows = nearest(jnp.where(region, far, 0.0), w)
  return jnp.sqrt(nearest(in_rows.swapaxes(1, 2), h).swapaxes(1, 2))


def sleeve_end(areas: Float[Array, ' b']) -> Float[Array, ' b']:
  """Where along an arm sleeves of `sleeve_area` end: 0..2, as in `body.Arm`."""
  return jnp.interp(areas, jnp.array(_AREAS), jnp.array(_ENDS))
