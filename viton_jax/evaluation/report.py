"""The HTML report: tables with intervals, histograms, and pairs to look at."""

from collections.abc import Mapping, Sequence
import math
import pathlib

import cv2
from jaxtyping import UInt8
import numpy as np

from viton_jax.evaluation import (
  comparison,
  groups,
  measuring,
  reading,
  tables,
)
from viton_jax.evaluation.intervals import SMALLEST_GROUP, Interval
from viton_jax.evaluation.job import Job
from viton_jax.evaluation.tables import Table
from viton_jax.io import html_pages, images
from viton_jax.io.html_pages import Cell

_CASES = {'worst': 12, 'median': 6, 'best': 6}
# The first of these that there is ranks the cases.
_RANKED_BY = ('lpips', 'ssim', 'dists', 'ms_ssim', 'psnr', 'l1', 'mse')
_TALLEST_PX = 320
_QUALITY = 85
_AMPLIFIED = 3


def render(
  job: Job,
  runs: Sequence[Table],
  compared: Mapping[tuple[int, int], comparison.Compared],
  *,
  found: Mapping,
  warnings: Sequence[str],
  out_dir: pathlib.Path,
) -> str:
  """The whole page, with its pictures in it.

  Args:
    job: the evaluation.
    runs: ours, and those that it is compared with.
    compared: (i, j) -> run i minus run j.
    found: what metrics.json holds.
    warnings: sentences.
    out_dir: of the evaluation.
  """
  ours = runs[0]
  best = comparison.winners(list(runs), dict(compared))
  card = found['protocol']
  body = [
    html_pages.paragraph(
      f'{card["results"]} results, protocol {job.protocol.name}. '
      f'{job.pairs.source}.'
    ),
    *(html_pages.paragraph(x, kind='warning') for x in warnings),
    *(html_pages.paragraph(x, kind='warning') for x in job.nets.sentences()),
  ]
  parts = {
    'Figures': [x for x in ours.figures if x not in measuring.KNOWN_FIGURES],
    'With the known truth': [
      x for x in ours.figures if x in measuring.KNOWN_FIGURES
    ],
  }
  for heading, names in parts.items():
    if not names:
      continue
    body += [
      f'<h2>{heading}</h2>',
      _main_table(runs, names, best),
      html_pages.paragraph(
        'Value over its 95 % interval. An arrow says what is better.'
        + (
          ' Bold: better than every other run, with a 95 % interval of the '
          'paired difference that leaves 0 out.'
          if len(runs) > 1
          else ''
        )
      ),
      _card(job, card, names),
    ]
  if found['fid_infinity'] is not None:
    body.append(
      html_pages.paragraph(
        'FID extrapolated to endlessly many pictures (Chong and Forsyth): '
        f'{found["fid_infinity"]:.4g}'
      )
    )
  body += [_differences(ours, one) for (i, _), one in compared.items() if not i]
  body += _groups(ours, found['groups'])
  if ours.values:
    body += ['<h2>How the pairs are spread</h2>', '<div class="charts">']
    body += [
      html_pages.histogram(column[np.isfinite(column)], _headed(ours, name))
      for name, column in ours.values.items()
      if np.isfinite(column).any()
    ]
    body.append('</div>')
  body += _cases(job, ours)
  return html_pages.document(f'Evaluation of {ours.label}', body)


def with_interval(one: Interval) -> str:
  """A value with its interval, as text."""
  if not math.isfinite(one.low):
    return number(one.value)
  return f'{number(one.value)} [{number(one.low)}, {number(one.high)}]'


def number(value: float) -> str:
  """Four significant digits, and no more than four decimals."""
  if not math.isfinite(value):
    return '-'
  decimals = 3 - math.floor(math.log10(abs(value))) if value else 4
  text = f'{value:.{min(max(decimals, 0), 4)}f}'
  # What is rounded to nothing has no sign.
  return text.removeprefix('-') if not float(text) else text


def _headed(table: Table, name: str) -> str:
  arrow = {True: '↑', False: '↓', None: '→ 1'}[table.higher[name]]
  return f'{name} {arrow}'


def _main_table(runs, names, best) -> str:
  columns = [
    Cell(
      _headed(runs[0], name),
      title=measuring.KNOWN_FIGURES.get(name, ('',))[0],
    )
    for name in names
  ]
  rows = {}
  for i, run in enumerate(runs):
    label = run.label if run.label not in rows else f'{run.label} ({i + 1})'
    rows[label] = [
      _cell(run.figures[name], bold=best.get(name) == i)
      if name in run.figures
      else Cell('-')
      for name in names
    ]
  return html_pages.table(columns, rows, corner='run')


def _cell(one: Interval, *, bold: bool = False) -> Cell:
  below = ''
  if math.isfinite(one.low):
    below = f'{number(one.low)} to {number(one.high)}'
  return Cell(number(one.value), below, bold, f'n = {one.n}')


def _card(job: Job, card: Mapping, names: Sequence[str]) -> str:
  """What must be known to compare the figures of a table."""
  rows = {
    'protocol': f'{card["name"]}: {card["source"]}',
    'size': f'{card["size"]}; the truth: {card["truth_resize"]}',
    'compared with': card['real_set'],
    'pictures': '; '.join(
      f'{card[count]} {name} ({_counted(card["sizes"][side])}; '
      f'{_counted(card["formats"][side])})'
      for count, name, side in (
        ('results', 'results', 'results'),
        ('true_pictures', 'true pictures', 'truth'),
      )
    ),
    'list': f'SHA-256 {card["list_sha256"]}..., {card["duplicates_in_list"]} '
    f'duplicates, {card["failed"]} that cannot be read',
    'precision': f'{card["precision"]}; on {card["device"]}',
    'intervals': card['intervals'],
  }
  for name in names:
    if name in card['figures']:
      row = card['figures'][name]
      rows[name] = '; '.join(
        f'{key}: {value}' for key, value in row.items() if key != 'better'
      )
    else:
      rows[name] = measuring.KNOWN_FIGURES[name][0]
  for name, files in card['weights'].items():
    rows[f'weights of {name}'] = '; '.join(
      f'{x["name"]}, {x["size"]} bytes, SHA-256 {x["sha256"]}' for x in files
    )
  if card['notes']:
    rows['notes'] = '; '.join(card['notes'])
  return html_pages.fold('Protocol card', [html_pages.definitions(rows)])


def _counted(counts: Mapping[str, int]) -> str:
  return ', '.join(
    name if len(counts) == 1 else f'{count} {name}'
    for name, count in counts.items()
  )


def _differences(ours: Table, one: comparison.Compared) -> str:
  rows = {
    _headed(ours, name): [
      Cell(number(x.interval.value), bold=comparison.excludes_0(x.interval)),
      Cell(f'{number(x.interval.low)} to {number(x.interval.high)}'),
      Cell(f'{x.win_rate:.1%}' if math.isfinite(x.win_rate) else '-'),
      Cell(f'{x.p_value:.2g}' if math.isfinite(x.p_value) else '-'),
      Cell(str(x.interval.n)),
    ]
    for name, x in one.differences.items()
  }
  columns = [
    Cell('difference'),
    Cell('95 % interval'),
    Cell('win rate', title='share of the pairs in which this run is better'),
    Cell('p', title='Wilcoxon, corrected by Holm for the number of figures'),
    Cell('n'),
  ]
  return '\n'.join(
    [
      f'<h2>{html_pages.escaped(f"{ours.label} minus {one.label}")}</h2>',
      html_pages.table(columns, rows, corner='figure'),
      html_pages.paragraph(
        'On the same pairs. Bold: the interval leaves 0 out. Win rate: share '
        'of pairs in which this run is better, ties half. p: Wilcoxon '
        'signed-rank, Holm for the number of figures.'
      ),
      *(html_pages.paragraph(note) for note in one.notes),
    ]
  )


def _groups(ours: Table, found: Mapping) -> list[str]:
  if not found:
    return []
  names = [x for x in ours.values if x in ours.figures]
  body = [
    '<h2>Groups</h2>',
    html_pages.paragraph(
      f'Groups of fewer than {SMALLEST_GROUP} pairs are not shown.'
    ),
  ]
  for group, labels in found.items():
    rows = {
      f'{label} (n = {row["n"]})': [
        _cell(tables.interval_of(row['figures'][name])) for name in names
      ]
      for label, row in labels.items()
    }
    table = html_pages.table(
      [Cell(_headed(ours, name)) for name in names], rows, corner=group
    )
    body.append(
      html_pages.fold(
        f'{group}: {groups.NAMES[group]}',
        [table],
        opened=group == next(iter(found)),
      )
    )
  return body


# ----------------------------------------------------------------------- cases


def _cases(job: Job, ours: Table) -> list[str]:
  ranking = next((x for x in _RANKED_BY if x in ours.values), None)
  if ranking is None:
    return []
  values = ours.values[ranking]
  order = np.argsort(-values if ours.higher[ranking] else values, kind='stable')
  order = order[np.isfinite(values[order])]
  items = {item.name: item for item in job.pairs.items}
  body = []
  taken = set()
  for kind, count in _CASES.items():
    places = _places(kind, len(order), count)
    places = [i for i in places if i not in taken]
    taken |= set(places)
    if not places:
      continue
    body += [
      f'<h2>The {kind} by {ranking}</h2>',
      html_pages.paragraph(
        f'Result, truth, and their difference times {_AMPLIFIED}: black where '
        'they are equal.'
      ),
      '<div class="cases">',
    ]
    for i in places:
      at = order[i]
      name = ours.names[at]
      body.append(_case(job, items[name], ours, at, ranking=ranking))
    body.append('</div>')
  return body


def _places(kind: str, total: int, count: int) -> list[int]:
  """Places in an order from best to worst."""
  count = min(count, total)
  if kind == 'best':
    return list(range(count))
  if kind == 'worst':
    return list(range(total - 1, total - 1 - count, -1))
  first = (total - count) // 2
  return list(range(first, first + count))


def _case(job: Job, item, ours: Table, at: int, *, ranking: str) -> str:
  one = reading.read(job.pairs, item, method=job.method, known=())
  heading = f'<h3>{html_pages.escaped(item.name)}</h3>'
  if one.reason or one.result is None or one.truth is None:
    reason = one.reason or 'there is no picture'
    return f'<div>{heading}{html_pages.paragraph(reason, kind="failed")}</div>'
  result = _small(one.result)
  truth = images.resize_area(one.truth, *result.shape[:2])
  shown = {'result': result, 'truth': truth, 'difference': apart(result, truth)}
  if 'person' in one.known and not np.array_equal(one.known['person'], truth):
    shown = {
      'person': images.resize_area(one.known['person'], *result.shape[:2])
    } | shown
  named = dict.fromkeys([ranking, *list(ours.values)[:3]])
  figures = '  '.join(
    f'{name} {number(ours.values[name][at])}'
    for name in named
    if np.isfinite(ours.values[name][at])
  )
  return '\n'.join(
    [
      f'<div>{heading}<div class="large">',
      *(
        html_pages.picture(
          html_pages.jpeg_source(images.encode_jpeg(picture, quality=_QUALITY)),
          caption,
          of=item.name,
        )
        for caption, picture in shown.items()
      ),
      f'</div>{html_pages.paragraph(figures)}</div>',
    ]
  )


def _small(picture: np.ndarray) -> np.ndarray:
  height, width = picture.shape[:2]
  if height <= _TALLEST_PX:
    return picture
  return images.resize_area(
    picture, _TALLEST_PX, max(1, round(width * _TALLEST_PX / height))
  )


def apart(
  result: UInt8[np.ndarray, 'h w 3'], truth: UInt8[np.ndarray, 'h w 3']
) -> UInt8[np.ndarray, 'h w 3']:
  """The difference of two pictures as colours, black where they are equal."""
  grey = np.abs(result.astype(np.int16) - truth).max(axis=-1) * _AMPLIFIED
  coloured = cv2.applyColorMap(
    np.minimum(grey, 255).astype(np.uint8), cv2.COLORMAP_INFERNO
  )
  return cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB)
