"""The networks that losses and validation look at images through."""

from collections.abc import Mapping
import functools
import pathlib
from typing import Any

import jax
from jax.typing import DTypeLike

from viton_jax import losses
from viton_jax.errors import InputError
from viton_jax.metrics import lpips, weights
from viton_jax.models import PatchDiscriminator, vgg19
from viton_jax.perception import model_files

# In the folder of models.
_BACKBONES = {'alex': 'lpips/alexnet.ckpt', 'vgg': 'lpips/vgg16.ckpt'}


def of(
  frozen: Mapping[str, Any],
  critic: Mapping[str, Any] | None,
  *,
  lpips_net: lpips.Net,
  critic_model: PatchDiscriminator | None,
  dtype: DTypeLike,
  remat: bool,
) -> losses.Judges:
  """What a stage's loss takes.

  Args:
    frozen: see `training.stages`.
    critic: parameters of `critic_model`; None or {}: its terms are left out.
    lpips_net: what frozen['loss_lpips'] is.
    critic_model: the discriminator.
    dtype: see `losses.Judges`.
    remat: see `losses.Judges`.
  """

  def discriminator(params) -> Any:
    assert critic_model is not None  # It made these parameters.
    return functools.partial(critic_model.apply, {'params': params})

  return losses.Judges(
    vgg=frozen.get('vgg'),
    lpips=(
      functools.partial(lpips.lpips_norm, frozen['loss_lpips'], net=lpips_net)
      if 'loss_lpips' in frozen
      else None
    ),
    critic=(
      losses.Critic(
        judges=discriminator(jax.lax.stop_gradient(critic)),
        learns=discriminator(critic),
      )
      if critic
      else None
    ),
    dtype=dtype,
    remat=remat,
  )


def read(config: Any) -> dict[str, Any]:
  """What `training.stages` calls `frozen`, but for the encoder-decoder.

  Raises:
    InputError: a file is missing, or not what it should be.
  """
  found = {}
  if config.loss.get('perceptual'):
    if not config.vgg:
      raise InputError(
        f'config.vgg: empty, but config.loss.perceptual is '
        f'{config.loss.perceptual}; {vgg19.WHERE_FROM} Or set '
        '--config.loss.perceptual=0 to train without it.'
      )
    found['vgg'] = vgg19.load(config.vgg, fidelity=config.fidelity)
  if config.loss.get('lpips'):
    found['loss_lpips'] = _read_lpips(
      config.lpips_net, config.lpips_weights, wanted_by='config.loss.lpips'
    )
  if 'lpips' in config.eval.metrics:
    found['lpips'] = _read_lpips(
      'alex', config.eval.lpips_weights, wanted_by='config.eval.metrics'
    )
  return found


def _read_lpips(net: lpips.Net, path: str, *, wanted_by: str) -> dict[str, Any]:
  path = path or str(model_files.models_folder() / _BACKBONES[net])
  if not pathlib.Path(path).is_file():
    raise InputError(
      f"{wanted_by}: 'lpips' needs {path}, which is not there; `python -m "
      'viton_jax.perception fetch lpips` brings it, or leave it out.'
    )
  # A .ckpt has its own heads, the published .pth none.
  heads = model_files.models_folder() / 'lpips_heads' / f'{net}.pth'
  return weights.read_lpips(
    net, path, heads=heads if heads.is_file() else None
  ).params
