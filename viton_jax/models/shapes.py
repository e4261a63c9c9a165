"""What variables a network has, without running it."""

from typing import Any

import jax
import jax.numpy as jnp

from viton_jax.models.appearance_flow import AppearanceFlow
from viton_jax.models.encoder_decoder import NUM_DOWNSAMPLES, EncoderDecoder
from viton_jax.models.refinement import Refinement
from viton_jax.representation import (
  NUM_FLOW_CHANNELS,
  NUM_INPUT_CHANNELS,
  NUM_PHOTO_CHANNELS,
)


def abstract_variables(
  network: str, features: int, *, num_downsamples: int = NUM_DOWNSAMPLES
) -> dict[str, Any]:
  """Shapes and types of all variables.

  Args:
    network: 'encoder_decoder', 'refinement' or 'appearance_flow'.
    features: channels of its first convolution.
    num_downsamples: of the encoder-decoder.

  Returns:
    {'params': ..., 'batch_stats': ...} of jax.ShapeDtypeStruct; without
    'batch_stats' but for the encoder-decoder.

  Raises:
    ValueError: an unknown network.
  """
  if network == 'encoder_decoder':
    model = EncoderDecoder(features=features, num_downsamples=num_downsamples)
    channels = (NUM_INPUT_CHANNELS,)
  elif network == 'refinement':
    model, channels = Refinement(features=features), (3, 3)
  elif network == 'appearance_flow':
    model = AppearanceFlow(features=features)
    channels = NUM_FLOW_CHANNELS, NUM_PHOTO_CHANNELS
  else:
    raise ValueError(f'network is {network!r}.')

  def initialise():
    # The smallest; no variable's shape depends on it.
    side = 2**num_downsamples
    inputs = [jnp.zeros((1, side, side, c)) for c in channels]
    return model.init(jax.random.key(0), *inputs)

  return jax.eval_shape(initialise)
