"""The end of a try-on job: metrics, HTML report and contact sheet."""

from collections.abc import Iterator
import itertools
import pathlib

import numpy as np

from viton_jax.errors import InputError
from viton_jax.io import contact_sheets, images, storage
from viton_jax.job_folders import places
from viton_jax.job_folders.folder import MANIFEST, Merged
from viton_jax.job_folders.job_files import read_lines
from viton_jax.jobs import html_report, writers
from viton_jax.metrics import METHODS, METRICS

# The images of a pair, and what each shows.
COLUMNS = {
  'person': 'the photo',
  'result': 'the try-on',
  'garment': "the garment's photo",
  'truth': 'the true image, where it is known',
  'coarse': "the encoder-decoder's image",
  'mask': 'where it puts the garment',
  'warped': 'the garment, warped to that place',
  'alpha': 'how much of the warped garment the refinement shows',
  'whole': "VITON's own image: coarse and warped garment, mixed by alpha",
  'changed': "white where the result is not the photo's own pixels",
}
# At a glance: what went in, what came out, and VITON's own image beside it.
_SHEET = ('person', 'garment', 'result', 'truth', 'whole')
_LARGE = ('person', 'result', 'garment', 'truth')
_SHEET_ROWS = 6
_REASONS = 3
_HEADINGS = ('L1', 'SSIM', 'L1, garment', 'SSIM, garment')


class Mean:
  """The mean of `metrics.compare_methods` over pairs, one after the other.

  Attributes:
    count: pairs so far.
  """

  def __init__(self):
    self.count = 0
    self._methods = set()  # Earlier versions had fewer.
    self._sums: dict[str, dict[str, float]] = {
      method: dict.fromkeys(METRICS, 0.0) for method in METHODS
    }

  def add(self, pair: dict[str, dict[str, float]]) -> None:
    self.count += 1
    self._methods |= pair.keys()
    for method, values in pair.items():
      for name, value in values.items():
        self._sums[method][name] += value

  def values(self) -> dict[str, dict[str, float]]:
    """Method -> metric -> mean; there must be a pair."""
    return {
      method: {name: total / self.count for name, total in row.items()}
      for method, row in self._sums.items()
      if method in self._methods
    }


def table(means: dict[str, dict[str, float]]) -> str:
  """The means as plain text."""
  lines = [f'{"":8}' + ''.join(f'{heading:>15}' for heading in _HEADINGS)]
  for method, row in means.items():
    cells = (
      f'{row[name]:15.4f}' if 'ssim' in name else f'{row[name]:15.2f}'
      for name in METRICS
    )
    lines.append(f'{method:8}' + ''.join(cells))
  return '\n'.join(lines)


def summarise(
  out_dir: pathlib.Path, merged: Merged, settings: dict, *, page_pairs: int
) -> None:
  """Writes index.html, sheet.png and metrics.json, and prints the metrics.

  Reads the merged manifest line by line: memory does not grow with it.

  Args:
    out_dir: the job's folder.
    merged: what merging found.
    settings: of the job.
    page_pairs: pairs that index.html shows.
  """
  total = merged.ok + merged.failed
  means = Mean()
  shown, reasons = [], []
  for number, line in enumerate(_lines(out_dir, total)):
    if number < page_pairs:
      shown.append(line)
    # 'figures' is what earlier versions called them.
    measured = line.get('metrics') or line.get('figures')
    if measured and all(
      method in METHODS and set(row) == set(METRICS)
      for method, row in measured.items()
    ):
      means.add(measured)
    if line['status'] != 'ok' and len(reasons) < _REASONS:
      reasons.append(f'{line["name"]}: {line["reason"]}')

  summary = [f'{merged.ok} pairs dressed, {merged.failed} failed.']
  values = None
  if means.count:
    values = means.values()
    summary.append(
      f'Against the truth, mean over {means.count} pairs. L1 in grey levels '
      'of 255; SSIM Gaussian, 11 x 11, sigma 1.5, mean over RGB. paste: the '
      "warped garment wherever the mask is at least 1/2; whole: the networks' "
      'image.'
    )
    storage.write_json(
      out_dir / 'metrics.json', {'pairs': means.count, 'mean': values}
    )
  if len(shown) < total:
    summary.append(f'The first {len(shown)} pairs of {total}.')
  with_images = settings['output'] != writers.TFRECORD
  if with_images:
    rendered = html_report.render(
      'Try-on results',
      summary,
      metrics=values,
      columns=COLUMNS,
      large=_LARGE,
      pairs=[page_entry(line, out_dir, settings) for line in shown],
    )
    storage.write_file(out_dir / 'index.html', rendered.encode())
    write_sheet(shown, out_dir, settings)

  print('\n'.join(summary if with_images else summary[:2]))
  if values:
    print(table(values))
  for reason in reasons:
    print(f'failed: {reason}')
  if merged.failed > len(reasons):
    print(f'why the others failed: {out_dir / MANIFEST}')
  print(
    f'open {out_dir / "index.html"}'
    if with_images
    else f'records in {out_dir / "results"}'
  )


def _lines(out_dir: pathlib.Path, count: int) -> Iterator[dict]:
  """The lines of the list; those of earlier lists stand behind them."""
  lines = (line for _, line in read_lines(out_dir / MANIFEST))
  return itertools.islice(lines, count)


def write_sheet(
  lines: list[dict], out_dir: pathlib.Path, settings: dict
) -> None:
  """Writes sheet.png: the first pairs at a glance, where steps are there."""
  rows = []
  for line in lines:
    shown = page_entry(line, out_dir, settings).get('images', {})
    if len(shown) > 1 and 'result' in shown:
      row = {
        column: contact_sheets.read_image(out_dir / place)
        for column, place in shown.items()
      }
      first = next(iter(rows or [row]))['result']
      for column, image in row.items():
        if image.shape != first.shape:
          raise InputError(
            f'{out_dir / shown[column]}: is {image.shape[1]} x '
            f'{image.shape[0]} pixels where others are {first.shape[1]} x '
            f'{first.shape[0]}; remove it to have it made again.'
          )
      rows.append(row)
    if len(rows) == _SHEET_ROWS:
      break
  # A sheet has one set of columns: those that all its rows have.
  columns = [c for c in _SHEET if rows and all(c in row for row in rows)]
  if columns:
    sheet = contact_sheets.contact_sheet(
      {column: np.stack([row[column] for row in rows]) for column in columns}
    )
    storage.write_file(out_dir / 'sheet.png', images.encode_png(sheet))


def page_entry(line: dict, out_dir: pathlib.Path, settings: dict) -> dict:
  """A pair's row of the report, with the images that are there."""
  if line['status'] != 'ok':
    return {'name': line['name'], 'reason': line['reason']}
  found = {
    column: places.place_of(
      line['name'],
      column,
      kind=settings['output'],
      folders=settings['folders'],
      step_kind=settings.get('step_format', 'jpeg'),
    )
    for column in COLUMNS
  }
  return {
    'name': line['name'],
    'images': {
      column: place
      for column, place in found.items()
      if (out_dir / place).exists()
    },
  }
