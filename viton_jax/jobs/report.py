"""What a try-on job says at its end: figures, page and contact sheet."""

from collections.abc import Iterator
import itertools
import pathlib

import numpy as np

from viton_jax.io import contact_sheets, images, storage
from viton_jax.jobs import html_report, scores, writers
from viton_jax.jobs.folder import MANIFEST, Merged

COLUMNS = (
  'person',
  'garment',
  'coarse',
  'mask',
  'warped',
  'alpha',
  'result',
  'truth',
)
_SHEET_ROWS = 6
_REASONS = 3


def summarise(
  out_dir: pathlib.Path, merged: Merged, settings: dict, *, page_pairs: int
) -> None:
  """Writes index.html, sheet.png and figures.json, and prints the figures.

  Reads the merged manifest line by line: memory does not grow with it.

  Args:
    out_dir: the job's folder.
    merged: what merging found.
    settings: of the job.
    page_pairs: pairs that the page shows.
  """
  total = merged.ok + merged.failed
  means = scores.Mean()
  shown, reasons = [], []
  for number, line in enumerate(_lines(out_dir, total)):
    if number < page_pairs:
      shown.append(line)
    if 'figures' in line:
      means.add(line['figures'])
    if line['status'] != 'ok' and len(reasons) < _REASONS:
      reasons.append(f'{line["name"]}: {line["reason"]}')

  summary = [f'{merged.ok} pairs dressed, {merged.failed} failed.']
  values = None
  if means.count:
    values = means.values()
    summary.append(
      f'Against the truth, mean over {means.count} pairs. L1 in grey levels '
      'of 255; SSIM Gaussian, 11 x 11, sigma 1.5, mean over RGB. paste: the '
      'warped garment wherever the mask is at least 1/2.'
    )
    storage.write_json(
      out_dir / 'figures.json', {'pairs': means.count, 'mean': values}
    )
  if len(shown) < total:
    summary.append(f'The first {len(shown)} pairs of {total}.')
  pictures = settings['output'] != writers.TFRECORD
  if pictures:
    rendered = html_report.render(
      'Try-on results',
      summary,
      figures=values,
      columns=COLUMNS,
      pairs=[page_entry(line, out_dir, settings) for line in shown],
    )
    storage.write_file(out_dir / 'index.html', rendered.encode())
    write_sheet(shown, out_dir, settings)

  print('\n'.join(summary if pictures else summary[:2]))
  if values:
    print(scores.table(values))
  for reason in reasons:
    print(f'failed: {reason}')
  if merged.failed > len(reasons):
    print(f'why the others failed: {out_dir / MANIFEST}')
  print(
    f'open {out_dir / "index.html"}'
    if pictures
    else f'records in {out_dir / "results"}'
  )


def _lines(out_dir: pathlib.Path, count: int) -> Iterator[dict]:
  """The lines of the list; those of earlier lists stand behind them."""
  lines = (line for _, line in storage.read_lines(out_dir / MANIFEST))
  return itertools.islice(lines, count)


def write_sheet(
  lines: list[dict], out_dir: pathlib.Path, settings: dict
) -> None:
  """Writes sheet.png: the first pairs at a glance, where steps are there."""
  rows = []
  for line in lines:
    pictures = page_entry(line, out_dir, settings).get('pictures', {})
    if len(pictures) > 1 and 'result' in pictures:
      rows.append(
        {
          column: contact_sheets.read_picture(out_dir / place)
          for column, place in pictures.items()
        }
      )
    if len(rows) == _SHEET_ROWS:
      break
  # A sheet has one set of columns: those that all its rows have.
  columns = [c for c in COLUMNS if rows and all(c in row for row in rows)]
  if columns:
    sheet = contact_sheets.contact_sheet(
      {column: np.stack([row[column] for row in rows]) for column in columns}
    )
    storage.write_file(out_dir / 'sheet.png', images.encode_png(sheet))


def page_entry(line: dict, out_dir: pathlib.Path, settings: dict) -> dict:
  """A pair's row of the page, with the pictures that are there."""
  if line['status'] != 'ok':
    return {'name': line['name'], 'reason': line['reason']}
  places = {
    column: writers.place_of(
      line['name'],
      column,
      kind=settings['output'],
      folders=settings['folders'],
    )
    for column in COLUMNS
  }
  return {
    'name': line['name'],
    'pictures': {
      column: place
      for column, place in places.items()
      if (out_dir / place).exists()
    },
  }
