"""Stage 3, which VITON has not: the appearance flow network, 6,000 steps of 16.

  python -m viton_jax.train --config configs/stage3.py --workdir W3 \\
      --config.data.dir RECORDS --config.coarse_checkpoint W1

It learns from the true flow, which drawn data with `--exchange` have. For
photos, where nobody knows it, `--config configs/stage3.py:photos` compares the
warped garment with the photo instead. `:smoke` runs four steps.
"""

from configs import defaults


def get_config(arg: str = ''):
  config = defaults.get_config()
  config.stage = 3
  config.features = 16
  config.num_steps = 6_000
  config.learning_rate = 4e-4
  config.schedule = 'cosine'
  config.loss = defaults.flow_weights()
  config.match_prediction = True
  if arg == 'smoke':
    defaults.shrink_to_smoke(config)
  elif arg == 'photos':
    config.loss.flow = 0.0
    config.loss.warped = 20.0
  elif arg:
    raise ValueError(f'configs/stage3.py:{arg}: say :photos or :smoke')
  return config.lock()
