"""Every field of a training config, with the value most runs want.

Not a run of its own: stage1.py, stage2.py and demo.py start from it. Change a
leaf on the command line with --config.<name>=<value>.
"""

from typing import Any

from ml_collections import ConfigDict


# Any: type checkers do not know the fields of a ConfigDict.
def get_config() -> Any:
  config = ConfigDict()

  # 1 trains the encoder-decoder, 2 the refinement network on top of it, 3 the
  # appearance flow network.
  config.stage = 1
  config.seed = 0
  # 'fixed', or 'original': what the published weights need.
  config.fidelity = 'fixed'
  # Channels of the first convolution (ngf of the paper's code).
  config.features = 64
  # Downsamples of the encoder-decoder, each by 2: 6 as published; 7 for
  # 512 x 384, 8 for 1024 x 768 (height x width).
  config.num_downsamples = 6
  # Compute type: 'float32', or 'bfloat16'. Parameters are always float32.
  config.dtype = 'float32'

  # Batch norm momentum: the weight of the old moving averages.
  config.bn_momentum = 0.999

  config.data = ConfigDict()
  # The folder that `python -m input_pipeline.prepare` wrote.
  config.data.dir = ''
  # 'records', 'packed', or 'original_records': VITON's own as they lie.
  config.data.format = 'records'
  # Where training images lie: 'none' (on disk), 'host' or 'device' memory.
  config.data.cache = 'none'
  # Mirror every other pair, chosen at random: twice as many to learn from.
  config.data.mirror = False

  # Over all devices of all processes.
  config.batch_size = 16
  # Gradient accumulation: a step goes through its batch in so many
  # micro-batches, to need less memory.
  config.grad_accum_steps = 1
  # Compute activations again in the backward pass, to need less memory.
  config.remat = False
  config.num_steps = 15_000
  config.learning_rate = 2e-4
  # 'constant', 'cosine' or 'linear' (both to zero at num_steps), or 'step':
  # times schedule_factor at each of schedule_steps.
  config.schedule = 'constant'
  config.schedule_steps = ()
  config.schedule_factor = 0.1
  # Steps over which the learning rate first rises from zero.
  config.warmup_steps = 0
  # Weight of the old values in the parameters' exponential moving average,
  # which is then what is evaluated and used; 0 keeps none. Usual: 0.999.
  config.ema_decay = 0.0

  # Weights of the loss's terms; these are of both stages, beside `image` and
  # `perceptual`, and 0 or 1 as published. docs/training.md says what they are.
  config.loss = ConfigDict()
  config.loss.lpips = 0.0
  config.loss.gradient = 0.0
  config.loss.adversarial = 0.0
  config.loss.feature_matching = 0.0
  # Of the pixels that composing changes keeps anyway.
  config.loss.kept = 1.0
  # The network of config.loss.lpips, 'alex' or 'vgg', and its file; '': what
  # `python -m viton_jax.perception fetch lpips` brought.
  config.lpips_net = 'alex'
  config.lpips_weights = ''
  # VGG19 weights; needed wherever config.loss.perceptual is not 0.
  config.vgg = ''

  config.eval = ConfigDict()
  # Of the network's image in validation, against the photo: any of 'l1' (grey
  # levels of 255), 'ssim' and 'lpips'.
  config.eval.metrics = ('l1', 'ssim')
  # For 'lpips': AlexNet's file; '': what `python -m viton_jax.perception fetch
  # lpips` brought.
  config.eval.lpips_weights = ''

  # Stages 2 and 3: the workdir, or one step, of a finished stage 1.
  config.coarse_checkpoint = ''
  # Stage 3: match garments to the predicted masks, as try-on does. False: take
  # control points that were fitted to the true regions and move them about at
  # random, which is less work.
  config.match_prediction = False
  # Start from these parameters when the workdir is new.
  config.warm_start = ''

  config.log_every = 50
  config.eval_every = 1_000
  config.sample_every = 1_000
  config.checkpoint_every = 1_000
  # Newest checkpoints that stay.
  config.keep = 3
  # And so many of those with the smallest validation loss.
  config.keep_best = 0
  # Steps to profile, e.g. '10:15'.
  config.profile = ''
  # Where compiled programs are kept: a folder, 'off', or 'auto' (in the user's
  # cache).
  config.compile_cache = 'auto'
  return config


def flow_weights() -> Any:
  """Weights of the terms of stage 3's loss, see `losses.Stage3Weights`."""
  loss = ConfigDict()
  loss.flow = 1.0
  loss.warped = 0.0
  loss.smooth = 0.5
  loss.parts = 20.0
  loss.light = 20.0
  loss.skin = 10.0
  return loss


def shrink_to_smoke(config: Any) -> None:
  """A few steps of a tiny network: does it run at all?"""
  config.features = 8
  config.batch_size = 8
  config.num_steps = 4
  config.log_every = 1
  config.eval_every = 2
  config.sample_every = 2
  config.checkpoint_every = 2
  if 'perceptual' in config.loss:
    config.loss.perceptual = 0.0
  config.bn_momentum = 0.9
