"""The two networks of a try-on as pure functions of (variables, batch).

Training, validation, batch inference and export call these; `engine` runs the
compiled functions of a whole try-on.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from viton_jax import geometry
from viton_jax.models import EncoderDecoder, Refinement, compose
from viton_jax.representation import network_inputs, to_norm

Batch = Mapping[str, jax.Array]


def predict_coarse(
  variables: Mapping[str, Any],
  batch: Batch,
  *,
  model: EncoderDecoder,
  fidelity: str = 'fixed',
) -> tuple[jax.Array, jax.Array]:
  """Garment mask (b, h, w, 1) and coarse image (b, h, w, 3), in [-1, 1].

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
  """Warps the garment and composes it with the coarse image.

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
  alpha *= bounded_mask(garment_mask, fidelity=fidelity)
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


def bounded_mask(garment_mask: jax.Array, *, fidelity: str) -> jax.Array:
  """The predicted mask as composition uses it.

  Args:
    garment_mask: (b, h, w, 1) in [-1, 1], as `predict_coarse` gives it.
    fidelity: 'fixed' clips it to [0, 1]; 'original' takes it as it is.
  """
  return garment_mask if fidelity == 'original' else garment_mask.clip(0.0, 1.0)
