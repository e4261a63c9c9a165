"""Pure training, evaluation and prediction steps of both stages.

Nothing here knows how a batch is spread: with `axis_name` a step runs within a
mapped axis over which the batch is split, and everything it returns is equal
on all devices; without, it has the whole batch. Metrics are (sum, count) pairs
of float32, so that several steps' add up.

Randomness is a function of (seed, state.step) and of an example's place in the
global batch, nothing else.

With `accumulate` = n a training step goes through its batch in n parts, one
after the other, and moves the parameters once, along the mean gradient. Part j
of all devices together are examples j * b / n to (j + 1) * b / n - 1 of the
global batch of b; a device's batch holds its share of part 0, then of part 1,
and so on. Batch normalisation takes each part by itself (over all devices), and
its moving averages move once a step, towards the mean of the parts' statistics.
Without batch normalisation the result is that of the whole batch, but for
rounding.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
import optax

from viton_jax import losses
from viton_jax.models import EncoderDecoder, Refinement, compose
from viton_jax.networks import (
  bounded_mask,
  predict_coarse,
  predict_refined,
  warp_garment,
)
from viton_jax.representation import garment_region, network_inputs, to_norm
from viton_jax.training.train_state import TrainState

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
  accumulate: int = 1,
  remat: bool = False,
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
    accumulate: parts of the batch, see the module.
    remat: compute activations again in the backward pass; saves memory.

  Returns:
    The next state, and 'loss', its terms and 'gradient_norm'.
  """
  dropout = _dropout_key(seed, state.step)

  def loss(params, part, first_example):
    def forward(params, inputs):
      return model.apply(
        {'params': params, 'batch_stats': state.batch_stats},
        inputs,
        train=True,
        first_example=first_example,
        mutable=['batch_stats'],
        rngs={'dropout': dropout},
      )

    (garment_mask, coarse), updated = _maybe_remat(forward, remat)(
      params, network_inputs(part, fidelity=fidelity)
    )
    total, terms = _stage1_loss(
      garment_mask,
      coarse,
      part,
      model=model,
      weights=loss_config,
      vgg=vgg,
      remat=remat,
    )
    return total.mean(), (updated['batch_stats'], {'loss': total, **terms})

  grads, batch_stats, terms = _gradients(
    loss, state, batch, accumulate=accumulate, axis_name=axis_name
  )
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
    state.trained_variables, batch, model=model, fidelity=fidelity
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
  accumulate: int = 1,
  remat: bool = False,
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
    accumulate: parts of the batch, see the module.
    remat: compute activations again in the backward pass; saves memory.

  Returns:
    The next state, and 'loss', its terms and 'gradient_norm'.
  """

  def frozen_coarse(part, first_example):
    if not coarse_train_mode:
      return predict_coarse(
        coarse_variables, part, model=coarse_model, fidelity=fidelity
      )
    outputs, _ = coarse_model.apply(
      coarse_variables,
      network_inputs(part, fidelity=fidelity),
      train=True,
      first_example=first_example,
      mutable=['batch_stats'],
      rngs={'dropout': _dropout_key(seed, state.step)},
    )
    return outputs

  def loss(params, part, first_example):
    garment_mask, coarse = frozen_coarse(part, first_example)
    warped = warp_garment(part, part['control_points'])
    mask = _training_mask(part, garment_mask, fidelity=fidelity)

    def forward(params, warped, coarse):
      return model.apply({'params': params}, warped, coarse)

    alpha = mask * _maybe_remat(forward, remat)(params, warped, coarse)
    total, terms = losses.stage2_loss(
      compose(alpha, warped, coarse),
      alpha,
      image_norm=to_norm(part['person']),
      weights=loss_config,
      vgg=vgg,
      dtype=model.dtype,
      remat=remat,
    )
    return total.mean(), (state.batch_stats, {'loss': total, **terms})

  grads, batch_stats, terms = _gradients(
    loss, state, batch, accumulate=accumulate, axis_name=axis_name
  )
  return _finish(state, grads, batch_stats, terms, axis_name=axis_name)


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
    state.trained_variables,
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


def _stage1_loss(
  garment_mask, coarse, batch, *, model, weights, vgg, remat=False
):
  return losses.stage1_loss(
    garment_mask,
    coarse,
    region=garment_region(batch),
    image_norm=to_norm(batch['person']),
    weights=weights,
    vgg=vgg,
    dtype=model.dtype,
    remat=remat,
  )


def _training_mask(batch, garment_mask, *, fidelity):
  if fidelity == 'original':
    return garment_region(batch)
  return bounded_mask(garment_mask, fidelity=fidelity)


def _dropout_key(seed, step):
  return jax.random.fold_in(jax.random.key(seed), step)


def _maybe_remat(function: Callable, remat: bool) -> Callable:
  return jax.checkpoint(function) if remat else function


def _gradients(loss, state, batch, *, accumulate, axis_name):
  """Gradients and statistics, means over the parts, and terms of each example.

  Args:
    loss: (params, part, place of its first example in the global batch) ->
      (mean, (batch_stats, terms)).
    state: whose parameters to derive by.
    batch: this device's.
    accumulate: the number of parts.
    axis_name: the mapped axis, or None.
  """
  gradient = jax.grad(loss, has_aux=True)
  if accumulate == 1:
    grads, (batch_stats, terms) = gradient(state.params, batch, 0)
    return grads, batch_stats, terms
  parts = jax.tree.map(
    lambda x: x.reshape(accumulate, -1, *x.shape[1:]), dict(batch)
  )
  size = len(parts['person'][0])
  if axis_name is not None:
    size *= lax.axis_size(axis_name)

  def one_part(totals, number_and_part):
    number, part = number_and_part
    grads, (batch_stats, terms) = gradient(state.params, part, number * size)
    return jax.tree.map(jnp.add, totals, (grads, batch_stats)), terms

  totals, terms = lax.scan(
    one_part,
    jax.tree.map(jnp.zeros_like, (state.params, state.batch_stats)),
    (jnp.arange(accumulate), parts),
  )
  grads, batch_stats = jax.tree.map(lambda x: x / accumulate, totals)
  return grads, batch_stats, jax.tree.map(lambda x: x.reshape(-1), terms)


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
