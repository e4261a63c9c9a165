"""Stage 1 as published: the encoder-decoder, 15,000 steps of 16 pairs.

  python -m viton_jax.train --config configs/stage1.py --workdir W1 \\
      --config.data.dir RECORDS --config.vgg imagenet-vgg-verydeep-19.mat

`--config configs/stage1.py:smoke` runs four steps of a tiny network without
VGG19. About 136 GFLOP a picture: an accelerator's work; see docs/training.md.
"""

from configs import defaults


def get_config(arg: str = ''):
  config = defaults.get_config()
  config.stage = 1
  config.num_steps = 15_000
  config.loss.mask = 1.0
  config.loss.image = 1.0
  config.loss.perceptual = 3.0
  config.loss.mask_iou = 0.0
  if arg == 'smoke':
    defaults.shrink_to_smoke(config)
  elif arg:
    raise ValueError(f'configs/stage1.py:{arg}: only :smoke is known')
  return config.lock()
