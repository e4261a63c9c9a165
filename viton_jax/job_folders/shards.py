"""Which part of a list of pairs a process does.

A shard is a number i of n. Every process of a job and every task of an array
has its own, and needs to know nothing of the others.
"""

from collections.abc import Mapping
import dataclasses

from viton_jax.errors import InputError, shown

_BLOCK = 256  # Pairs that stay together: neighbours often share a photo.


@dataclasses.dataclass(frozen=True)
class Shard:
  """Part `index` of `count`; 0 <= index < count."""

  index: int = 0
  count: int = 1

  @property
  def tag(self) -> str:
    """What its files are called: '00003-of-00016'."""
    return f'{self.index:05d}-of-{self.count:05d}'

  def __str__(self) -> str:
    return f'{self.index}/{self.count}'


def parse(text: str) -> Shard:
  """'3/16' -> shard 3 of 16, counted from 0.

  Raises:
    InputError: not of that form, or i is not in 0 .. n - 1.
  """
  index, slash, count = text.partition('/')
  if not (slash and index.isdecimal() and count.isdecimal()):
    raise InputError(
      f'--shard {shown(text)!r}: write i/n, as 0/16 for the first of 16 shards.'
    )
  if len(text) > 16 or not int(count):
    raise InputError(
      f'--shard {shown(text)}: there is no such number of shards; write i/n, '
      'as 0/16 for the first of 16 shards.'
    )
  shard = Shard(int(index), int(count))
  if shard.index >= shard.count:
    raise InputError(
      f'--shard {text}: shards are counted from 0, so give one of 0/{count} '
      f'to {max(shard.count - 1, 0)}/{count}.'
    )
  return shard


def find(
  text: str | None,
  environ: Mapping[str, str],
  *,
  process_index: int = 0,
  process_count: int = 1,
) -> Shard:
  """The shard of this process.

  Args:
    text: what --shard says; None: the place in a SLURM array, if it is one.
    environ: the environment.
    process_index: of this process among those of the job or the array's task.
    process_count: of these; each shard is split among them.

  Raises:
    InputError: no such shard, or a SLURM array whose numbers have gaps.
  """
  whole = parse(text) if text is not None else _of_slurm_array(environ)
  return Shard(
    whole.index * process_count + process_index,
    whole.count * process_count,
  )


def peers(shard: Shard, process_count: int) -> list[Shard]:
  """The shards of all processes that were started together with this one."""
  first = shard.index - shard.index % process_count
  return [Shard(first + i, shard.count) for i in range(process_count)]


def _of_slurm_array(environ) -> Shard:
  names = ('ID', 'MIN', 'MAX', 'STEP', 'COUNT')
  try:
    number, low, high, step, count = (
      int(environ[f'SLURM_ARRAY_TASK_{name}']) for name in names
    )
  except (KeyError, ValueError):
    return Shard()
  if step < 1 or (high - low) // step + 1 != count:
    raise InputError(
      f'SLURM_ARRAY_TASK_ID={number}: the array has {count} tasks between '
      f'{low} and {high}, with gaps, so their places cannot be determined; '
      'give --shard $SLURM_ARRAY_TASK_ID/N with the N of the first submission.'
    )
  return Shard((number - low) // step, count)


def places(total: int, shard: Shard) -> list[int]:
  """Which of `total` items are a shard's, ascending.

  Items are dealt in blocks, so every shard has some of each region of the list
  and neighbours stay together. All shards of one count together have every item
  once; the largest has at most one block more than the smallest.
  """
  block = max(1, min(_BLOCK, total // (8 * shard.count)))
  return [
    item
    for start in range(shard.index * block, total, shard.count * block)
    for item in range(start, min(start + block, total))
  ]
