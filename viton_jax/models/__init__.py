"""The networks, as pure Flax Linen modules and functions."""

from viton_jax.models import vgg19
from viton_jax.models.appearance_flow import AppearanceFlow
from viton_jax.models.encoder_decoder import EncoderDecoder
from viton_jax.models.patch_discriminator import PatchDiscriminator
from viton_jax.models.refinement import Refinement, compose

__all__ = [
  'AppearanceFlow',
  'EncoderDecoder',
  'PatchDiscriminator',
  'Refinement',
  'compose',
  'vgg19',
]
