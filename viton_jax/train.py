"""Trains one of the two networks.

  python -m viton_jax.train --config configs/stage1.py --workdir W1 \\
      --config.data.dir RECORDS --config.vgg imagenet-vgg-verydeep-19.mat
  python -m viton_jax.train --config configs/stage2.py --workdir W2 \\
      --config.data.dir RECORDS --config.coarse_checkpoint W1 --config.vgg ...

RECORDS is what `python -m input_pipeline.prepare` wrote. Any field of the
config can be set with --config.NAME=VALUE (configs/defaults.py explains them).
The same command in the same workdir goes on where it stopped, to the bit.
"""

import fcntl
import json
import pathlib
import sys

from absl import app, flags, logging
from clu import metric_writers
import jax
import ml_collections
from ml_collections import config_flags
import numpy as np
import optax

from input_pipeline import batches
from input_pipeline.images import encode_png
from viton_jax import (
    checkpoints,
    errors,
    parallel,
    sheets,
    stages,
    storage,
    train_state,
)
from viton_jax.errors import InputError
from viton_jax.progress import Clock, StopSignal, format_metrics, say

_CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'Training config, e.g. configs/stage1.py.'
)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Where checkpoints, logs and samples go.'
)

# Fields that may differ when a workdir is gone on with.
_MAY_CHANGE = (
    'num_steps data.dir vgg log_every eval_every sample_every checkpoint_every '
    'keep'
).split()
_SAMPLES = 4


def train(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """The whole run, from the checks to the last checkpoint.

  Raises:
    InputError: something in the config or on disk that a person can mend.
  """
  # ------------------------------------------------ checks, before any work
  info = batches.read_info(
      config.data.dir, fmt=config.data.format, fidelity=config.fidelity
  )
  check(config, info)
  stage = stages.build(config)

  # ------------------------------------------------------- say derived facts
  per_process = config.batch_size // jax.process_count()
  epochs = config.num_steps * config.batch_size / info.num_examples['train']
  say(f'stage {config.stage}: {stage.network}, {config.features} features, '
      f'{config.fidelity}, {config.dtype}')
  say(f'{info.num_examples["train"]} training pairs of {info.height} x '
      f'{info.width}; {config.num_steps} steps of {config.batch_size} are '
      f'{epochs:.1f} epochs on {jax.device_count()} '
      f'{jax.devices()[0].platform} device(s)')
  if not config.loss.perceptual:
    say('no perceptual loss: config.loss.perceptual is 0')

  # ------------------- state: own workdir > warm start > scratch; say which
  state = train_state.create(
      stage.model,
      jax.random.key(config.seed),
      size=(info.height, info.width),
      optimizer=train_state.adam(learning_rate(config)),
  )
  parameters = sum(x.size for x in jax.tree.leaves(state.params))
  say(f'{parameters:,} parameters')
  if config.warm_start and not workdir.exists():
    # Refused, if at all, before anything is written.
    stages.warm_start(state, config.warm_start, stage)
  claim(workdir, config)
  _lock = lock(workdir)  # Held until the process ends, however it ends.
  manager = checkpoints.open_manager(workdir, keep=config.keep)
  start = manager.latest_step() or 0
  if start:
    state = checkpoints.restore_state(manager, start, state)
    say(f'goes on from step {start} of {workdir}')
  elif config.warm_start:
    state = stages.warm_start(state, config.warm_start, stage)
    say(f'starts with the parameters of {config.warm_start}')
  else:
    say('starts from scratch')
  if start >= config.num_steps:
    say(f'nothing to do: step {start} of {config.num_steps} is reached')
    return

  # ------------------------------------------------------------ the parallel
  state = parallel.replicate(state)
  frozen = parallel.replicate(stage.frozen)
  train_step = parallel.train(stage.train_step)
  eval_step = parallel.evaluate(stage.eval_step)
  sample_step = parallel.predict(stage.sample_step)
  writer = open_writer(workdir)
  stop = StopSignal()
  data = batches.train_batches(
      config.data.dir,
      batch_size=per_process,
      seed=config.seed,
      start_step=start,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
      fmt=config.data.format,
      fidelity=config.fidelity,
  )

  def save(step):
    checkpoints.save(
        manager,
        step,
        state,
        metadata=checkpoints.describe(
            stage.network,
            features=config.features,
            fidelity=config.fidelity,
            size=(info.height, info.width),
            step=step,
            config=config.to_dict(),
        ),
    )

  # ----------------------------------------------------------------- the loop
  pending = []  # Metrics still on the device: fetching them would wait.
  clock = Clock(start, config.num_steps, config.batch_size)
  for step in range(start + 1, config.num_steps + 1):
    batch = next(data)
    state, metrics = train_step(state, frozen, parallel.shard(batch))
    pending.append(metrics)
    last = step == config.num_steps or stop.requested
    at = {
        name: step % config[f'{name}_every'] == 0 or last
        for name in ('log', 'sample', 'eval', 'checkpoint')
    }

    if at['log'] or at['checkpoint'] or step == start + 1:
      means = mean_metrics(pending)
      pending = []
      speed, eta = clock.tick(step)
      say(f'step {step}/{config.num_steps}  {format_metrics(means)}  '
          f'{speed:.1f} images/s  ETA {eta}')
      if not np.isfinite(means['loss']):
        raise SystemExit(
            f'error: the loss is {means["loss"]} at step {step}; the last good '
            f'checkpoint of {workdir} is step {manager.latest_step()}.'
        )
      writer.write_scalars(
          step,
          {f'train/{k}': v for k, v in means.items()}
          | {'images_per_s': speed},
      )
    with clock.resting():
      if at['sample']:
        few = {k: v[:_SAMPLES] for k, v in batch.items()}
        write_samples(
            stage, sample_step, state, frozen, few, workdir, writer, step=step
        )
      if at['eval'] and info.num_examples.get('validation'):
        means = validate(eval_step, state, frozen, config)
        say(f'step {step}/{config.num_steps}  validation: '
            f'{format_metrics(means)}')
        writer.write_scalars(
            step, {f'validation/{k}': v for k, v in means.items()}
        )
      if at['checkpoint']:
        save(step)
    if last:  # Not the signal itself: it may have come since.
      break

  # --------------------------------------------------------------------- end
  manager.wait_until_finished()
  manager.close()
  writer.flush()
  writer.close()
  if stop.requested and step < config.num_steps:
    say(f'stopped by a signal; step {step} is saved, the same command goes on')
  else:
    say(f'done: step {step} in {workdir}; {clock.summary()}')


def check(config: ml_collections.ConfigDict, info: batches.RecordsInfo) -> None:
  """Config against data and devices.

  Raises:
    InputError: they do not fit.
  """
  if config.fidelity != info.fidelity:
    raise InputError(
        f'{config.data.dir}: prepared with fidelity {info.fidelity!r}, the '
        f'config says {config.fidelity!r}; set --config.fidelity or prepare '
        'the data again.'
    )
  if config.batch_size % jax.device_count():
    raise InputError(
        f'config.batch_size: {config.batch_size} does not divide over '
        f'{jax.device_count()} devices; set a multiple of it.'
    )
  for name in ('num_steps', 'batch_size', 'log_every', 'eval_every',
               'sample_every', 'checkpoint_every', 'keep'):
    if config[name] < 1:
      raise InputError(
          f'config.{name}: {config[name]} is not positive; set 1 or more.'
      )


def claim(workdir: pathlib.Path, config: ml_collections.ConfigDict) -> None:
  """Writes the resolved config into a new workdir, or checks an old one's.

  Raises:
    InputError: the workdir was begun with another config, or is not writable.
  """
  path = workdir / 'config.json'
  ours = json.loads(config.to_json())
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    if not path.exists():
      storage.write_json(path, ours)
      return
    theirs = json.loads(path.read_text())
  except OSError as error:
    raise InputError(
        f'{workdir}: cannot be used as workdir ({error.strerror}); give a '
        'folder that can be written.'
    ) from error
  ours, theirs = flatten(ours), flatten(theirs)
  for name in sorted(ours.keys() | theirs.keys()):
    if name not in _MAY_CHANGE and ours.get(name) != theirs.get(name):
      raise InputError(
          f'{path}: this workdir was begun with {name} = '
          f'{theirs.get(name)!r}, the config now says {ours.get(name)!r}; use '
          'another --workdir or the old value.'
      )


def lock(workdir: pathlib.Path):
  """Keeps other trainings out of a workdir while the returned file is open.

  Raises:
    InputError: another process trains there now.
  """
  file = (workdir / '.lock').open('w')
  try:
    # Processes of one job share the workdir; the first one speaks for them.
    if jax.process_index() == 0:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError as error:
    raise InputError(
        f'{workdir}: another process is training in this workdir; wait for it '
        'or give another --workdir.'
    ) from error
  return file


def flatten(tree: dict, prefix: str = '') -> dict:
  """{'a': {'b': 1}} -> {'a.b': 1}."""
  flat = {}
  for name, value in tree.items():
    if isinstance(value, dict):
      flat |= flatten(value, f'{prefix}{name}.')
    else:
      flat[prefix + name] = value
  return flat


def learning_rate(config: ml_collections.ConfigDict):
  """The learning rate as a function of the step.

  Raises:
    InputError: an unknown schedule.
  """
  if config.schedule == 'constant':
    return optax.constant_schedule(config.learning_rate)
  if config.schedule == 'cosine':
    return optax.cosine_decay_schedule(config.learning_rate, config.num_steps)
  raise InputError(
      f'config.schedule: {config.schedule!r} is unknown; set constant or '
      'cosine.'
  )


def mean_metrics(metrics: list[dict]) -> dict[str, float]:
  """Sums of (sum, count) over steps or batches -> means."""
  totals = {}
  for one in jax.device_get(metrics):
    for name, (total, count) in one.items():
      t, c = totals.get(name, (0.0, 0.0))
      totals[name] = (t + float(total), c + float(count))
  return {name: t / c for name, (t, c) in totals.items()}


def validate(eval_step, state, frozen, config) -> dict[str, float]:
  """Mean metrics over this process's share of the held-out pairs."""
  return mean_metrics([
      eval_step(state, frozen, parallel.shard(batch))
      for batch in batches.eval_batches(
          config.data.dir,
          split='validation',
          batch_size=config.batch_size // jax.process_count(),
          process_index=jax.process_index(),
          process_count=jax.process_count(),
      )
  ])


def write_samples(
    stage, sample_step, state, frozen, batch, workdir, writer, *, step
):
  """Writes what the network makes of a few examples, as one sheet."""
  if jax.process_index():
    return
  columns = stage.columns(batch, sample_step((state, frozen), batch))
  sheet = sheets.contact_sheet(columns)
  folder = workdir / 'samples'
  folder.mkdir(exist_ok=True)
  storage.write_file(folder / f'step_{step:07d}.png', encode_png(sheet))
  writer.write_images(step, {'samples': sheet[None]})


def open_writer(workdir: pathlib.Path) -> metric_writers.MetricWriter:
  """TensorBoard's event files, written by process 0 alone."""
  if jax.process_index():
    return metric_writers.MultiWriter([])
  return metric_writers.AsyncWriter(
      metric_writers.SummaryWriter(str(workdir / 'tensorboard'))
  )


def parse_flags(argv: list[str]) -> list[str]:
  """Parses flags; what is wrong with them ends as one sentence."""
  try:
    return flags.FLAGS(argv)
  except (flags.Error, AttributeError, KeyError, ValueError, OSError) as error:
    message = ' '.join(str(error).split())
    print(f'error: {message} (see --help)', file=sys.stderr)
    sys.exit(errors.EXIT_BAD_INPUT)


def main(argv: list[str]) -> None:
  del argv
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)  # Orbax says a lot.
  errors.run(lambda: train(_CONFIG.value, pathlib.Path(_WORKDIR.value)))


if __name__ == '__main__':
  flags.mark_flags_as_required(['config', 'workdir'])
  app.run(main, flags_parser=parse_flags)
