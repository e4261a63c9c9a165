"""Constants of the published losses, for the twins.

Written down again from the paper's code and not taken from viton_jax, so that
the twins are an independent check.
"""

PERCEPTUAL_SCALES = {
  'conv1_2': 2.5 / 5.3,
  'conv2_2': 1.0 / 2.7 / 1.2,
  'conv3_2': 1.0 / 1.35 / 2.3,
  'conv4_2': 1.0 / 0.67 / 8.2,
  'conv5_2': 1.0 / 0.16,
}
PERCEPTUAL_UNIT = 128.0
STAGE1_LAYERS = ('conv1_2', 'conv2_2', 'conv3_2', 'conv4_2', 'conv5_2')
STAGE2_LAYERS = ('conv3_2', 'conv4_2', 'conv5_2')

# Stage 1: mask and picture count once, the perceptual loss three times.
STAGE1_PERCEPTUAL = 3.0
STAGE2_IMAGE = 0.2
STAGE2_PERCEPTUAL = 0.8
STAGE2_ALPHA = 0.1
STAGE2_VARIATION = 5e-6
