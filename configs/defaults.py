"""Every field of a training config, with the value most runs want.

Not a run of its own: stage1.py, stage2.py and demo.py start from it. Change a
leaf on the command line with --config.<name>=<value>.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()

  # 1 trains the encoder-decoder, 2 the refinement network on top of it.
  config.stage = 1
  config.seed = 0
  # 'fixed', or 'original': what the published weights need.
  config.fidelity = 'fixed'
  # Channels of the first convolution (ngf of the paper's code).
  config.features = 64
  # Compute type: 'float32', or 'bfloat16'. Parameters are always float32.
  config.dtype = 'float32'

  # Weight of the old moving averages of batch normalisation.
  config.norm_decay = 0.999

  config.data = ml_collections.ConfigDict()
  # The folder that `python -m input_pipeline.prepare` wrote.
  config.data.dir = ''
  # 'records', or 'original_records': VITON's own TFRecords as they lie.
  config.data.format = 'records'

  # Over all devices of all processes.
  config.batch_size = 16
  config.num_steps = 15_000
  config.learning_rate = 2e-4
  # 'constant', or 'cosine' (to zero at num_steps).
  config.schedule = 'constant'

  # Weights of the loss's terms; each stage reads its own.
  config.loss = ml_collections.ConfigDict()
  # VGG19 weights; needed wherever config.loss.perceptual is not 0.
  config.vgg = ''

  # Stage 2: the workdir, or one step, of a finished stage 1.
  config.coarse_checkpoint = ''
  # Start from these parameters when the workdir is new.
  config.warm_start = ''

  config.log_every = 50
  config.eval_every = 1_000
  config.sample_every = 1_000
  config.checkpoint_every = 1_000
  # Checkpoints that stay.
  config.keep = 3
  return config


def shrink_to_smoke(config: ml_collections.ConfigDict) -> None:
  """A few steps of a tiny network: does it run at all?"""
  config.features = 8
  config.batch_size = 8
  config.num_steps = 4
  config.log_every = 1
  config.eval_every = 2
  config.sample_every = 2
  config.checkpoint_every = 2
  config.loss.perceptual = 0.0
  config.norm_decay = 0.9
