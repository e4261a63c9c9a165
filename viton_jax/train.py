"""Trains one of the two networks.

  python -m viton_jax.train --config configs/stage1.py --workdir W1 \\
      --config.data.dir RECORDS --config.vgg imagenet-vgg-verydeep-19.mat
  python -m viton_jax.train --config configs/stage2.py --workdir W2 \\
      --config.data.dir RECORDS --config.coarse_checkpoint W1 --config.vgg ...

RECORDS is what `python -m input_pipeline.prepare` wrote. Any field of the
config can be set with --config.NAME=VALUE (configs/defaults.py explains them).
The same command in the same workdir goes on where it stopped, to the bit. On
several machines, or with several processes on one, every process runs the same
command; see docs/training.md.

Exit codes: 0 done, or stopped by a signal and saved; 2 bad input; 4 the loss is
not finite; 5 another process of the job is gone.
"""

import contextlib
import pathlib
import sys

from absl import app, flags, logging
import jax
import numpy as np

from input_pipeline import batches
from viton_jax import checkpoints, errors
from viton_jax.errors import InputError
from viton_jax.io import contact_sheets, storage
from viton_jax.io.images import encode_png
from viton_jax.runtime import (
  compile_cache,
  distributed,
  environment,
  parallel,
  stopping,
)
from viton_jax.training import feed, metric_log, schedules, stages, train_state
from viton_jax.training import workdir as workdirs
from viton_jax.training.clock import Clock, Trace, format_metrics, say
from viton_jax.training.config_dict import ConfigDict, define_config_file

_CONFIG = define_config_file(
  'config', None, 'Training config, e.g. configs/stage1.py.'
)
_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Where checkpoints, logs and samples go.'
)

_SAMPLES = 4
_STEPS_AHEAD = 8  # More would only fill the devices' memory with batches.


def train(
  config: ConfigDict, workdir: pathlib.Path, held: contextlib.ExitStack
) -> None:
  """The whole run, from the checks to the last checkpoint.

  Args:
    config: configs/defaults.py.
    workdir: where everything goes.
    held: takes the lock on `workdir`; to be closed by the caller.

  Raises:
    InputError: something in the config or on disk that a person can mend.
    SystemExit: the loss is not finite.
  """

  # ------------------------------------------------ checks, before any work
  def read_inputs():
    info = batches.read_info(
      config.data.dir, fmt=config.data.format, fidelity=config.fidelity
    )
    check(config, info)
    trace = Trace(config.profile, workdir / 'tensorboard')
    rate, stage = schedules.learning_rate(config), stages.build(config)
    return info, trace, rate, stage, not workdir.exists()

  info, trace, learning_rate, stage, new = parallel.together(read_inputs)

  # ------------------------------------------------------- say derived facts
  epochs = config.num_steps * config.batch_size / info.num_examples['train']
  say(
    f'stage {config.stage}: {stage.network}, {config.features} features, '
    f'{config.fidelity}, {config.dtype}'
  )
  say(
    f'{info.num_examples["train"]} training pairs of {info.height} x '
    f'{info.width}; {config.num_steps} steps of {config.batch_size} are '
    f'{epochs:.1f} epochs on {jax.device_count()} '
    f'{jax.devices()[0].platform} device(s) of {jax.process_count()} '
    'process(es)'
  )
  if not config.loss.perceptual:
    say('no perceptual loss: config.loss.perceptual is 0')
  say(compile_cache.use(config.compile_cache))

  # ------------------- state: own workdir > warm start > scratch; say which
  state = train_state.create(
    stage.model,
    jax.random.key(config.seed),
    size=(info.height, info.width),
    optimizer=train_state.adam(learning_rate),
    ema_decay=config.ema,
  )
  parameters = sum(x.size for x in jax.tree.leaves(state.params))
  say(f'{parameters:,} parameters')

  if config.warm_start and new:
    # Refused, if at all, before anything is written.
    parallel.together(
      lambda: stages.warm_start(state, config.warm_start, stage)
    )

  def enter():
    if jax.process_index():
      return  # Process 0 speaks for all.
    held.enter_context(workdirs.lock(workdir))
    workdirs.check_space(
      workdir, state, checkpoints=config.keep + config.keep_best + 1
    )
    workdirs.claim(workdir, config)

  parallel.together(enter)
  manager = checkpoints.open_manager(
    workdir, keep=config.keep, keep_best=config.keep_best
  )
  start = manager.latest_step() or 0
  if start:
    state = parallel.together(
      lambda: checkpoints.restore_state(manager, start, state)
    )
    say(f'goes on from step {start} of {workdir}')
  elif config.warm_start:
    state = parallel.together(
      lambda: stages.warm_start(state, config.warm_start, stage)
    )
    say(f'starts with the parameters of {config.warm_start}')
  else:
    say('starts from scratch')
  if start >= config.num_steps:
    say(f'nothing to do: step {start} of {config.num_steps} is reached')
    return

  # ------------------------------------------------------------ the parallel
  arrays, data = parallel.together(
    lambda: feed.open_feed(config, info, start_step=start)
  )
  state = parallel.replicate(state)
  frozen = parallel.replicate(stage.frozen)
  train_step = parallel.train(feed.reading(stage.train_step, config.data.cache))
  eval_step = parallel.evaluate(stage.eval_step)
  sample_step = parallel.predict(stage.sample_step)
  log = metric_log.MetricLog(
    workdir,
    start_step=start,
    # Where pictures are packed, nothing loads TensorFlow.
    tensorboard=config.data.format != 'packed',
  )
  stop = stopping.StopSignal()
  validates = bool(info.num_examples.get('validation'))
  examples = None  # To draw; read when first drawn.

  # ----------------------------------------------------------------- the loop
  pending = []  # Metrics still on the device: fetching them would wait.
  checked = start  # No step up to here gave a number that is not finite.
  clock = Clock(start, config.num_steps, config.batch_size)
  for step in range(start + 1, config.num_steps + 1):
    trace.before(step)
    batch = next(data)
    state, metrics = train_step(state, frozen | {'data': arrays}, batch)
    pending.append(metrics)
    if len(pending) > _STEPS_AHEAD:
      # Not to run away from the devices; they have enough to do meanwhile.
      jax.block_until_ready(pending[-_STEPS_AHEAD])
    last = stop.requested_at(step) or step == config.num_steps
    trace.after(step, metrics, stop=last)
    at = {
      name: step % config[f'{name}_every'] == 0 or last
      for name in ('log', 'sample', 'eval', 'checkpoint')
    }

    if at['log'] or at['checkpoint'] or step == start + 1:
      fetched, pending = jax.device_get(pending), []
      bad = first_not_finite(fetched)
      if bad is not None:
        # The state of these steps is never saved.
        checkpoints.finish(manager)
        end_not_finite(
          checked + 1,
          step,
          bad=checked + 1 + bad,
          workdir=workdir,
          last_good=manager.latest_step(),
        )
      checked = step
      means = metric_log.means(fetched)
      speed, eta = clock.tick(step)
      say(
        f'step {step}/{config.num_steps}  {format_metrics(means)}  '
        f'{speed:.1f} images/s  ETA {eta}'
      )
      log.scalars(
        step,
        {f'train/{k}': v for k, v in means.items()}
        | {'images_per_s': speed, 'learning_rate': learning_rate(step - 1)},
      )
    with clock.resting():
      if at['sample'] and jax.process_index() == 0:
        examples = examples or feed.few_examples(config, info, _SAMPLES)
        pictures = sample_step((state, frozen), examples)
        write_samples(stage, examples, pictures, workdir, log, step=step)
      validation_loss = None
      if validates and (at['eval'] or (config.keep_best and at['checkpoint'])):
        means = validate(eval_step, state, frozen, config)
        validation_loss = means['loss']
        say(
          f'step {step}/{config.num_steps}  validation: {format_metrics(means)}'
        )
        log.scalars(step, {f'validation/{k}': v for k, v in means.items()})
      if at['checkpoint']:
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
          validation_loss=validation_loss,
        )
    if last:
      break

  # --------------------------------------------------------------------- end
  checkpoints.finish(manager)
  log.close()
  if best := config.keep_best and checkpoints.best(manager):
    say(
      f'best: step {best[0]} with a validation loss of {best[1]:.4g}, '
      f'{workdir}/checkpoints/{best[0]}'
    )
  manager.close()
  if step < config.num_steps:
    say(f'stopped by a signal; step {step} is saved, the same command goes on')
  else:
    say(f'done: step {step} in {workdir}; {clock.summary()}')


def check(config: ConfigDict, info: batches.RecordsInfo) -> None:
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
  for name in (
    'num_steps',
    'batch_size',
    'accumulate',
    'log_every',
    'eval_every',
    'sample_every',
    'checkpoint_every',
    'keep',
  ):
    if config[name] < 1:
      raise InputError(
        f'config.{name}: {config[name]} is not positive; set 1 or more.'
      )
  if config.batch_size % (jax.device_count() * config.accumulate):
    parts = f' in {config.accumulate} parts' if config.accumulate > 1 else ''
    raise InputError(
      f'config.batch_size: {config.batch_size} does not divide over '
      f'{jax.device_count()} devices{parts}; set a multiple of it.'
    )
  for name, side in (('height', info.height), ('width', info.width)):
    if config.depth < 2 or side % 2**config.depth:
      raise InputError(
        f'config.depth: {config.depth} halvings do not fit the {name} of '
        f'{side} of {config.data.dir}; set 2 or more, so that the sides are '
        'multiples of 2 to that power.'
      )
  if not 0 <= config.ema < 1:
    raise InputError(
      f'config.ema: {config.ema} is not within 0 and 1; set e.g. 0.999.'
    )
  if config.data.cache not in feed.CACHES:
    raise InputError(
      f'config.data.cache: {config.data.cache!r} is unknown; set one of '
      f'{", ".join(feed.CACHES)}.'
    )
  if config.keep_best < 0 or (
    config.keep_best and not info.num_examples.get('validation')
  ):
    raise InputError(
      f'config.keep_best: {config.keep_best}, but {config.data.dir} has '
      f'{info.num_examples.get("validation", 0)} held-out pairs to tell the '
      'best by; set --config.keep_best=0.'
    )


def first_not_finite(metrics: list[dict]) -> int | None:
  """The first of several steps whose loss or gradient is not finite."""
  for i, one in enumerate(metrics):
    if not all(np.isfinite(total) for total, _ in one.values()):
      return i
  return None


def end_not_finite(first, last, *, bad, workdir, last_good):
  """Ends the run with a sentence that says where numbers broke down."""
  kept = (
    f'the last good checkpoint of {workdir} is step {last_good}'
    if last_good
    else f'{workdir} has no checkpoint yet'
  )
  if jax.process_index() == 0:
    print(
      f'error: the loss or its gradient is not finite at step {bad}, between '
      f'the checks of steps {first} and {last}; {kept}. Start another '
      '--workdir with a smaller --config.learning_rate, '
      '--config.warmup_steps or --config.dtype=float32, and with '
      '--config.warm_start to go on from there.',
      file=sys.stderr,
    )
  raise SystemExit(errors.EXIT_NOT_FINITE)


def validate(eval_step, state, frozen, config) -> dict[str, float]:
  """Mean metrics over the held-out pairs, each counted once."""
  batch_size = config.batch_size // jax.process_count()
  return metric_log.means(
    jax.device_get(
      [
        eval_step(state, frozen, parallel.shard(batch))
        for batch in feed.validation_batches(config, batch_size, share=True)
      ]
    )
  )


def write_samples(stage, batch, pictures, workdir, log, *, step):
  """Writes what the network makes of a few examples, as one sheet."""
  sheet = contact_sheets.contact_sheet(stage.columns(batch, pictures))
  folder = workdir / 'samples'
  folder.mkdir(exist_ok=True)
  storage.write_file(folder / f'step_{step:07d}.png', encode_png(sheet))
  log.picture(step, 'samples', sheet)


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

  def run():
    distributed.initialize()
    say(environment.report())
    stopping.explain_lost_peers()
    with stopping.leaving_at_once(), contextlib.ExitStack() as held:
      train(_CONFIG.value, pathlib.Path(_WORKDIR.value), held)

  errors.run(run)


if __name__ == '__main__':
  flags.mark_flags_as_required(['config', 'workdir'])
  app.run(main, flags_parser=parse_flags)
