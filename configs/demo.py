"""The demo: all networks small enough for a laptop's processor.

  python -m viton_jax.train --config configs/demo.py:stage1 --workdir W1 \\
      --config.data.dir RECORDS
  python -m viton_jax.train --config configs/demo.py:stage2 --workdir W2 \\
      --config.data.dir RECORDS --config.coarse_checkpoint W1
  python -m viton_jax.train --config configs/demo.py:stage3 --workdir W3 \\
      --config.data.dir RECORDS --config.coarse_checkpoint W1

A quarter of the channels, no VGG19 (its weights are not ours to give away), so
no perceptual loss; a few minutes each on 2 cores. launch/demo.sh runs the first
two; the third needs drawn data with `--exchange`.
"""

from configs import defaults


def get_config(arg: str = 'stage1'):
  config = defaults.get_config()
  config.features = 16
  config.batch_size = 8
  config.schedule = 'cosine'
  config.loss.perceptual = 0.0
  config.bn_momentum = 0.98
  config.log_every = 100
  config.eval_every = 500
  config.sample_every = 500
  config.checkpoint_every = 500
  if arg == 'stage1':
    config.stage = 1
    config.num_steps = 2_000
    config.learning_rate = 1e-3
    config.loss.mask = 1.0
    config.loss.image = 1.0
    config.loss.mask_iou = 0.0
  elif arg == 'stage2':
    config.stage = 2
    config.num_steps = 300
    config.learning_rate = 1e-3
    config.loss.image = 1.0
    config.loss.alpha = 0.05
    config.loss.tv = 5e-6
  elif arg == 'stage3':
    config.stage = 3
    config.features = 16
    config.num_steps = 2_000
    config.learning_rate = 4e-4
    config.loss = defaults.flow_weights()
    config.match_prediction = True
  else:
    raise ValueError(f'configs/demo.py:{arg}: say :stage1, :stage2 or :stage3')
  return config.lock()
