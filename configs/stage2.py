"""Stage 2 as published: the refinement network, 6,000 steps of 16 pairs.

  python -m viton_jax.train --config configs/stage2.py --workdir W2 \\
      --config.data.dir RECORDS --config.coarse_checkpoint W1 \\
      --config.vgg imagenet-vgg-verydeep-19.mat

`--config configs/stage2.py:smoke` runs four steps without VGG19; `features` is
stage 1's, read from its checkpoint.
"""

from configs import defaults


def get_config(arg: str = ''):
  config = defaults.get_config()
  config.stage = 2
  config.num_steps = 6_000
  config.loss.image = 0.2
  config.loss.perceptual = 0.8
  # Rewarded, not punished: alpha is how much of the warped garment shows.
  config.loss.alpha = 0.1
  config.loss.tv = 5e-6
  if arg == 'smoke':
    defaults.shrink_to_smoke(config)
  elif arg:
    raise ValueError(f'configs/stage2.py:{arg}: only :smoke is known')
  return config.lock()
