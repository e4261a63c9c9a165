"""A try-on's steps as pure functions of (variables, batch).

The encoder-decoder, the refinement and the appearance flow network on what they
read of a batch, the matching between them, and the composition of what changes.
Training, validation and `networks`, which makes whole try-ons of them, call
these.
"""

from collections.abc import Mapping
from typing import Any, cast

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped, UInt8
import numpy as np

from viton_jax import composition, geometry
from viton_jax.choices import Fidelity
from viton_jax.models import (
  AppearanceFlow,
  EncoderDecoder,
  Refinement,
  compose,
)
from viton_jax.representation import (
  GARMENT_PART,
  NUM_PARTS,
  halved,
  network_inputs,
  person_representation,
  to_norm,
)

Batch = Mapping[str, Array | np.ndarray]
# (b, n * n, 2) x, y in [-1, 1], see `geometry.warp_tps`.
ControlPointArray = Float[Array, 'b n 2'] | Float[np.ndarray, 'b n 2']


def predict_coarse(
  variables: Mapping[str, Any],
  batch: Batch,
  *,
  model: EncoderDecoder,
  fidelity: Fidelity = 'fixed',
) -> tuple[Float[Array, 'b h w 1'], Float[Array, 'b h w 3']]:
  """Garment mask (b, h, w, 1) and coarse image (b, h, w, 3), in [-1, 1].

  Args:
    variables: of the encoder-decoder.
    batch: see `representation.network_inputs`.
    model: the encoder-decoder.
    fidelity: 'fixed' or 'original'.
  """
  inputs = network_inputs(batch, fidelity=fidelity)
  outputs = model.apply(variables, inputs, train=False)
  return cast(tuple[Array, Array], outputs)


def predict_refined(
  variables: Mapping[str, Any],
  batch: Batch,
  control_points: ControlPointArray,
  garment_mask: Float[Array, 'b h w 1'],
  coarse: Float[Array, 'b h w 3'],
  *,
  model: Refinement,
  fidelity: Fidelity = 'fixed',
) -> dict[str, Float[Array, 'b h w _']]:
  """Warps the garment and composes it with the coarse image.

  Args:
    variables: of the refinement network.
    batch: `garment` (b, h, w, 3) in 0..255, and maybe `correction`, see
      `geometry.warp_tps`; more is ignored.
    control_points: (b, n * n, 2) x, y in [-1, 1], see `geometry.warp_tps`.
    garment_mask: (b, h, w, 1) where the person wears it, as `predict_coarse`
      gives it, or the true region.
    coarse: (b, h, w, 3) in [-1, 1], as `predict_coarse` gives it.
    model: the refinement network.
    fidelity: 'fixed' keeps the garment mask within [0, 1]; 'original' takes it
      as it is.

  Returns:
    `warped` (b, h, w, 3) and `output` (b, h, w, 3) in [-1, 1], and `alpha`
    (b, h, w, 1), the composition mask after its product with the garment mask.
  """
  warped = warp_garment(batch, control_points)
  alpha = model.apply({'params': variables['params']}, warped, coarse)
  alpha = cast(Array, alpha) * bounded_mask(garment_mask, fidelity=fidelity)
  return {
    'warped': warped,
    'alpha': alpha,
    'output': compose(alpha, warped, coarse),
  }


def match_predicted(
  garment_masks: Shaped[Array | np.ndarray, 'b h w'],
  masks: Float[Array, 'b h w 1'],
) -> tuple[Float[Array, 'b 100 2'], Int[Array, ' b']]:
  """Matches garments to their predicted masks on the device.

  Args:
    garment_masks: (b, h, w), 0 or 1.
    masks: (b, h, w, 1), as `predict_coarse` gives them.

  Returns:
    See `geometry.match_with_reasons`.
  """
  # The matching chooses nearest points: rounding in another order would make
  # it choose others. So it gets whole levels, and is compiled by itself, and
  # one network gives the same picture in every program.
  levels = jnp.round(masks[..., 0] * 255) / 255
  both = jnp.asarray(garment_masks) > 0, levels
  return lax.optimization_barrier(
    geometry.match_with_reasons(*lax.optimization_barrier(both))
  )


def flow_inputs(
  batch: Batch,
  spline: Float[Array, 'b h w 2'],
  garment_mask: Float[Array, 'b h w 1'],
  coarse: Float[Array, 'b h w 3'],
  *,
  fidelity: Fidelity = 'fixed',
) -> Float[Array, 'b h//2 w//2 38']:
  """The appearance flow network's input, at half the working size.

  Args:
    batch: see `representation.network_inputs`, and `garment_mask` (b, h, w).
    spline: (b, h, w, 2), where the spline's points come from, see
      `geometry.sampling_grid`.
    garment_mask: (b, h, w, 1), where `predict_coarse` puts the garment.
    coarse: (b, h, w, 3) in [-1, 1], as `predict_coarse` gives it.
    fidelity: 'fixed' or 'original'.
  """
  garment = jnp.concatenate(
    [
      to_norm(batch['garment']),
      jnp.asarray(batch['garment_mask'])[..., None].astype(jnp.float32),
    ],
    axis=-1,
  )
  seen = jnp.concatenate(
    [
      garment,
      geometry.sample_bilinear(garment, spline),
      spline,
      garment_mask,
      coarse,
      person_representation(batch, fidelity=fidelity),
    ],
    axis=-1,
  )
  seen = halved(seen)
  b, h, w, _ = garment_mask.shape
  rows, columns = (jnp.linspace(-1.0, 1.0, n // 2) for n in (h, w))
  place = jnp.stack(jnp.meshgrid(columns, rows), axis=-1)
  place = jnp.broadcast_to(place, (b, h // 2, w // 2, 2))
  return jnp.concatenate([seen, place], axis=-1)


def predict_flow(
  variables: Mapping[str, Any],
  batch: Batch,
  control_points: ControlPointArray,
  garment_mask: Float[Array, 'b h w 1'],
  coarse: Float[Array, 'b h w 3'],
  *,
  model: AppearanceFlow,
  photo: Float[Array, 'b h w 7'],
  fidelity: Fidelity = 'fixed',
) -> dict[str, Float[Array, 'b _ _ _']]:
  """How much further the garment's points lie, what is where, and its light.

  Args:
    variables: of the appearance flow network.
    batch, garment_mask, coarse, fidelity: see `flow_inputs`.
    photo: see `representation.photo_channels`; zeros: nothing of it is seen.
    control_points: (b, n * n, 2) x, y in [-1, 1], see `geometry.warp_tps`.
    model: the network.

  Returns:
    `correction` (b, h / 4, w / 4, 2), what is to be added to the spline, see
    `geometry.sampling_grid`; `parts` (b, h, w, 5), logits of
    `representation.parts_of` the result; `light` (b, h / 4, w / 4, 2), of the
    garment and of bare skin, see `composition.gain`; float32.
  """
  b, h, w, _ = garment_mask.shape
  # Not computed again for each of what it is used for, see `warp_tps`.
  spline = lax.optimization_barrier(
    geometry.sampling_grid(jnp.asarray(control_points, jnp.float32), (h, w))
  )
  inputs = flow_inputs(batch, spline, garment_mask, coarse, fidelity=fidelity)
  outputs = model.apply({'params': variables['params']}, inputs, halved(photo))
  correction, parts, light = cast(tuple[Array, Array, Array], outputs)
  parts = jax.image.resize(parts, (b, h, w, NUM_PARTS), 'bilinear')
  return {'correction': correction, 'parts': parts, 'light': light}


def split_parts(
  logits: Float[Array, 'b h w 5'],
) -> tuple[Float[Array, 'b h w 1'], UInt8[Array, 'b h w']]:
  """The garment's probability, and the likeliest of what it is not.

  Args:
    logits: of `representation.parts_of` an image.

  Returns:
    (b, h, w, 1) in 0..1, and a part for each pixel, never the garment's.
  """
  probability = jax.nn.softmax(logits)[..., GARMENT_PART, None]
  others = jnp.where(jnp.arange(NUM_PARTS) == GARMENT_PART, -jnp.inf, logits)
  return probability, jnp.argmax(others, axis=-1).astype(jnp.uint8)


def warp_garment(
  batch: Batch, control_points: ControlPointArray
) -> Float[Array, 'b h w 3']:
  """`batch['garment']` in the person's frame, (b, h, w, 3) in [-1, 1].

  With `correction`, if the batch has it, see `geometry.warp_tps`.
  """
  return _warp(to_norm(batch['garment']), batch, control_points)


def _warp(images, batch: Batch, control_points) -> Array:
  correction = batch.get('correction')
  return geometry.warp_tps(
    images,
    jnp.asarray(control_points, jnp.float32),
    correction=None if correction is None else jnp.asarray(correction),
  )


def bounded_mask(
  garment_mask: Float[Array, 'b h w 1'], *, fidelity: Fidelity
) -> Float[Array, 'b h w 1']:
  """The predicted mask as composition uses it.

  Args:
    garment_mask: (b, h, w, 1) in [-1, 1], as `predict_coarse` gives it.
    fidelity: 'fixed' clips it to [0, 1]; 'original' takes it as it is.
  """
  return garment_mask if fidelity == 'original' else garment_mask.clip(0.0, 1.0)


def compose_changes(
  batch: Batch,
  images: Mapping[str, Array],
  *,
  coarse: Float[Array, 'b h w 3'],
  mask: Float[Array, 'b h w 1'],
) -> tuple[Float[Array, 'b h w 3'], composition.Layers]:
  """Lays the new garment into the photo, which stays where nothing changes.

  Args:
    batch: `person` (b, h, w, 3) in 0..255, `parse` (b, h, w) LIP-20 labels,
      `keypoints` (b, 18, 3), `garment_mask` (b, h, w) 0 or 1, and
      `control_points` and, of an appearance flow network, `correction`,
      `light`, see `predict_flow`, and `beneath`, see `split_parts`.
    images: what `predict_refined` gives.
    coarse: (b, h, w, 3) in [-1, 1].
    mask: (b, h, w, 1) in 0..1; with `beneath` of the same network.

  Returns:
    The try-on in [-1, 1], and its layers, in 0..1.
  """
  regions = composition.find_regions(
    batch['parse'],
    batch['keypoints'],
    mask=mask[..., 0],
    garment_mask=batch['garment_mask'],
    beneath=batch.get('beneath'),
  )
  warped, layers = change_layers(
    batch, images, regions=regions, coarse=coarse, mask=mask
  )
  person = jnp.asarray(batch['person']).astype(jnp.float32) / 255.0
  output = composition.compose(
    person, 0.5 * (coarse + 1.0), warped, layers=layers
  )
  return output.clip(0.0, 1.0) * 2.0 - 1.0, layers


def change_layers(
  batch: Batch,
  images: Mapping[str, Array],
  *,
  regions: composition.Regions,
  coarse: Float[Array, 'b h w 3'],
  mask: Float[Array, 'b h w 1'],
) -> tuple[Float[Array, 'b h w 3'], composition.Layers]:
  """The warped garment and the layers of `compose_changes`, in 0..1.

  Args:
    batch: see `compose_changes`.
    images: what `predict_refined` gives.
    regions: what lies where, see `composition.find_regions`.
    coarse: (b, h, w, 3) in [-1, 1].
    mask: (b, h, w, 1) in 0..1.
  """
  person = jnp.asarray(batch['person']).astype(jnp.float32) / 255.0
  coarse, warped = (0.5 * (x + 1.0) for x in (coarse, images['warped']))
  inner = composition.inner(batch['garment_mask'])
  covered = _warp(
    inner.astype(jnp.float32)[..., None], batch, batch['control_points']
  ).clip(0.0, 1.0)
  warped = composition.spread(warped, covered)
  skin_shading = None
  if 'light' in batch:
    _, h, w, _ = person.shape
    gains = composition.gain(jnp.asarray(batch['light']), (h, w))
    shading, skin_shading = gains[..., :1], gains[..., 1:]
  else:
    inside = jnp.asarray(regions.garment, jnp.float32)[..., None]
    shading = composition.shading_by_coarse(coarse, warped, inside=inside)
  layers = composition.make_layers(
    person,
    jnp.asarray(batch['parse']),
    regions,
    shading=shading,
    skin_shading=skin_shading,
    covered=covered,
    alpha=images['alpha'].clip(0.0, 1.0),
    mask=mask,
  )
  return warped, layers
