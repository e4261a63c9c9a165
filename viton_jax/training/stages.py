"""The two training stages, as the training loop sees them.

A stage brings its network, the trained networks that it only reads (`frozen`)
and three pure functions for `parallel` to spread over devices:

    train_step(state, frozen, batch) -> (state, metrics)
    eval_step(state, frozen, batch) -> metrics
    sample_step((state, frozen), batch) -> pictures for a sheet
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from viton_jax import checkpoints, losses, networks
from viton_jax.errors import InputError
from viton_jax.io import contact_sheets
from viton_jax.models import EncoderDecoder, Refinement, vgg19
from viton_jax.representation import garment_region, person_representation
from viton_jax.runtime import parallel
from viton_jax.training import steps
from viton_jax.training.config_dict import ConfigDict
from viton_jax.training.train_state import TrainState

_DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


@dataclasses.dataclass(frozen=True)
class Stage:
  """See the module.

  Attributes:
    network: its name in checkpoints.
    model: the network that trains.
    frozen: {'vgg': ..., 'coarse': ...}, what the steps need of it.
    train_step, eval_step, sample_step: see the module.
    ranges: columns of a sample sheet after the inputs, and the range of each.
  """

  network: str
  model: EncoderDecoder | Refinement
  frozen: dict[str, Any]
  train_step: Callable
  eval_step: Callable
  sample_step: Callable
  ranges: dict[str, tuple[float, float]]

  def columns(
    self, batch: dict[str, np.ndarray], pictures: dict[str, np.ndarray]
  ) -> dict[str, np.ndarray]:
    """The columns of a sample sheet, (n, h, w, 3) uint8 each."""
    drawn = {
      'person': (batch['person'], (0, 255)),
      'garment': (batch['garment'], (0, 255)),
    } | {name: (pictures[name], span) for name, span in self.ranges.items()}
    return {
      name: np.stack([contact_sheets.to_rgb(one, span) for one in many])
      for name, (many, span) in drawn.items()
    }


def build(config: ConfigDict) -> Stage:
  """The stage that a config describes, with what it needs read from disk.

  Raises:
    InputError: an unknown stage, type or fidelity, or a missing file.
  """
  if config.dtype not in _DTYPES:
    raise InputError(
      f'config.dtype: {config.dtype!r} is unknown; set float32 or bfloat16.'
    )
  frozen = {}
  if config.loss.perceptual:
    if not config.vgg:
      raise InputError(
        f'config.vgg: empty, but config.loss.perceptual is '
        f'{config.loss.perceptual}; {vgg19.WHERE_FROM} Or set '
        '--config.loss.perceptual=0 to train without it.'
      )
    frozen['vgg'] = vgg19.load(config.vgg, fidelity=config.fidelity)
  if config.stage == 1:
    return _stage1(config, frozen)
  if config.stage == 2:
    return _stage2(config, frozen)
  raise InputError(f'config.stage: {config.stage!r} is unknown; set 1 or 2.')


def _stage1(config, frozen) -> Stage:
  model = EncoderDecoder(
    features=config.features,
    dtype=_DTYPES[config.dtype],
    axis_name=parallel.AXIS,
    norm_decay=config.norm_decay,
    depth=config.depth,
  )
  common = {
    'model': model,
    'loss_config': losses.Stage1Weights(**config.loss),
    'fidelity': config.fidelity,
    'axis_name': parallel.AXIS,
  }

  def train_step(state, frozen, batch):
    return steps.stage1_train_step(
      state,
      batch,
      vgg=frozen.get('vgg'),
      seed=config.seed,
      accumulate=config.accumulate,
      remat=config.remat,
      **common,
    )

  def eval_step(state, frozen, batch):
    return steps.stage1_eval_step(state, batch, vgg=frozen.get('vgg'), **common)

  def sample_step(variables, batch):
    state, _ = variables
    mask, coarse = networks.predict_coarse(
      state.trained_variables, batch, model=model, fidelity=config.fidelity
    )
    return {
      'input': _input_picture(batch, config.fidelity),
      'coarse': coarse,
      'mask': mask,
      'true mask': garment_region(batch),
    }

  return Stage(
    network='encoder_decoder',
    model=model,
    frozen=frozen,
    train_step=train_step,
    eval_step=eval_step,
    sample_step=sample_step,
    ranges={
      'input': (-1, 1),
      'coarse': (-1, 1),
      'mask': (0, 1),
      'true mask': (0, 1),
    },
  )


def _stage2(config, frozen) -> Stage:
  if not config.coarse_checkpoint:
    raise InputError(
      'config.coarse_checkpoint: empty; stage 2 builds on a trained '
      'encoder-decoder: set it to the workdir of a stage-1 run.'
    )
  coarse = checkpoints.read(config.coarse_checkpoint, 'encoder_decoder')
  if coarse.fidelity != config.fidelity:
    raise InputError(
      f'{coarse.path}: trained with fidelity {coarse.fidelity!r}, the config '
      f'says {config.fidelity!r}; set --config.fidelity={coarse.fidelity}.'
    )
  frozen['coarse'] = coarse.variables
  dtype = _DTYPES[config.dtype]
  model = Refinement(features=config.features, dtype=dtype)
  coarse_model = EncoderDecoder(
    features=coarse.features,
    dtype=dtype,
    axis_name=parallel.AXIS,
    depth=coarse.depth,
  )
  common = {
    'model': model,
    'coarse_model': coarse_model,
    'loss_config': losses.Stage2Weights(**config.loss),
    'fidelity': config.fidelity,
    'axis_name': parallel.AXIS,
  }

  def train_step(state, frozen, batch):
    return steps.stage2_train_step(
      state,
      batch,
      coarse_variables=frozen['coarse'],
      vgg=frozen.get('vgg'),
      seed=config.seed,
      accumulate=config.accumulate,
      remat=config.remat,
      **common,
    )

  def eval_step(state, frozen, batch):
    return steps.stage2_eval_step(
      state,
      batch,
      coarse_variables=frozen['coarse'],
      vgg=frozen.get('vgg'),
      **common,
    )

  def sample_step(variables, batch):
    state, frozen = variables
    mask, coarse = networks.predict_coarse(
      frozen['coarse'], batch, model=coarse_model, fidelity=config.fidelity
    )
    refined = networks.predict_refined(
      state.trained_variables,
      batch,
      batch['control_points'],
      mask,
      coarse,
      model=model,
      fidelity=config.fidelity,
    )
    return {'coarse': coarse, 'mask': mask, **refined}

  return Stage(
    network='refinement',
    model=model,
    frozen=frozen,
    train_step=train_step,
    eval_step=eval_step,
    sample_step=sample_step,
    ranges={
      'coarse': (-1, 1),
      'mask': (0, 1),
      'warped': (-1, 1),
      'alpha': (0, 1),
      'output': (-1, 1),
    },
  )


def _input_picture(batch, fidelity):
  """The person representation as one picture: body, head, joints; [-1, 1]."""
  channels = person_representation(batch, fidelity=fidelity)
  body, head, joints = jnp.split(channels, (1, 4), axis=-1)
  joints = joints.max(axis=-1, keepdims=True)
  return jnp.clip(body - 1.0 + head + joints, -1.0, 1.0)


def warm_start(state: TrainState, path: str, stage: Stage) -> TrainState:
  """Another run's parameters and statistics in a state at step 0.

  Raises:
    InputError: no checkpoint, or one of another network or size.
  """
  checkpoint = checkpoints.read(path, stage.network)
  if checkpoint.features != stage.model.features:
    raise InputError(
      f'{checkpoint.path}: a network of {checkpoint.features} features, the '
      f'config says {stage.model.features}; set '
      f'--config.features={checkpoint.features}.'
    )
  shapes = jax.tree.map(np.shape, checkpoint.variables['params'])
  if shapes != jax.tree.map(np.shape, state.params):
    raise InputError(
      f'{checkpoint.path}: its parameters do not have the shapes of '
      f'{stage.network}; give a checkpoint of this version.'
    )
  variables = {
    'params': checkpoint.variables['params'],
    'batch_stats': checkpoint.variables.get('batch_stats', {}),
  }
  return state.replace(**variables, ema=variables if state.ema else {})
