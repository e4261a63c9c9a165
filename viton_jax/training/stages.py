"""The two training stages: what each optimises, and on top of what.

A stage is a small immutable object. It names the network that trains and gives
its loss as a pure function, which `steps` differentiates and evaluates:

    loss(params, batch_stats, frozen, batch, *, rng, first_example, critic,
         train) -> (terms, batch_stats)
    images(variables, frozen, batch) -> what the network makes, for a sheet

`frozen` holds the trained networks that the stage only reads: 'vgg', what
`vgg19.load` returns, and 'loss_lpips', where these losses count, 'lpips',
AlexNet, where validation measures by it, and in stage 2 'coarse', the
encoder-decoder's variables. It is an argument and no attribute, so that these
arrays lie on the devices once and are not constants of the program.

`critic` are the parameters of the stage's discriminator, or {}: then there is
none, and its terms are left out, as in validation.

`terms` are the loss's terms before weighting, 'loss', their weighted sum, and
'critic', the discriminator's own loss, where there is one; (b,) float32 each.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from viton_jax import checkpoints, losses
from viton_jax.choices import Fidelity
from viton_jax.errors import InputError
from viton_jax.io import contact_sheets
from viton_jax.metrics import lpips
from viton_jax.models import (
  AppearanceFlow,
  EncoderDecoder,
  PatchDiscriminator,
  Refinement,
  compose,
)
from viton_jax.predictions import (
  Batch,
  bounded_mask,
  predict_coarse,
  predict_refined,
  warp_garment,
)
from viton_jax.representation import (
  changed_region,
  garment_region,
  network_inputs,
  person_representation,
  to_norm,
  to_uint8,
)
from viton_jax.runtime import parallel
from viton_jax.training import judges
from viton_jax.training.flow_stage import Stage3
from viton_jax.training.train_state import TrainState

_DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


@dataclasses.dataclass(frozen=True)
class Stage1:
  """Trains the encoder-decoder.

  Attributes:
    model: the encoder-decoder.
    weights: of the loss's terms.
    fidelity: 'fixed' or 'original'.
    remat: compute activations again in the backward pass; saves memory.
    lpips_net: what 'loss_lpips' is, 'alex' or 'vgg'.
    critic: the discriminator, where its terms count.
  """

  model: EncoderDecoder
  weights: losses.Stage1Weights = losses.Stage1Weights()
  fidelity: Fidelity = 'fixed'
  remat: bool = False
  lpips_net: lpips.Net = 'alex'
  critic: PatchDiscriminator | None = None

  network: ClassVar[str] = 'encoder_decoder'
  # Columns of a sample sheet after the inputs, and the range of each.
  ranges: ClassVar[dict[str, tuple[float, float]]] = {
    'input': (-1, 1),
    'coarse': (-1, 1),
    'mask': (0, 1),
    'true mask': (0, 1),
  }
  result: ClassVar[str] = 'coarse'  # Of `images`, what should be the photo.

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
    """Loss of the mask and of the coarse image.

    Args:
      params: of the encoder-decoder.
      batch_stats: its moving averages.
      frozen: may hold 'vgg' and 'loss_lpips'.
      batch: with `parse`, see `representation`.
      rng: key of the dropout; training needs it.
      first_example: place of the batch in a larger one, for the dropout.
      critic: the discriminator's parameters, if any.
      train: normalise by batch statistics, update them and drop out.

    Returns:
      'loss' and the terms of `losses.stage1_loss`, (b,) each; and the next
      moving averages.

    References:
      Han et al., VITON, CVPR 2018, equation 1.
    """
    inputs = network_inputs(batch, fidelity=self.fidelity)
    variables = {'params': params, 'batch_stats': batch_stats}
    if train:
      assert rng is not None  # Training draws the dropout.

      def forward(variables, inputs):
        return self.model.apply(
          variables,
          inputs,
          train=True,
          first_example=first_example,
          mutable=['batch_stats'],
          rngs={'dropout': rng},
        )

      (garment_mask, coarse), updated = _maybe_remat(forward, self.remat)(
        variables, inputs
      )
      batch_stats = updated['batch_stats']
    else:
      # Without `mutable`, what the network returns and nothing else.
      garment_mask, coarse = cast(
        tuple[jax.Array, jax.Array],
        self.model.apply(variables, inputs, train=False),
      )
    total, terms = losses.stage1_loss(
      garment_mask,
      coarse,
      region=garment_region(batch),
      image_norm=to_norm(batch['person']),
      changed=changed_region(batch) if self.weights.kept != 1.0 else None,
      weights=self.weights,
      judges=judges.of(
        frozen,
        critic,
        lpips_net=self.lpips_net,
        critic_model=self.critic,
        dtype=self.model.dtype,
        remat=self.remat and train,
      ),
    )
    return {'loss': total, **terms}, batch_stats

  def images(
    self, variables: Mapping[str, Any], frozen: Mapping[str, Any], batch: Batch
  ) -> dict[str, jax.Array]:
    """The images of `ranges`, (b, h, w, 1 or 3) float32 each."""
    del frozen
    mask, coarse = predict_coarse(
      variables, batch, model=self.model, fidelity=self.fidelity
    )
    return {
      'input': _input_image(batch, self.fidelity),
      'coarse': coarse,
      'mask': mask,
      'true mask': garment_region(batch),
    }


@dataclasses.dataclass(frozen=True)
class Stage2:
  """Trains the refinement network on top of a frozen encoder-decoder.

  In 'fixed' the composition mask is alpha times the predicted garment mask
  within [0, 1], as at try-on time. In 'original' it is alpha times the true
  garment region, although at try-on time nobody knows it.

  Attributes:
    model: the refinement network.
    coarse_model: the encoder-decoder.
    weights: of the loss's terms.
    fidelity: 'fixed' or 'original'.
    remat: compute activations again in the backward pass; saves memory.
    coarse_train_mode: lets the frozen network use batch statistics and dropout
      in training, as the released code does by accident.
    lpips_net: what 'loss_lpips' is, 'alex' or 'vgg'.
    critic: the discriminator, where its terms count.
  """

  model: Refinement
  coarse_model: EncoderDecoder
  weights: losses.Stage2Weights = losses.Stage2Weights()
  fidelity: Fidelity = 'fixed'
  remat: bool = False
  coarse_train_mode: bool = False
  lpips_net: lpips.Net = 'alex'
  critic: PatchDiscriminator | None = None

  network: ClassVar[str] = 'refinement'
  # Columns of a sample sheet after the inputs, and the range of each.
  ranges: ClassVar[dict[str, tuple[float, float]]] = {
    'coarse': (-1, 1),
    'mask': (0, 1),
    'warped': (-1, 1),
    'alpha': (0, 1),
    'output': (-1, 1),
  }
  result: ClassVar[str] = 'output'

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
    """Loss of the composed image and of its mask.

    Args:
      params: of the refinement network.
      batch_stats: {}: it has none.
      frozen: holds 'coarse' and may hold 'vgg' and 'loss_lpips'.
      batch: with `parse` and `control_points`, see `representation`.
      rng: key of the frozen network's dropout with `coarse_train_mode`.
      first_example: place of the batch in a larger one, for that dropout.
      critic: the discriminator's parameters, if any.
      train: recompute activations if `remat`, see `coarse_train_mode`.

    Returns:
      'loss' and the terms of `losses.stage2_loss`, (b,) each; and
      `batch_stats`.

    References:
      Han et al., VITON, CVPR 2018, equation 4.
    """
    if train and self.coarse_train_mode:
      assert rng is not None  # As in stage 1.
      (garment_mask, coarse), _ = self.coarse_model.apply(
        frozen['coarse'],
        network_inputs(batch, fidelity=self.fidelity),
        train=True,
        first_example=first_example,
        mutable=['batch_stats'],
        rngs={'dropout': rng},
      )
    else:
      garment_mask, coarse = predict_coarse(
        frozen['coarse'],
        batch,
        model=self.coarse_model,
        fidelity=self.fidelity,
      )
    warped = warp_garment(batch, batch['control_points'])

    def forward(params, warped, coarse):
      return self.model.apply({'params': params}, warped, coarse)

    mask = self._composition_mask(batch, garment_mask)
    alpha = mask * _maybe_remat(forward, self.remat and train)(
      params, warped, coarse
    )
    total, terms = losses.stage2_loss(
      compose(alpha, warped, coarse),
      alpha,
      image_norm=to_norm(batch['person']),
      changed=changed_region(batch) if self.weights.kept != 1.0 else None,
      weights=self.weights,
      judges=judges.of(
        frozen,
        critic,
        lpips_net=self.lpips_net,
        critic_model=self.critic,
        dtype=self.model.dtype,
        remat=self.remat and train,
      ),
    )
    return {'loss': total, **terms}, batch_stats

  def _composition_mask(self, batch, garment_mask):
    if self.fidelity == 'original':
      return garment_region(batch)
    return bounded_mask(garment_mask, fidelity=self.fidelity)

  def images(
    self, variables: Mapping[str, Any], frozen: Mapping[str, Any], batch: Batch
  ) -> dict[str, jax.Array]:
    """The images of `ranges`, (b, h, w, 1 or 3) float32 each."""
    mask, coarse = predict_coarse(
      frozen['coarse'], batch, model=self.coarse_model, fidelity=self.fidelity
    )
    refined = predict_refined(
      variables,
      batch,
      batch['control_points'],
      mask,
      coarse,
      model=self.model,
      fidelity=self.fidelity,
    )
    return {'coarse': coarse, 'mask': mask, **refined}


Stage = Stage1 | Stage2 | Stage3


_WEIGHTS = {
  1: losses.Stage1Weights,
  2: losses.Stage2Weights,
  3: losses.Stage3Weights,
}


def build(config: Any) -> tuple[Stage, dict[str, Any]]:
  """The stage that a config describes, and its `frozen`, read from disk.

  Raises:
    InputError: an unknown stage, type or fidelity, or a missing file.
  """
  if config.dtype not in _DTYPES:
    raise InputError(
      f'config.dtype: {config.dtype!r} is unknown; set float32 or bfloat16.'
    )
  if config.stage not in _WEIGHTS:
    raise InputError(
      f'config.stage: {config.stage!r} is unknown; set 1, 2 or 3.'
    )
  dtype = _DTYPES[config.dtype]
  frozen = judges.read(config)
  common: dict[str, Any] = {
    'weights': _WEIGHTS[config.stage](**config.loss),
    'fidelity': config.fidelity,
    'remat': config.remat,
  }
  if config.stage != 3:
    common['lpips_net'] = config.lpips_net
  if getattr(common['weights'], 'critic', False):
    common['critic'] = PatchDiscriminator(features=config.features, dtype=dtype)
  if config.stage == 1:
    return Stage1(
      model=EncoderDecoder(
        features=config.features,
        dtype=dtype,
        axis_name=parallel.AXIS,
        bn_momentum=config.bn_momentum,
        num_downsamples=config.num_downsamples,
      ),
      **common,
    ), frozen

  if not config.coarse_checkpoint:
    raise InputError(
      f'config.coarse_checkpoint: empty; stage {config.stage} builds on a '
      'trained encoder-decoder: set it to the workdir of a stage-1 run.'
    )
  coarse = checkpoints.read(config.coarse_checkpoint, 'encoder_decoder')
  if coarse.fidelity != config.fidelity:
    raise InputError(
      f'{coarse.path}: trained with fidelity {coarse.fidelity!r}, the config '
      f'says {config.fidelity!r}; set --config.fidelity={coarse.fidelity}.'
    )
  frozen['coarse'] = coarse.variables
  # Features and downsamples are those of the checkpoint, whatever the config
  # says: it describes the network that trains.
  common['coarse_model'] = EncoderDecoder(
    features=coarse.features,
    dtype=dtype,
    axis_name=parallel.AXIS,
    num_downsamples=coarse.num_downsamples,
  )
  if config.stage == 2:
    model = Refinement(features=config.features, dtype=dtype)
    return Stage2(model=model, **common), frozen
  model = AppearanceFlow(features=config.features, dtype=dtype)
  common['match_prediction'] = config.match_prediction
  return Stage3(model=model, **common), frozen


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


def sheet(
  stage: Stage, batch: dict[str, np.ndarray], images: dict[str, np.ndarray]
) -> np.ndarray:
  """A contact sheet of examples, (h, w, 3) uint8: a row for each.

  Args:
    stage: whose `ranges` name the columns.
    batch: the examples.
    images: what `stage.images` made of them.
  """
  columns = {
    'person': (batch['person'], (0, 255)),
    'garment': (batch['garment'], (0, 255)),
  } | {name: (images[name], span) for name, span in stage.ranges.items()}
  return contact_sheets.contact_sheet(
    {
      name: to_uint8(np.asarray(many), span)
      for name, (many, span) in columns.items()
    }
  )


def _input_image(batch, fidelity):
  """The person representation as one image: body, head, joints; [-1, 1]."""
  channels = person_representation(batch, fidelity=fidelity)
  body, head, joints = jnp.split(channels, (1, 4), axis=-1)
  joints = joints.max(axis=-1, keepdims=True)
  return jnp.clip(body - 1.0 + head + joints, -1.0, 1.0)


def _maybe_remat(function: Callable, remat: bool) -> Callable:
  return jax.checkpoint(function) if remat else function
