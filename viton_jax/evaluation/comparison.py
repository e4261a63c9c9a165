"""Comparison of runs on the same pairs."""

import dataclasses

import numpy as np

from viton_jax.errors import InputError
from viton_jax.evaluation import intervals
from viton_jax.evaluation.intervals import Difference, Interval
from viton_jax.evaluation.tables import Table


@dataclasses.dataclass(frozen=True)
class Compared:
  """A run minus another.

  Attributes:
    label: of the other.
    differences: figure -> ours minus theirs.
    notes: what could not be compared, and why.
  """

  label: str
  differences: dict[str, Difference]
  notes: tuple[str, ...]


def check(other: Table, protocol: str) -> None:
  """Raises InputError where another run was measured otherwise."""
  if other.protocol != protocol:
    raise InputError(
      f'--compare {other.label}: was measured by the protocol '
      f'{other.protocol}, this run by {protocol}; measure both by one'
    )


def compare(ours: Table, theirs: Table) -> Compared:
  """Ours minus theirs, figure by figure, over the pairs that both have.

  FID, KID and IS are compared only between sets of the same names: they depend
  on how many pictures there are.

  Raises:
    InputError: no pair is in both.
  """
  places = {name: i for i, name in enumerate(theirs.names)}
  both = [(i, places[x]) for i, x in enumerate(ours.names) if x in places]
  if not both:
    raise InputError(
      f'--compare {theirs.label}: has no pair of this run (there: '
      f'{theirs.names[0]}, here: {ours.names[0]}); compare runs on one list'
    )
  left, right = (np.array(x) for x in zip(*both, strict=True))
  names = [ours.names[i] for i in left]
  notes, found = [], {}
  same = len(names) == len(ours.names) == len(theirs.names)
  if not same:
    notes.append(
      f'{len(names)} pairs are in both; {len(ours.names) - len(names)} only '
      f'here, {len(theirs.names) - len(names)} only there'
    )
  of_pairs = []
  for name in ours.figures:
    if name not in theirs.figures:
      notes.append(f'{name}: not measured there')
    elif name in ours.values and name in theirs.values:
      of_pairs.append(name)
    elif not same:
      notes.append(f'{name}: other pictures there, so not to be compared')
    elif name in ours.influences and name in theirs.influences:
      found[name] = _of_sets(name, names, ours, theirs, left, right)
  if of_pairs:
    columns = (
      np.stack([run.values[name][rows] for name in of_pairs], axis=1)
      for run, rows in ((ours, left), (theirs, right))
    )
    differences = intervals.differences_of_means(
      names, *columns, higher=[ours.higher[name] for name in of_pairs]
    )
    found |= dict(zip(of_pairs, differences, strict=True))
  found = {x: one for x, one in found.items() if one.interval.n}
  corrected = intervals.holm(one.p_value for one in found.values())
  return Compared(
    theirs.label,
    {
      name: dataclasses.replace(one, p_value=p)
      for (name, one), p in zip(found.items(), corrected, strict=True)
    },
    tuple(notes),
  )


def _of_sets(name, names, ours, theirs, left, right) -> Difference:
  apart = ours.influences[name][left] - theirs.influences[name][right]
  value = ours.figures[name].value - theirs.figures[name].value
  return Difference(intervals.of_set(value, names, apart))


def excludes_0(interval: Interval) -> bool:
  """Whether an interval of a difference leaves 0 out."""
  return interval.low > 0 or interval.high < 0


def winners(tables: list[Table], compared: dict[tuple[int, int], Compared]):
  """Which run is best in each figure, where that is sure.

  Args:
    tables: of the runs.
    compared: (i, j) -> run i minus run j, for all i < j.

  Returns:
    figure -> number of the run that is better than every other, with paired
    intervals that leave 0 out.
  """
  found = {}
  for name, higher in tables[0].higher.items():
    if higher is None:
      continue
    for best in range(len(tables)):
      if all(
        _beats(compared, best, other, name, higher)
        for other in range(len(tables))
        if other != best
      ):
        found[name] = best
  return found if len(tables) > 1 else {}


def _beats(compared, best, other, name, higher) -> bool:
  pair = (min(best, other), max(best, other))
  one = compared[pair].differences.get(name)
  if one is None or not excludes_0(one.interval):
    return False
  first_is_better = (one.interval.value > 0) == higher
  return first_is_better == (best < other)
