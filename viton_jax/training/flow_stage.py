"""The third training stage: the appearance flow network.

It goes on from a trained encoder-decoder, and sees garments as try-on does:
matched to the predicted mask. Or it takes the control points of the data, which
were fitted to the true region, and moves them about at random.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any, ClassVar

import jax
from jax import lax
import jax.numpy as jnp

from viton_jax import composition, geometry, losses
from viton_jax.choices import Fidelity
from viton_jax.models import AppearanceFlow, EncoderDecoder
from viton_jax.predictions import (
  Batch,
  bounded_mask,
  match_predicted,
  predict_coarse,
  predict_flow,
  split_parts,
)
from viton_jax.representation import (
  GARMENT_PART,
  parts_of,
  photo_channels,
  to_norm,
)

# Standard deviation of a control point's random move, [-1, 1] being the
# garment's photo, and how many points a side move together.
_JITTER = 0.04
_JITTER_GRID = 4


@dataclasses.dataclass(frozen=True)
class Stage3:
  """Trains the appearance flow network on top of a frozen encoder-decoder.

  Attributes:
    model: the appearance flow network.
    coarse_model: the encoder-decoder.
    weights: of the loss's terms.
    fidelity: 'fixed' or 'original'.
    remat: compute activations again in the backward pass; saves memory.
    match_prediction: match garments to predicted masks; False: move the data's
      control points about.
  """

  model: AppearanceFlow
  coarse_model: EncoderDecoder
  weights: losses.Stage3Weights = losses.Stage3Weights()
  fidelity: Fidelity = 'fixed'
  remat: bool = False
  match_prediction: bool = False

  network: ClassVar[str] = 'appearance_flow'
  critic: ClassVar[None] = None
  # Columns of a sample sheet after the inputs, and the range of each.
  ranges: ClassVar[dict[str, tuple[float, float]]] = {
    'mask': (0, 1),
    'spline': (-1, 1),
    'warped': (-1, 1),
    'region': (0, 1),
    'laid': (-1, 1),
  }
  result: ClassVar[str] = 'laid'

  def loss(
    self,
    params: Any,
    batch_stats: Any,
    frozen: Mapping[str, Any],
    batch: Batch,
    *,
    rng: jax.Array | None = None,
    first_example: jax.Array | int = 0,
    critic: Mapping[str, Any] | None = None,
    train: bool,
  ) -> tuple[dict[str, jax.Array], Any]:
    """Loss of the flow, of the parts and of the light.

    Args:
      params: of the appearance flow network.
      batch_stats: {}: it has none.
      frozen: holds 'coarse'.
      batch: with `parse`, `control_points`, `garment_mask` and, where it is
        known, `flow`, `photo` and `photo_parse`, see
        `input_pipeline.sample.training_example`.
      rng: key of the control points' moves, for training with them.
      first_example: place of the batch in a larger one, for these.
      critic: none.
      train: maybe move the control points; recompute activations if `remat`.

    Returns:
      'loss' and the terms of `losses.stage3_loss`, (b,) each; and
      `batch_stats`.
    """
    del critic
    mask, coarse = self._coarse(frozen, batch)
    points = self._points(batch, mask)
    if train and not self.match_prediction:
      assert rng is not None  # Training moves the points.
      points += self._moves(rng, first_example, points.shape)
    size = mask.shape[1], mask.shape[2]

    def forward(params):
      return self._predict({'params': params}, batch, points, mask, coarse)

    found = (jax.checkpoint(forward) if self.remat else forward)(params)
    positions = geometry.sampling_grid(
      points, size, correction=found['correction']
    )
    # Where no term follows the gradient XLA takes long to find that it is 0.
    fixed = lax.stop_gradient(positions)
    flow = batch.get('flow')
    photo, photo_parse = _photo(batch)
    skin, _ = composition.continued(
      photo.astype(jnp.float32) / 255.0, photo_parse, composition.BARE
    )
    total, terms = losses.stage3_loss(
      found,
      positions,
      geometry.sample_bilinear(
        to_norm(batch['garment']), positions if self.weights.warped else fixed
      ),
      covered=geometry.sample_bilinear(_garment_mask(batch), fixed),
      parts=parts_of(batch['parse']),
      image_norm=to_norm(batch['person']),
      skin=skin,
      garment_before=parts_of(photo_parse) == GARMENT_PART,
      flow=None if flow is None else jnp.asarray(flow),
      weights=self.weights,
    )
    return {'loss': total, **terms}, batch_stats

  def _coarse(self, frozen, batch):
    mask, coarse = predict_coarse(
      frozen['coarse'], batch, model=self.coarse_model, fidelity=self.fidelity
    )
    return bounded_mask(mask, fidelity='fixed'), coarse

  def _points(self, batch, mask):
    """Control points (b, 100, 2), before moves."""
    fitted = jnp.asarray(batch['control_points'])
    if not self.match_prediction:
      return fitted
    matched, reason = match_predicted(batch['garment_mask'], mask)
    return jnp.where((reason == 0)[:, None, None], matched, fitted)

  def _predict(self, variables, batch, points, mask, coarse):
    return predict_flow(
      variables,
      batch,
      points,
      mask,
      coarse,
      model=self.model,
      photo=photo_channels(*_photo(batch)),
      fidelity=self.fidelity,
    )

  def _moves(self, rng, first_example, shape):
    """Smooth random moves, the same ones however the batch is split."""
    count, points, _ = shape
    side = round(points**0.5)
    axis, first = self.coarse_model.axis_name, first_example
    if axis is not None:
      first += lax.axis_index(axis) * count
    few = jax.vmap(
      lambda i: jax.random.normal(
        jax.random.fold_in(rng, i), (_JITTER_GRID**2 * 2,)
      )
    )(first + jnp.arange(count))
    few = few.reshape(count, _JITTER_GRID, _JITTER_GRID, 2)
    many = jax.image.resize(few, (count, side, side, 2), 'bilinear')
    return _JITTER * many.reshape(shape)

  def images(
    self, variables: Mapping[str, Any], frozen: Mapping[str, Any], batch: Batch
  ) -> dict[str, jax.Array]:
    """The images of `ranges`, (b, h, w, 1 or 3) float32 each."""
    mask, coarse = self._coarse(frozen, batch)
    points = self._points(batch, mask)
    found = self._predict(variables, batch, points, mask, coarse)
    garment = to_norm(batch['garment'])
    warped = geometry.warp_tps(garment, points, correction=found['correction'])
    region, _ = split_parts(found['parts'])
    _, h, w, _ = mask.shape
    shading = composition.gain(found['light'], (h, w))[..., :1]
    lit = ((warped + 1.0) * shading - 1.0).clip(-1.0, 1.0)
    return {
      'mask': mask,
      'spline': geometry.warp_tps(garment, points),
      'warped': warped,
      'region': region,
      'laid': region * lit + (1.0 - region) * to_norm(batch['person']),
    }


def _photo(batch):
  """The photo before the exchange, (b, h, w, 3), and its labels (b, h, w).

  Both 0 where there was none: the true image gives away what is asked.
  """
  photo = batch.get('photo', jnp.zeros_like(batch['person']))
  parse = batch.get('photo_parse', jnp.zeros_like(batch['parse']))
  return jnp.asarray(photo), jnp.asarray(parse)


def _garment_mask(batch):
  """(b, h, w, 1) float32, 0 or 1, of the flat garment."""
  return jnp.asarray(batch['garment_mask'], jnp.float32)[..., None]
