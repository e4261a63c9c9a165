"""The end of an evaluation: metrics.json, pairs.jsonl, report.html, a table."""

from collections import Counter
from collections.abc import Iterator, Sequence
import dataclasses
import itertools
import json
import math
import pathlib

import jax
import numpy as np

import viton_jax
from viton_jax.errors import InputError
from viton_jax.evaluation import (
  cards,
  comparison,
  distances,
  groups,
  intervals,
  measuring,
  report,
  stored,
)
from viton_jax.evaluation.intervals import Interval
from viton_jax.evaluation.job import Job
from viton_jax.evaluation.pairing import Warned
from viton_jax.evaluation.protocols import FID_BIASED_BELOW, Figure
from viton_jax.evaluation.tables import METRICS_FILE, PAIRS_FILE, Table, lines
from viton_jax.io import storage
from viton_jax.job_folders import places
from viton_jax.job_folders.folder import MANIFEST
from viton_jax.job_folders.job_files import read_lines
from viton_jax.metrics import frechet

REPORT_FILE = 'report.html'
_FEWEST_FOR_INFINITY = 200


def write(
  job: Job,
  others: Sequence[Table],
  out_dir: pathlib.Path,
  *,
  total: int,
  fid_infinity: bool,
) -> None:
  """Makes all figures of what is stored, writes and prints them.

  Args:
    job: the evaluation.
    others: runs to be compared with.
    out_dir: its folder, with a merged manifest.
    total: lines of the manifest that are of the list.
    fid_infinity: see `distances.fid_infinity`.

  Raises:
    InputError: nothing could be measured, or a stored file is torn.
  """
  read = itertools.islice(read_lines(out_dir / MANIFEST), total)
  measured = [line for _, line in read]
  good = [line for line in measured if line['status'] == 'ok']
  if not good:
    raise InputError(
      f'{out_dir}: not one of {total} results could be read; '
      f'{measured[0]["reason"]}'
    )
  warnings = [*job.pairs.warnings, *_warnings(job, measured, good)]
  table, spreads, extrapolated = _table(job, good, out_dir, fid_infinity)
  warnings += _warnings_of_figures(job, table)
  in_groups = _in_groups(table, good)
  runs = [table, *others]
  compared = {}
  for i, j in itertools.combinations(range(len(runs)), 2):
    try:
      compared[i, j] = comparison.compare(runs[i], runs[j])
    except InputError:
      # Others may not be comparable with each other, but with this run.
      if i == 0:
        raise
  found = {
    'viton_jax': viton_jax.__version__,
    'protocol': _card(job, good, measured),
    'figures': {
      name: _row(one)
      | {
        'better': _better(table.higher[name]),
        'of': 'known truth' if name in measuring.KNOWN_FIGURES else 'protocol',
      }
      | ({'spread': spreads[name]} if name in spreads else {})
      for name, one in table.figures.items()
    },
    'fid_infinity': extrapolated,
    'groups': {
      name: {
        label: {'n': n, 'figures': {x: _row(one) for x, one in row.items()}}
        for label, (n, row) in labels.items()
      }
      for name, labels in in_groups.items()
    },
    'left_out': job.nets.left_out,
    'warnings': [{'what': x.what, 'names': x.names} for x in warnings],
    'comparisons': [
      {
        'with': one.label,
        'notes': one.notes,
        'figures': {
          name: _row(x.interval)
          | {'win_rate': _plain(x.win_rate), 'p_holm': _plain(x.p_value)}
          for name, x in one.differences.items()
        },
      }
      for (i, _), one in compared.items()
      if not i
    ],
  }
  page = report.render(
    job,
    runs,
    compared,
    found=found,
    warnings=[str(x) for x in warnings],
    out_dir=out_dir,
  )
  text = ''.join(
    json.dumps(line) + '\n'
    for line in lines(table, [x.get('groups', {}) for x in good])
  )
  # The figures last: where they are, everything is.
  storage.write_file(out_dir / PAIRS_FILE, text.encode())
  storage.write_file(out_dir / REPORT_FILE, page.encode())
  storage.write_json(out_dir / METRICS_FILE, found)
  known = set(map(str, job.pairs.warnings))
  for warning in warnings:
    if str(warning) not in known:  # Those were said at the start.
      print(f'warning: {warning}')
  print(as_text(runs))
  if extrapolated is not None:
    print(f'FID extrapolated to endlessly many pictures: {extrapolated:.4g}')
  print(f'open {out_dir / REPORT_FILE}')


def _warnings(job: Job, measured, good) -> list[Warned]:
  """What the pictures themselves are odd in."""
  found = []

  def add(what, names):
    names = tuple(names)
    if names:
      found.append(Warned(f'{len(names)} {what}', names))

  add(
    'results that cannot be read',
    (x['name'] for x in measured if x['status'] != 'ok'),
  )
  both = [x for x in good if all(x['sizes'])]
  add(
    'pairs whose result and truth are of different sizes, brought to one size '
    'as the protocol says',
    (x['name'] for x in both if x['sizes'][0] != x['sizes'][1]),
  )
  sides = {
    side: {x['name'] for x in good if x['formats'][i] in ('jpeg', 'webp')}
    for i, side in enumerate(('results', 'truth'))
  }
  for side, other in (('results', 'truth'), ('truth', 'results')):
    add(
      f'pairs with lossy files (JPEG, WebP) in the {side} and not in the '
      f'{other}, which changes every figure',
      (x['name'] for x in both if x['name'] in sides[side] - sides[other]),
    )
  sizes = Counter(tuple(x['sizes'][0]) for x in good if x['sizes'][0])
  if len(sizes) > 1:
    (common, _), *_ = sizes.most_common()
    add(
      f'results of another size than most, which are {common[1]} x {common[0]}',
      (
        x['name']
        for x in good
        if x['sizes'][0] and tuple(x['sizes'][0]) != common
      ),
    )
  return found


def _table(job: Job, good, out_dir, fid_infinity):
  """(the table, figure -> spread over splits, FID-infinity or None)."""
  names = tuple(line['name'] for line in good)
  higher: dict[str, bool | None] = {x.name: x.higher for x in job.figures}
  wanted = [x.name for x in job.figures if x.of_pairs]
  for name in measuring.known_names(job.known, job.nets):
    wanted.append(name)
    higher[name] = measuring.KNOWN_FIGURES[name][1]
  values = {
    name: np.array([x['values'].get(name, np.nan) for x in good])
    for name in wanted
  }
  values = {x: column for x, column in values.items() if not _empty(column)}
  found = {}
  if values:
    means = intervals.of_means(names, np.stack(list(values.values()), axis=1))
    found = dict(zip(values, means, strict=True))
  influences, spreads, extrapolated = {}, {}, None
  for found_set in _sets(job, good, out_dir):
    figures, fake, real = found_set.figures, found_set.fake, found_set.real
    for name, one in distances.measure(figures, fake, real).items():
      moved = np.full((len(names), 2), np.nan)
      moved[found_set.of_fake, 0] = one.fake
      if one.real is not None:
        moved[found_set.of_real, 1] = one.real
      influences[name] = moved
      found[name] = intervals.of_set(one.value, names, moved)
      if one.spread is not None:
        spreads[name] = one.spread
    if (
      fid_infinity
      and real is not None
      and any(x.kind == 'fid' for x in figures)
      and min(len(fake), len(real)) >= _FEWEST_FOR_INFINITY
    ):
      extrapolated = frechet.fid_infinity(real, fake)
  ordered = {x: found[x] for x in higher if x in found}
  table = Table(
    out_dir.resolve().name,
    job.protocol.name,
    names,
    values,
    influences,
    ordered,
    {x: higher[x] for x in ordered},
  )
  return table, spreads, extrapolated


@dataclasses.dataclass(frozen=True)
class _Set:
  """Features of one kind, and the figures that are made of them.

  Attributes:
    figures: of the protocol.
    fake, of_fake: (n, d) features of results, and of which lines they are.
    real, of_real: (m, d) of true pictures, or None where none are needed.
  """

  figures: list[Figure]
  fake: np.ndarray
  of_fake: np.ndarray
  real: np.ndarray | None = None
  of_real: np.ndarray | None = None


def _sets(job: Job, good, out_dir) -> Iterator[_Set]:
  """The features of each kind, where both sides have two or more."""
  places = np.array([i for i, x in enumerate(good) if x['file']], np.int64)
  names = [good[i]['name'] for i in places]
  start = 0
  for column, width in zip(
    job.columns, measuring.widths(job.columns), strict=True
  ):
    part = slice(start, start + width)
    start += width
    figures = [x for x in job.figures if _is_of(x, column)]
    fake, kept = stored.read(out_dir, names, side=0, columns=part)
    found = _Set(figures, fake, places[kept])
    if column.both:
      real, kept = stored.read(out_dir, names, side=1, columns=part)
      found = _Set(figures, fake, found.of_fake, real, places[kept])
    if min(len(x) for x in (found.fake, found.real) if x is not None) >= 2:
      yield found


def _is_of(figure, column: measuring.Column) -> bool:
  return (figure.extractor, figure.prepared, figure.tap) == (
    column.extractor,
    column.prepared,
    column.tap,
  )


def _empty(column) -> bool:
  return bool(np.isnan(column).all())


def _warnings_of_figures(job: Job, table: Table) -> list[Warned]:
  found = []
  for figure in job.figures:
    if figure.kind == 'fid' and figure.name in table.figures:
      counts = (~np.isnan(table.influences[figure.name])).sum(axis=0)
      if counts.min() < FID_BIASED_BELOW:
        found.append(
          Warned(
            f'{figure.name} is of {counts[0]} results and {counts[1]} true '
            f'pictures: with fewer than {FID_BIASED_BELOW} it is biased '
            'upwards, and its interval does not show that; compare it only '
            'with a FID of as many pictures, or use kid, which is unbiased'
          )
        )
  for figure in job.figures:
    if figure.name not in table.figures:
      found.append(Warned(f'{figure.name} has no value: {_why_none(figure)}'))
  return found


def _why_none(figure) -> str:
  if figure.kind == 'ms_ssim':
    return 'five scales need pictures of more than 160 pixels a side'
  if figure.of_pairs:
    return 'no result has a true picture of its own'
  return 'there are fewer than two results, or true pictures'


def _in_groups(table: Table, good):
  """Group -> label -> (n, figure -> interval), of groups large enough."""
  found = {}
  figures = list(table.values)
  if not figures:
    return found
  matrix = np.stack([table.values[x] for x in figures], axis=1)
  for name in groups.NAMES:
    labels = np.array([x.get('groups', {}).get(name, '') for x in good])
    for label, row in intervals.groups(table.names, matrix, labels).items():
      found.setdefault(name, {})[label] = (
        int((labels == label).sum()),
        dict(zip(figures, row, strict=True)),
      )
  return found


def _card(job: Job, good, measured) -> dict:
  """The protocol's card: what must be known to compare the figures."""
  return cards.card(job.protocol, job.figures) | {
    'results': sum(x['sizes'][0] is not None for x in good),
    'true_pictures': sum(x['sizes'][1] is not None for x in good),
    'failed': len(measured) - len(good),
    'duplicates_in_list': job.pairs.duplicates,
    'list_sha256': places.digest(x['name'] for x in measured),
    'method': job.method,
    'source_of_pictures': job.pairs.source,
    'formats': {
      side: dict(Counter(x['formats'][i] for x in good if x['formats'][i]))
      for i, side in enumerate(('results', 'truth'))
    },
    'sizes': {
      side: dict(
        Counter(
          f'{x["sizes"][i][1]} x {x["sizes"][i][0]}'
          for x in good
          if x['sizes'][i]
        )
      )
      for i, side in enumerate(('results', 'truth'))
    },
    'weights': job.nets.files,
    'precision': 'float32 networks, matrix products at their highest '
    'precision; statistics of sets in float64',
    'device': jax.default_backend(),
    'intervals': f'{intervals.LEVEL:.0%}, Poisson bootstrap of '
    f'{intervals.REPLICATES} replicates keyed by the CRC-32 of the name, '
    'expanded percentiles; FID, KID and IS linearised',
  }


def _row(one: Interval) -> dict:
  return {
    'value': _plain(one.value),
    'low': _plain(one.low),
    'high': _plain(one.high),
    'n': one.n,
  }


def _plain(value: float) -> float | None:
  """What is no number is none in JSON."""
  return value if math.isfinite(value) else None


def _better(higher: bool | None) -> str:
  return {True: 'higher', False: 'lower', None: '1'}[higher]


def as_text(runs: Sequence[Table]) -> str:
  """The figures of runs as plain text, with intervals."""
  rows = [('', 'n', *(run.label for run in runs))]
  for name, one in runs[0].figures.items():
    arrow = {True: 'higher', False: 'lower', None: '1'}[runs[0].higher[name]]
    cells = [
      report.with_interval(run.figures[name]) if name in run.figures else '-'
      for run in runs
    ]
    rows.append((f'{name} ({arrow} is better)', str(one.n), *cells))
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return '\n'.join(
    '  '.join(
      text.ljust(width) if not i else text.rjust(width)
      for i, (text, width) in enumerate(zip(row, widths, strict=True))
    ).rstrip()
    for row in rows
  )
