"""The figures of evaluations as columns of numbers: ours, and others read."""

from collections.abc import Mapping, Sequence
import dataclasses
import math
import pathlib

from jaxtyping import Float
import numpy as np

from viton_jax.errors import InputError, shown
from viton_jax.evaluation.intervals import Interval
from viton_jax.io import storage, structured

METRICS_FILE = 'metrics.json'
PAIRS_FILE = 'pairs.jsonl'
_REMEDY = 'give the --out_dir of a finished evaluation'


@dataclasses.dataclass(frozen=True)
class Table:
  """What one run is compared by.

  Attributes:
    label: of the run.
    protocol: its name.
    names: of pairs and pictures, n.
    values: figure -> (n,) values; NaN: a pair has none.
    influences: figure of a set -> (n, 2) influences of results and of true
      pictures on it; NaN: a name has none there.
    figures: figure -> value with interval.
    higher: figure -> whether higher is better; None: neither.
  """

  label: str
  protocol: str
  names: tuple[str, ...]
  values: dict[str, Float[np.ndarray, ' n']]
  influences: dict[str, Float[np.ndarray, 'n 2']]
  figures: dict[str, Interval]
  higher: dict[str, bool | None]


def read(out_dir: pathlib.Path) -> Table:
  """Another evaluation, from its metrics.json and pairs.jsonl.

  Raises:
    InputError: a file is missing or damaged.
  """
  path = out_dir / METRICS_FILE
  saved = structured.read_object(path, 'file of figures', remedy=_REMEDY)
  try:
    protocol = saved['protocol']['name']
    figures = {name: interval_of(row) for name, row in saved['figures'].items()}
    higher = {
      name: {'higher': True, 'lower': False}.get(row['better'])
      for name, row in saved['figures'].items()
    }
  except (KeyError, TypeError, AttributeError, ValueError) as error:
    raise InputError(
      f'{path}: is no metrics.json of an evaluation ({shown(error)} is '
      f'missing or wrong); {_REMEDY}'
    ) from error
  names, rows = [], []
  for _, line in storage.read_lines(out_dir / PAIRS_FILE):
    if isinstance(line.get('name'), str):
      names.append(line['name'])
      rows.append((line.get('figures'), line.get('influences')))
  if not names:
    raise InputError(f'{out_dir / PAIRS_FILE}: has no line; {_REMEDY}')
  values = {name: np.full(len(names), np.nan) for name in figures}
  influences = {}
  for i, (one, moved) in enumerate(rows):
    for name, value in (one if isinstance(one, dict) else {}).items():
      if name in values and isinstance(value, int | float):
        values[name][i] = value
    for name, pair in (moved if isinstance(moved, dict) else {}).items():
      if name in figures and isinstance(pair, list) and len(pair) == 2:
        column = influences.setdefault(name, np.full((len(names), 2), np.nan))
        column[i] = [_number(x) for x in pair]
  return Table(
    out_dir.resolve().name,
    shown(protocol),
    tuple(names),
    {x: column for x, column in values.items() if x not in influences},
    influences,
    figures,
    higher,
  )


def interval_of(row: Mapping) -> Interval:
  """A figure as metrics.json has it; raises KeyError where it is none."""
  return Interval(
    value=_number(row['value']),
    low=_number(row['low']),
    high=_number(row['high']),
    n=int(row['n']),
  )


def _number(value) -> float:
  return float(value) if isinstance(value, int | float) else math.nan


def lines(table: Table, groups: Sequence[dict[str, str]]) -> Sequence[dict]:
  """The lines of pairs.jsonl."""
  return [
    {
      'name': name,
      'figures': {
        figure: float(column[i])
        for figure, column in table.values.items()
        if not np.isnan(column[i])
      },
      'influences': {
        figure: [None if np.isnan(x) else float(x) for x in column[i]]
        for figure, column in table.influences.items()
        if not np.isnan(column[i]).all()
      },
      'groups': groups[i],
    }
    for i, name in enumerate(table.names)
  ]
