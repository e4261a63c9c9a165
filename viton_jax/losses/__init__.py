"""The losses of both stages, one value for each example.

Every function returns arrays of shape (b,), so that training takes their plain
mean and evaluation can leave padding out. All are computed in float32.

    stages       what each stage's loss is made of, and the weights
    images       distances of an image from the photo
    adversarial  those that a discriminator learns
    flow         of stage 3
"""

from viton_jax.losses.adversarial import Critic, adversarial_terms
from viton_jax.losses.flow import Stage3Weights, stage3_loss
from viton_jax.losses.images import (
  gradient_difference,
  perceptual_distances,
  total_variation,
)
from viton_jax.losses.stages import (
  ImageWeights,
  Judges,
  Stage1Weights,
  Stage2Weights,
  stage1_loss,
  stage2_loss,
)

__all__ = [
  'Critic',
  'ImageWeights',
  'Judges',
  'Stage1Weights',
  'Stage2Weights',
  'Stage3Weights',
  'adversarial_terms',
  'gradient_difference',
  'perceptual_distances',
  'stage1_loss',
  'stage2_loss',
  'stage3_loss',
  'total_variation',
]
