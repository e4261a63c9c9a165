"""The learning rate as a function of the step."""

from typing import Any

import optax

from viton_jax.errors import InputError

SCHEDULES = ('constant', 'cosine', 'linear', 'step')


def learning_rate(config: Any) -> optax.Schedule:
  """What `config.schedule` and its companions describe.

  Args:
    config: `learning_rate`, the highest; `schedule`: 'constant', 'cosine' or
      'linear' (both to zero at `num_steps`), or 'step' (times
      `schedule_factor` at each of `schedule_steps`); `warmup_steps`: the rate
      first rises in a straight line from zero over so many steps, and the
      schedule follows from there.

  Raises:
    InputError: an unknown schedule, or numbers that do not fit.
  """
  rate, warmup = config.learning_rate, config.warmup_steps
  if not 0 <= warmup < config.num_steps:
    raise InputError(
      f'config.warmup_steps: {warmup} is not within 0 and config.num_steps = '
      f'{config.num_steps}; set less.'
    )
  rest = config.num_steps - warmup
  if config.schedule == 'constant':
    schedule = optax.constant_schedule(rate)
  elif config.schedule == 'cosine':
    schedule = optax.cosine_decay_schedule(rate, rest)
  elif config.schedule == 'linear':
    schedule = optax.linear_schedule(rate, 0.0, rest)
  elif config.schedule == 'step':
    steps = [step - warmup for step in config.schedule_steps]
    if not steps or min(steps) < 1 or sorted(set(steps)) != steps:
      raise InputError(
        f'config.schedule_steps: {tuple(config.schedule_steps)} are not '
        'rising steps after the warm-up; set e.g. '
        '--config.schedule_steps="(8000, 12000)".'
      )
    schedule = optax.piecewise_constant_schedule(
      rate, {step: config.schedule_factor for step in steps}
    )
  else:
    raise InputError(
      f'config.schedule: {config.schedule!r} is unknown; set '
      f'{", ".join(SCHEDULES[:-1])} or {SCHEDULES[-1]}.'
    )
  if not warmup:
    return schedule
  return optax.join_schedules(
    [optax.linear_schedule(0.0, rate, warmup), schedule], [warmup]
  )
