"""The trainer: from a config and a workdir to a trained network.

One function, to be read from top to bottom. What happens within a step is in
`steps`, what is optimised in `stages`.
"""

import contextlib
import functools
import pathlib
import sys
from typing import Any

import jax
import numpy as np

from input_pipeline import batches
from viton_jax import checkpoints, errors
from viton_jax.checkpoints import checking
from viton_jax.io import finite, storage
from viton_jax.io.images import encode_png
from viton_jax.runtime import compile_cache, parallel, stopping
from viton_jax.training import config as configs
from viton_jax.training import (
  feed,
  metric_log,
  schedules,
  stages,
  steps,
  train_state,
)
from viton_jax.training import workdir as workdirs
from viton_jax.training.clock import Clock, Trace, format_metrics, say
from viton_jax.training.train_state import TrainState

_NUM_SAMPLES = 4
_STEPS_AHEAD = 8  # More would only fill the devices' memory with batches.


def train_and_evaluate(
  config: Any, workdir: str | pathlib.Path, *, dry_run: bool = False
) -> TrainState:
  """Trains one of the two networks, or goes on where a workdir stopped.

  With several processes every one of them calls it with the same arguments,
  after `distributed.initialize`.

  Args:
    config: the fields of configs/defaults.py.
    workdir: where checkpoints, logs and samples go.
    dry_run: only check everything and say what would be done; nothing is
      written.

  Returns:
    The state after the last step; with `dry_run` the one to start from.

  Raises:
    InputError: something in the config or on disk that a person can mend.
    SystemExit: the loss is not finite (exit code 4).
  """
  config, workdir = configs.current(config), pathlib.Path(workdir)
  checkpoints.check_name(workdir)
  # The lock on the workdir, the signal handlers and the log are given back
  # however this ends: the caller may be a notebook.
  with contextlib.ExitStack() as held:
    return _train_and_evaluate(config, workdir, held, dry_run=dry_run)


def _train_and_evaluate(config, workdir, held, *, dry_run):
  # ------------------------------------------------ checks, before any work
  # Whatever a person can get wrong is found out in the first seconds, not at
  # the first validation an hour later, and in all processes at once.
  def read_inputs():
    info = batches.read_info(
      config.data.dir, fmt=config.data.format, fidelity=config.fidelity
    )
    configs.check(config, info)
    trace = Trace(config.profile, workdir / 'tensorboard')
    rate, built = schedules.learning_rate(config), stages.build(config)
    return info, trace, rate, built, not workdir.exists()

  info, trace, learning_rate, (stage, frozen), new = parallel.together(
    read_inputs
  )

  # ------------------------------------------------------- say derived facts
  epochs = config.num_steps * config.batch_size / info.num_examples['train']
  say(
    f'stage {config.stage}: {stage.network}, {config.features} features, '
    f'{config.fidelity}, {config.dtype}'
  )
  say(
    f'{info.num_examples["train"]} training pairs of {info.height} x '
    f'{info.width} (height x width); {config.num_steps} steps of '
    f'{config.batch_size} are {epochs:.1f} epochs on {jax.device_count()} '
    f'{jax.devices()[0].platform} device(s) of {jax.process_count()} '
    'process(es)'
  )
  if config.loss.get('perceptual', 1.0) == 0:
    say('no perceptual loss: config.loss.perceptual is 0')
  # Only what compiles later needs it; a dry run makes no folder.
  if not dry_run:
    say(compile_cache.use(config.compile_cache))

  # ------------------- state: own workdir > warm start > scratch; say which
  state = train_state.create(
    stage.model,
    jax.random.key(config.seed),
    size=(info.height, info.width),
    optimizer=train_state.adam(learning_rate),
    ema_decay=config.ema_decay,
    critic=stage.critic,
  )
  num_parameters = sum(x.size for x in jax.tree.leaves(state.params))
  say(f'{num_parameters:,} parameters')

  if config.warm_start and new:
    # Read here and again below: if it is refused, then before anything is
    # written, or the next attempt would find a workdir that is not new.
    parallel.together(
      lambda: stages.warm_start(state, config.warm_start, stage)
    )

  def enter():
    if jax.process_index():
      return  # Process 0 speaks for all.
    if not dry_run:
      held.enter_context(workdirs.lock(workdir))
    workdirs.check_space(
      workdir, state, checkpoints=config.keep + config.keep_best + 1
    )
    if dry_run:
      workdirs.compare(workdir, config)
    else:
      workdirs.claim(workdir, config)

  parallel.together(enter)
  if dry_run:
    return parallel.together(
      lambda: _say_dry_run(state, stage, config, workdir=workdir)
    )
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
    manager.close()
    return state

  # ------------------------------------- data and compiled steps, per device
  arrays, data = parallel.together(
    lambda: feed.open_feed(config, info, start_step=start)
  )

  def take_step(state, on_devices, batch):
    return steps.train_step(
      state,
      on_devices['frozen'],
      feed.examples_of(on_devices['data'], batch),
      stage=stage,
      seed=config.seed,
      axis_name=parallel.AXIS,
      grad_accum_steps=config.grad_accum_steps,
      mirror=config.data.mirror,
    )

  train_step = parallel.train(take_step)
  eval_step = parallel.evaluate(
    functools.partial(
      steps.eval_step,
      stage=stage,
      metrics=tuple(config.eval.metrics),
      axis_name=parallel.AXIS,
    )
  )
  make_images = parallel.predict(
    lambda networks, batch: stage.images(*networks, batch)
  )
  state = parallel.replicate(state)
  frozen = parallel.replicate(frozen)
  log = metric_log.MetricLog(
    workdir,
    start_step=start,
    # Where images are packed, nothing loads TensorFlow.
    tensorboard=config.data.format != 'packed',
  )
  held.callback(log.close)
  stop = held.enter_context(stopping.StopSignal())
  validates = bool(info.num_examples.get('validation'))
  examples = None  # For the samples; read when first needed.

  # --------------------------------------------------------------- the loop
  pending = []  # Metrics still on the device: fetching them would wait.
  checked = start  # No step up to here gave a number that is not finite.
  clock = Clock(start, config.num_steps, config.batch_size)
  for step in range(start + 1, config.num_steps + 1):
    # ------------------------------------------------------------ the step
    # It returns before the devices have computed anything: Python is ahead of
    # them and reads the next batches meanwhile.
    trace.before(step)
    state, metrics = train_step(
      state, {'frozen': frozen, 'data': arrays}, next(data)
    )
    pending.append(metrics)
    if len(pending) > _STEPS_AHEAD:
      # Not to run away from the devices; they have enough to do meanwhile.
      jax.block_until_ready(pending[-_STEPS_AHEAD])
    # Asked in every step: with several processes it is where they agree on the
    # last one.
    last = stop.requested_at(step) or step == config.num_steps
    trace.after(step, metrics, stop=last)
    # A stopped run saves, and looks at nothing: what stopped it may not wait,
    # and the run that goes on shall have the samples and figures of any other.
    done = step == config.num_steps
    ends = {'log': last, 'checkpoint': last, 'sample': done, 'eval': done}
    due = {
      name: step % config[f'{name}_every'] == 0 or end
      for name, end in ends.items()
    }

    # ----------------------------------------------------------- fetch, log
    # The first step is fetched too: it says that compiling is over. And what
    # is saved is looked at first, whatever log_every says.
    if due['log'] or due['checkpoint'] or step == start + 1:
      fetched, pending = jax.device_get(pending), []
      bad = first_not_finite(fetched)
      if bad is not None:
        # The state of these steps is never saved.
        checkpoints.finish(manager)
        _end_not_finite(
          f'the loss or its gradient is not finite at step {checked + 1 + bad},'
          f' between the checks of steps {checked + 1} and {step}',
          workdir=workdir,
          last_good=manager.latest_step(),
        )
      checked = step
      # All steps since the last line, not the last one alone: batches of 16
      # are noisy.
      means = metric_log.means(fetched)
      images_per_s, eta = clock.tick(step)
      say(
        f'step {step}/{config.num_steps}  {format_metrics(means)}  '
        f'{images_per_s:.1f} images/s{eta and f"  ETA {eta}"}'
      )
      log.scalars(
        step,
        {f'train/{k}': v for k, v in means.items()}
        | {
          'images_per_s': images_per_s,
          'learning_rate': learning_rate(step - 1),
        },
      )

    with clock.resting():  # What follows is not counted in images/s.
      # A loss can be finite whose step leads to what is not.
      if due['checkpoint']:
        bad = finite.first_not_finite(
          checking.named_leaves(
            jax.device_get(
              (state.params, state.batch_stats, state.ema, state.critic)
            )
          )
        )
        if bad is not None:
          checkpoints.finish(manager)
          _end_not_finite(
            f'{bad.partition("/")[2]} is not finite after step {step}',
            workdir=workdir,
            last_good=manager.latest_step(),
          )

      # ------------------------------------------------------------ samples
      # The same few held-out pairs each time, so that sheets can be compared.
      # Process 0 alone: no step of the others waits for it.
      if due['sample'] and jax.process_index() == 0:
        examples = examples or feed.few_examples(config, info, _NUM_SAMPLES)
        images = make_images((state.trained_variables, frozen), examples)
        sheet = stages.sheet(stage, examples, images)
        _write_samples(sheet, workdir, log, step=step)

      # --------------------------------------------------------- validation
      # keep_best compares checkpoints by it, so each of them needs one.
      validation_loss = None
      compared = config.keep_best and due['checkpoint']
      if validates and (due['eval'] or compared):
        means = evaluate(eval_step, state, frozen, config)
        validation_loss = means['loss']
        if not np.isfinite(list(means.values())).all():
          checkpoints.finish(manager)
          _end_not_finite(
            f'the validation of step {step} is not finite',
            workdir=workdir,
            last_good=manager.latest_step(),
          )
        say(
          f'step {step}/{config.num_steps}  validation: {format_metrics(means)}'
        )
        log.scalars(step, {f'validation/{k}': v for k, v in means.items()})

      # --------------------------------------------------------- checkpoint
      # Written by a thread while training goes on; returns when the next step
      # may use the state's memory again.
      if due['checkpoint']:
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

  # ------------------------------------------------------------------- end
  checkpoints.finish(manager)
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
  return state


def evaluate(
  eval_step: Any, state: TrainState, frozen: Any, config: Any
) -> dict[str, float]:
  """Mean loss and terms over the held-out pairs, each counted once."""
  batch_size = config.batch_size // jax.process_count()
  return metric_log.means(
    jax.device_get(
      [
        eval_step(state, frozen, parallel.shard(batch))
        for batch in feed.validation_batches(config, batch_size, share=True)
      ]
    )
  )


def first_not_finite(metrics: list[dict]) -> int | None:
  """The first of several steps whose loss or gradient is not finite."""
  for i, one in enumerate(metrics):
    if not all(np.isfinite(total) for total, _ in one.values()):
      return i
  return None


def _end_not_finite(what, *, workdir, last_good):
  """Ends the run with a sentence that says where numbers broke down."""
  kept = (
    f'the last good checkpoint of {workdir} is step {last_good}'
    if last_good
    else f'{workdir} has no checkpoint yet'
  )
  if jax.process_index() == 0:
    print(
      f'error: {what}; {kept}. Start another --workdir with a smaller '
      '--config.learning_rate, --config.warmup_steps or '
      '--config.dtype=float32, and with --config.warm_start to go on from '
      'there.',
      file=sys.stderr,
    )
  raise SystemExit(errors.EXIT_NOT_FINITE)


def _say_dry_run(state, stage, config, *, workdir):
  """Says where a run would start; returns the state it would start from."""
  latest = _latest_step(workdir)
  size = sum(x.nbytes for x in jax.tree.leaves(state))
  if latest:
    say(f'would go on from step {latest} of {workdir}')
  elif config.warm_start:
    state = stages.warm_start(state, config.warm_start, stage)
    say(f'would start with the parameters of {config.warm_start}')
  else:
    say('would start from scratch')
  say(
    f'a checkpoint takes {size / 1e9:.2f} GB, '
    f'{config.keep + config.keep_best + 1} lie in {workdir} at a time'
  )
  say('dry run: everything fits together, nothing was written')
  return state


def _latest_step(workdir):
  """The newest checkpoint's step, without touching the folder; None: none."""
  if not (workdir / 'checkpoints').is_dir():
    return None
  return int(checkpoints.find(workdir).name)


def _write_samples(sheet, workdir, log, *, step):
  folder = workdir / 'samples'
  folder.mkdir(exist_ok=True)
  storage.write_file(folder / f'step_{step:07d}.png', encode_png(sheet))
  log.image(step, 'samples', sheet)
