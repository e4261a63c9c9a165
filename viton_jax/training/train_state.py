"""The training state, its moving averages and the published optimizer."""

from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
import optax

from viton_jax.models import (
  AppearanceFlow,
  EncoderDecoder,
  PatchDiscriminator,
  Refinement,
)
from viton_jax.representation import (
  NUM_FLOW_CHANNELS,
  NUM_INPUT_CHANNELS,
  NUM_PHOTO_CHANNELS,
)


class TrainState(struct.PyTreeNode):
  """One network in training.

  Attributes:
    step: int32, steps taken.
    params: float32 parameters.
    batch_stats: moving averages of batch normalisation; {} where there is none.
    opt_state: the optimizer's.
    ema: {} or {'params': ..., 'batch_stats': ...}, their moving averages over
      the steps.
    optimizer: what made `opt_state`; part of the type, not of the data.
    ema_decay: weight of the old averages; 0: there are none.
    critic: {} or the discriminator's {'params': ..., 'opt_state': ...}.
  """

  step: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any
  ema: Any
  optimizer: optax.GradientTransformation = struct.field(pytree_node=False)
  ema_decay: float = struct.field(pytree_node=False, default=0.0)
  critic: Any = struct.field(default_factory=dict)

  @property
  def variables(self) -> dict[str, Any]:
    """What `model.apply` takes."""
    return {'params': self.params, 'batch_stats': self.batch_stats}

  @property
  def trained_variables(self) -> dict[str, Any]:
    """What to evaluate and to use: the averages where there are any."""
    return self.ema or self.variables

  @property
  def trained(self) -> dict[str, Any]:
    """Parameters that take gradients: of the network and of the critic."""
    return {'network': self.params, 'critic': self.critic.get('params', {})}

  def apply_gradients(self, grads: Any, batch_stats: Any) -> 'TrainState':
    """The state after one step along `grads`, which are as `trained`."""
    params, opt_state = self._updated(
      grads['network'], self.opt_state, self.params
    )
    critic = {}
    if self.critic:
      moved = self._updated(
        grads['critic'], self.critic['opt_state'], self.critic['params']
      )
      critic = dict(zip(('params', 'opt_state'), moved, strict=True))
    state = self.replace(
      step=self.step + 1,
      params=params,
      batch_stats=batch_stats,
      opt_state=opt_state,
      critic=critic,
    )
    return state.replace(ema=_moved_averages(state)) if self.ema else state

  def _updated(self, grads, opt_state, params):
    updates, opt_state = self.optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state


def create(
  model: EncoderDecoder | Refinement | AppearanceFlow,
  key: jax.Array,
  *,
  size: tuple[int, int] = (256, 192),
  optimizer: optax.GradientTransformation | None = None,
  ema_decay: float = 0.0,
  critic: PatchDiscriminator | None = None,
) -> TrainState:
  """A state at step 0 with random parameters.

  Args:
    model: the network.
    key: of the random parameters.
    size: (h, w) of the images; a size that the network does not take fails.
    optimizer: None: `adam` with the published learning rate.
    ema_decay: of the averages; 0: none.
    critic: the discriminator that trains along, if any.
  """
  if isinstance(model, EncoderDecoder):
    inputs = (jnp.zeros((1, *size, NUM_INPUT_CHANNELS)),)
  elif isinstance(model, AppearanceFlow):
    h, w = size
    inputs = tuple(
      jnp.zeros((1, h // 2, w // 2, channels))
      for channels in (NUM_FLOW_CHANNELS, NUM_PHOTO_CHANNELS)
    )
  else:
    inputs = (jnp.zeros((1, *size, 3)), jnp.zeros((1, *size, 3)))
  # Compiled, so that the network itself is never run: parameters need only
  # its shapes.
  variables = jax.jit(model.init)(key, *inputs)
  state = from_variables(variables, optimizer=optimizer, ema_decay=ema_decay)
  if critic:
    # Another key, so that the network starts as without a critic.
    key = jax.random.fold_in(key, 1)
    params = jax.jit(critic.init)(key, jnp.zeros((1, *size, 3)))['params']
    opt_state = state.optimizer.init(params)
    state = state.replace(critic={'params': params, 'opt_state': opt_state})
  return state


def from_variables(
  variables: dict[str, Any],
  *,
  optimizer: optax.GradientTransformation | None = None,
  ema_decay: float = 0.0,
) -> TrainState:
  """A state at step 0 with given parameters, e.g. converted ones.

  Args:
    variables: `params` and, if the network has them, `batch_stats`.
    optimizer: None: `adam` with the published learning rate.
    ema_decay: of the averages, which start at `variables`; 0: none.
  """
  optimizer = optimizer or adam()
  params = jax.tree.map(jnp.asarray, variables['params'])
  batch_stats = jax.tree.map(jnp.asarray, variables.get('batch_stats', {}))
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    batch_stats=batch_stats,
    opt_state=optimizer.init(params),
    ema={'params': params, 'batch_stats': batch_stats} if ema_decay else {},
    optimizer=optimizer,
    ema_decay=ema_decay,
  )


def _moved_averages(state):
  """The averages after this step.

  The first steps count for more, as in TensorFlow's averages with
  `num_updates`: the random start is forgotten whatever the decay. optax.ema has
  a constant decay (and a correction for a start at zero), so its averages are
  others, and so would be those of a resumed run.
  """
  step = state.step.astype(jnp.float32)
  decay = jnp.minimum(state.ema_decay, (1.0 + step) / (10.0 + step))
  return jax.tree.map(
    lambda average, value: decay * average + (1.0 - decay) * value,
    state.ema,
    {'params': state.params, 'batch_stats': state.batch_stats},
  )


def adam(
  learning_rate: optax.ScalarOrSchedule = 2e-4,
  b1: float = 0.5,
  *,
  b2: float = 0.999,
  eps: float = 1e-8,
) -> optax.GradientTransformation:
  """Adam as TensorFlow 1 has it, with VITON's constants.

  `eps` is added to the square root of the second moment as it stands, before
  the bias correction; Optax's own Adam adds it after. The two differ while
  gradients are small and steps are few.

  References:
    Kingma and Ba, Adam, ICLR 2015, the last paragraph of section 2.
  """
  return optax.chain(
    _scale_by_tf1_adam(b1, b2, eps=eps),
    optax.scale_by_learning_rate(learning_rate),
  )


def _scale_by_tf1_adam(b1, b2, *, eps):
  def init(params):
    return optax.ScaleByAdamState(
      count=jnp.zeros((), jnp.int32),
      mu=jax.tree.map(jnp.zeros_like, params),
      nu=jax.tree.map(jnp.zeros_like, params),
    )

  def update(updates, state, params=None):
    del params
    count = optax.safe_increment(state.count)
    mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, updates)
    nu = jax.tree.map(
      lambda v, g: b2 * v + (1 - b2) * jnp.square(g), state.nu, updates
    )
    t = jnp.asarray(count, jnp.float32)
    correction = jnp.sqrt(1 - b2**t) / (1 - b1**t)
    updates = jax.tree.map(
      lambda m, v: correction * m / (jnp.sqrt(v) + eps), mu, nu
    )
    return updates, optax.ScaleByAdamState(count, mu, nu)

  return optax.GradientTransformation(init, update)
