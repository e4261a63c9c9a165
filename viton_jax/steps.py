"""Pure training, evaluation and prediction steps of both stages.

Nothing here knows how a batch is spread: with `axis_name` a step runs within a
mapped axis over which the batch is split, and everything it returns is equal
on all devices; without, it has the whole batch. Metrics are (sum, count) pairs
of float32, so that several steps' add up.

Randomness is a function of (seed, state.step) and of an example's place in the
global batch, nothing else.
"""

from collections.abc import Mapping
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
import optax

from viton_jax import geometry, losses
from viton_jax.models import EncoderDecoder, Refinement, compose
from viton_jax.representation import garment_region, network_inputs, to_norm
from viton_jax.train_state import TrainState

Batch = Mapping[str, jax.Array]
Metrics = dict[str, tuple[jax.Array, jax.Array]]


def stage1_train_step(
    state: TrainState,
    batch: Batch,
    *,
    model: EncoderDecoder,
    loss_config: Any = losses.Stage1Weights(),  # noqa: B008 - frozen
    fidelity: str = 'fixed',
    vgg: Mapping[str, Any] | None = None,
    seed: int = 0,
    axis_name: str | None = None,
) -> tuple[TrainState, Metrics]:
  """One step of the encoder-decoder.

  Args:
    state: of the encoder-decoder.
    batch: this device's part, see `representation`; with `parse`.
    model: with the same `axis_name`.
    loss_config: has the fields of `losses.Stage1Weights`.
    fidelity: 'fixed' or 'original'.
    vgg: what `vgg19.load` returns; needed if the perceptual loss counts.
    seed: of the dropout.
    axis_name: the mapped axis over which the batch is split, or None.

  Returns:
    The next state, and 'loss', its terms and 'gradient_norm'.
  """
  inputs = network_inputs(batch, fidelity=fidelity)
  dropout = _dropout_key(seed, state.step)

  def loss(params):
    (garment_mask, coarse), updated = model.apply(
        {'params': params, 'batch_stats': state.batch_stats},
        inputs,
        train=True,
        mutable=['batch_stats'],
        rngs={'dropout': dropout},
    )
    total, terms = _stage1_loss(
        garment_mask, coarse, batch, model=model, weights=loss_config, vgg=vgg
    )
    return total.mean(), (updated['batch_stats'], {'loss': total, **terms})

  grads, (batch_stats, terms) = jax.grad(loss, has_aux=True)(state.params)
  return _finish(state, grads, batch_stats, terms, axis_name=axis_name)


def stage1_eval_step(
    state: TrainState,
    batch: Batch,
    *,
    model: EncoderDecoder,
    loss_config: Any = losses.Stage1Weights(),  # noqa: B008 - frozen
    fidelity: str = 'fixed',
    vgg: Mapping[str, Any] | None = None,
    axis_name: str | None = None,
) -> Metrics:
  """Stage 1's loss and terms over the examples that `batch['valid']` marks."""
  garment_mask, coarse = predict_coarse(
      state.variables, batch, model=model, fidelity=fidelity
  )
  total, terms = _stage1_loss(
      garment_mask, coarse, batch, model=model, weights=loss_config, vgg=vgg
  )
  return _reduce(
      {'loss': total, **terms}, batch.get('valid'), axis_name=axis_name
  )


def stage2_train_step(
    state: TrainState,
    batch: Batch,
    *,
    model: Refinement,
    coarse_model: EncoderDecoder,
    coarse_variables: Mapping[str, Any],
    loss_config: Any = losses.Stage2Weights(),  # noqa: B008 - frozen
    fidelity: str = 'fixed',
    coarse_train_mode: bool = False,
    vgg: Mapping[str, Any] | None = None,
    seed: int = 0,
    axis_name: str | None = None,
) -> tuple[TrainState, Metrics]:
  """One step of the refinement network on top of a frozen encoder-decoder.

  In 'fixed' the composition mask is alpha times the predicted garment mask
  within [0, 1], as at try-on time. In 'original' it is alpha times the true
  garment region, although at try-on time nobody knows it.

  Args:
    state: of the refinement network.
    batch: this device's part; with `parse` and `control_points`.
    model: the refinement network.
    coarse_model: the encoder-decoder, with the same `axis_name`.
    coarse_variables: its variables; they do not change.
    loss_config: has the fields of `losses.Stage2Weights`.
    fidelity: 'fixed' or 'original'.
    coarse_train_mode: lets the frozen network use batch statistics and dropout,
      as the released code does by accident.
    vgg: what `vgg19.load` returns; needed if the perceptual loss counts.
    seed: of that dropout.
    axis_name: the mapped axis over which the batch is split, or None.

  Returns:
    The next state, and 'loss', its terms and 'gradient_norm'.
  """
  if coarse_train_mode:
    (garment_mask, coarse), _ = coarse_model.apply(
        coarse_variables,
        network_inputs(batch, fidelity=fidelity),
        train=True,
        mutable=['batch_stats'],
        rngs={'dropout': _dropout_key(seed, state.step)},
    )
  else:
    garment_mask, coarse = predict_coarse(
        coarse_variables, batch, model=coarse_model, fidelity=fidelity
    )
  warped = warp_garment(batch, batch['control_points'])
  mask = _training_mask(batch, garment_mask, fidelity=fidelity)

  def loss(params):
    alpha = mask * model.apply({'params': params}, warped, coarse)
    total, terms = losses.stage2_loss(
        compose(alpha, warped, coarse),
        alpha,
        image_norm=to_norm(batch['person']),
        weights=loss_config,
        vgg=vgg,
        dtype=model.dtype,
    )
    return total.mean(), {'loss': total, **terms}

  grads, terms = jax.grad(loss, has_aux=True)(state.params)
  return _finish(state, grads, state.batch_stats, terms, axis_name=axis_name)


def stage2_eval_step(
    state: TrainState,
    batch: Batch,
    *,
    model: Refinement,
    coarse_model: EncoderDecoder,
    coarse_variables: Mapping[str, Any],
    loss_config: Any = losses.Stage2Weights(),  # noqa: B008 - frozen
    fidelity: str = 'fixed',
    vgg: Mapping[str, Any] | None = None,
    axis_name: str | None = None,
) -> Metrics:
  """Stage 2's loss and terms over the examples that `batch['valid']` marks."""
  garment_mask, coarse = predict_coarse(
      coarse_variables, batch, model=coarse_model, fidelity=fidelity
  )
  pictures = predict_refined(
      state.variables,
      batch,
      batch['control_points'],
      _training_mask(batch, garment_mask, fidelity=fidelity),
      coarse,
      model=model,
      fidelity=fidelity,
  )
  total, terms = losses.stage2_loss(
      pictures['output'],
      pictures['alpha'],
      image_norm=to_norm(batch['person']),
      weights=loss_config,
      vgg=vgg,
      dtype=model.dtype,
  )
  return _reduce(
      {'loss': total, **terms}, batch.get('valid'), axis_name=axis_name
  )


def predict_coarse(
    variables: Mapping[str, Any],
    batch: Batch,
    *,
    model: EncoderDecoder,
    fidelity: str = 'fixed',
) -> tuple[jax.Array, jax.Array]:
  """Garment mask (b, h, w, 1) and coarse picture (b, h, w, 3), in [-1, 1].

  Args:
    variables: of the encoder-decoder.
    batch: see `representation.network_inputs`.
    model: the encoder-decoder.
    fidelity: 'fixed' or 'original'.
  """
  inputs = network_inputs(batch, fidelity=fidelity)
  return model.apply(variables, inputs, train=False)


def predict_refined(
    variables: Mapping[str, Any],
    batch: Batch,
    control_points: jax.Array,
    garment_mask: jax.Array,
    coarse: jax.Array,
    *,
    model: Refinement,
    fidelity: str = 'fixed',
) -> dict[str, jax.Array]:
  """Warps the garment and lays it into the coarse picture.

  Args:
    variables: of the refinement network.
    batch: `garment` (b, h, w, 3) in 0..255; more is ignored.
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
  alpha *= _bounded(garment_mask, fidelity=fidelity)
  return {
      'warped': warped,
      'alpha': alpha,
      'output': compose(alpha, warped, coarse),
  }


def warp_garment(batch: Batch, control_points: jax.Array) -> jax.Array:
  """`batch['garment']` in the person's frame, (b, h, w, 3) in [-1, 1]."""
  return geometry.warp_tps(
      to_norm(batch['garment']), control_points.astype(jnp.float32)
  )


def _stage1_loss(garment_mask, coarse, batch, *, model, weights, vgg):
  return losses.stage1_loss(
      garment_mask,
      coarse,
      region=garment_region(batch),
      image_norm=to_norm(batch['person']),
      weights=weights,
      vgg=vgg,
      dtype=model.dtype,
  )


def _training_mask(batch, garment_mask, *, fidelity):
  if fidelity == 'original':
    return garment_region(batch)
  return _bounded(garment_mask, fidelity=fidelity)


def _bounded(garment_mask, *, fidelity):
  return garment_mask if fidelity == 'original' else garment_mask.clip(0.0, 1.0)


def _dropout_key(seed, step):
  return jax.random.fold_in(jax.random.key(seed), step)


def _finish(state, grads, batch_stats, terms, *, axis_name):
  """Means over the global batch, then the optimiser's step."""
  if axis_name is not None:
    grads = lax.pmean(grads, axis_name)
  metrics = _reduce(terms, None, axis_name=axis_name)
  metrics['gradient_norm'] = (optax.tree.norm(grads), jnp.ones(()))
  return state.apply_gradients(grads, batch_stats), metrics


def _reduce(terms, valid, *, axis_name):
  """(b,) values -> (sum, count) over the valid examples of all devices."""
  if valid is None:
    valid = jnp.ones(len(terms['loss']), bool)
  count = valid.sum().astype(jnp.float32)
  metrics = {
      name: (jnp.where(valid, values, 0.0).sum(), count)
      for name, values in terms.items()
  }
  return metrics if axis_name is None else lax.psum(metrics, axis_name)
