"""The training step and the evaluation step, the same for both stages.

A stage (training/stages.py) gives the loss; everything around it stands here:
randomness, gradient accumulation, the means over devices, the optimizer.

Nothing here knows how a batch is spread: with `axis_name` a step runs within a
mapped axis over which the batch is split, and everything it returns is equal
on all devices; without, it has the whole batch. Metrics are (sum, count) pairs
of float32, so that several steps' add up.

Randomness is a function of (seed, state.step) and of an example's place in the
global batch, nothing else.

With `grad_accum_steps` = n a training step goes through its batch in n
micro-batches, one after the other, and updates the parameters once, along the
mean gradient. Micro-batch j of all devices together is examples j * b / n to
(j + 1) * b / n - 1 of the global batch of b; a device's batch holds its share
of micro-batch 0, then of micro-batch 1, and so on. Batch normalisation takes
each micro-batch by itself (over all devices), and its moving averages move once
a step, towards the mean of the micro-batches' statistics. Without batch
normalisation the result is that of the whole batch, but for rounding.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8
import numpy as np
import optax

from viton_jax.metrics import absolute_error, lpips, ssim
from viton_jax.predictions import Batch
from viton_jax.representation import to_uint8
from viton_jax.training import mirroring
from viton_jax.training.stages import Stage
from viton_jax.training.train_state import TrainState

Metrics = dict[str, tuple[jax.Array, jax.Array]]
# Makes another key of the step's than the examples' places do.
_MIRROR = 2**31 - 1


def train_step(
  state: TrainState,
  frozen: Mapping[str, Any],
  batch: Batch,
  *,
  stage: Stage,
  seed: int = 0,
  axis_name: str | None = None,
  grad_accum_steps: int = 1,
  mirror: bool = False,
) -> tuple[TrainState, Metrics]:
  """Updates the parameters once, along the gradient of the mean loss.

  Args:
    state: of the stage's network.
    frozen: what the stage only reads, see `stages`.
    batch: this device's part, see `representation`; uint8 images, float32
      keypoints and control points.
    stage: the stage that trains; its model with the same `axis_name`.
    seed: of the dropout, and of what is mirrored.
    axis_name: the mapped axis over which the batch is split, or None.
    grad_accum_steps: micro-batches of the batch, see the module.
    mirror: whether to mirror every other pair, chosen at random.

  Returns:
    The next state, and (sum, count) of 'loss', of its terms and of
    'gradient_norm'.
  """
  # Not a split of a key in the state: a resumed run draws the same numbers
  # without anything having been saved.
  rng = jax.random.fold_in(jax.random.key(seed), state.step)

  def loss(trained, micro_batch, first_example):
    if mirror:
      micro_batch = mirroring.mirror_some(
        micro_batch,
        jax.random.fold_in(rng, _MIRROR),
        first_example,
        axis_name=axis_name,
      )
    terms, batch_stats = stage.loss(
      trained['network'],
      state.batch_stats,
      frozen,
      micro_batch,
      rng=rng,
      first_example=first_example,
      critic=trained['critic'],
      train=True,
    )
    total = terms['loss']
    if 'critic' in terms:
      # Of other parameters than the rest, so that each follows its own.
      total += terms['critic']
    return total.mean(), (batch_stats, terms)

  grads, batch_stats, terms = _accumulate(
    jax.grad(loss, has_aux=True),
    state,
    batch,
    grad_accum_steps=grad_accum_steps,
    axis_name=axis_name,
  )
  if axis_name is not None:
    grads = lax.pmean(grads, axis_name)
  metrics = _reduce(terms, None, axis_name=axis_name)
  # After the mean, so that it is the norm of what the optimizer gets.
  norm = optax.tree.norm(grads['network'])
  metrics['gradient_norm'] = (norm, jnp.ones(()))
  return state.apply_gradients(grads, batch_stats), metrics


def eval_step(
  state: TrainState,
  frozen: Mapping[str, Any],
  batch: Batch,
  *,
  stage: Stage,
  metrics: Sequence[str] = (),
  axis_name: str | None = None,
) -> Metrics:
  """Loss, terms and metrics of the trained network, (sum, count) each.

  Args:
    state: of the stage's network; its averages are taken where it has any.
    frozen: what the stage only reads.
    batch: this device's part; `valid` (b,) bool, where it is there, marks the
      examples that count.
    stage: the stage that trains.
    metrics: of the network's image against the photo, see `image_metrics`.
    axis_name: the mapped axis over which the batch is split, or None.
  """
  variables = state.trained_variables
  terms, _ = stage.loss(
    variables['params'], variables['batch_stats'], frozen, batch, train=False
  )
  if metrics:
    # The same forward pass as in the loss; XLA computes it once.
    images = stage.images(variables, frozen, batch)
    terms |= image_metrics(
      to_uint8(images[stage.result]),
      batch['person'],
      metrics=metrics,
      frozen=frozen,
    )
  return _reduce(terms, batch.get('valid'), axis_name=axis_name)


def image_metrics(
  images: UInt8[Array | np.ndarray, 'b h w 3'],
  photos: UInt8[Array | np.ndarray, 'b h w 3'],
  *,
  metrics: Sequence[str],
  frozen: Mapping[str, Any],
) -> dict[str, Float[Array, ' b']]:
  """Metrics of each example, of `choices.ValidationMetric`.

  Args:
    images: what the network made.
    photos: what it should have made.
    metrics: 'l1' in grey levels of 255, 'ssim' and 'lpips' (AlexNet).
    frozen: holds 'lpips' where that is one of them.
  """
  found = {}
  if 'l1' in metrics:
    found['l1'] = absolute_error(images, photos)
  if 'ssim' in metrics:
    found['ssim'] = ssim(images, photos, data_range=255.0)
  if 'lpips' in metrics:
    found['lpips'] = lpips.lpips(frozen['lpips'], images, photos, net='alex')
  return found


def _accumulate(
  gradient: Callable,
  state: TrainState,
  batch: Batch,
  *,
  grad_accum_steps: int,
  axis_name: str | None,
):
  """Gradients and statistics, means over the micro-batches, and all terms.

  optax.MultiSteps is no help: it spreads the micro-batches over several calls
  of the step, keeps a running mean in the optimizer's state (other bits, and
  other checkpoints), and knows nothing of batch statistics or of an example's
  place in the whole batch.

  Args:
    gradient: (`state.trained`, micro-batch, place of its first example in the
      global batch) -> (gradients, (batch_stats, terms)).
    state: at whose parameters.
    batch: this device's.
    grad_accum_steps: the number of micro-batches.
    axis_name: the mapped axis, or None.
  """
  if grad_accum_steps == 1:
    grads, (batch_stats, terms) = gradient(state.trained, batch, 0)
    return grads, batch_stats, terms
  micro_batches = jax.tree.map(
    lambda x: x.reshape(grad_accum_steps, -1, *x.shape[1:]), dict(batch)
  )
  size = len(micro_batches['person'][0])
  if axis_name is not None:
    size *= lax.axis_size(axis_name)

  def add_one(totals, number_and_micro_batch):
    number, micro_batch = number_and_micro_batch
    grads, (batch_stats, terms) = gradient(
      state.trained, micro_batch, number * size
    )
    return jax.tree.map(jnp.add, totals, (grads, batch_stats)), terms

  # A scan, not a Python loop: the activations of one micro-batch alone are in
  # memory, and the network is compiled once.
  totals, terms = lax.scan(
    add_one,
    jax.tree.map(jnp.zeros_like, (state.trained, state.batch_stats)),
    (jnp.arange(grad_accum_steps), micro_batches),
  )
  grads, batch_stats = jax.tree.map(lambda x: x / grad_accum_steps, totals)
  return grads, batch_stats, jax.tree.map(lambda x: x.reshape(-1), terms)


def _reduce(terms, valid, *, axis_name) -> Metrics:
  """(b,) values -> (sum, count) over the valid examples of all devices."""
  if valid is None:
    valid = jnp.ones(len(terms['loss']), bool)
  count = valid.sum().astype(jnp.float32)
  metrics = {
    # where, not a product: padding may hold anything, NaN included.
    name: (jnp.where(valid, values, 0.0).sum(), count)
    for name, values in terms.items()
  }
  return metrics if axis_name is None else lax.psum(metrics, axis_name)
