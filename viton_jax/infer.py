"""Tries garments on: a list of pairs in, pictures and a page to look at out.

  python -m viton_jax.infer --data_dir DATA --layout viton \\
      --pairs viton_test_pairs.txt --checkpoint W1 --refine_checkpoint W2 \\
      --out_dir RESULTS

RESULTS/index.html shows every step of every pair, RESULTS/sheet.png the first
few at a glance; RESULTS/results/ holds the pictures alone;
RESULTS/manifest.jsonl says of each pair what became of it. The same command
goes on where it stopped. Exit code 3: some pairs failed, and the manifest says
why.
"""

import argparse
from collections.abc import Iterator
from concurrent import futures
import itertools
import json
import pathlib
import time

import numpy as np
import tqdm

from input_pipeline import images
from input_pipeline.layouts import LAYOUTS, open_layout
from input_pipeline.sample import GARMENT_LABEL, Sample, working_example
from viton_jax import errors, figures, page, sheets, storage, try_on_batch
from viton_jax.errors import InputError

COLUMNS = (
    'person', 'garment', 'coarse', 'mask', 'warped', 'alpha', 'result', 'truth'
)
_SHEET_ROWS = 6
_READ_AHEAD = 3  # Batches that are read while one is computed.


def parse_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
      prog='python -m viton_jax.infer',
      description=__doc__,
      formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add('--data_dir', required=True, help='data set folder')
  add('--layout', default='viton', choices=LAYOUTS)
  add('--pairs',
      help='pair list: a file of data_dir, or a path (default: the test list '
      "of the layout); with ':paired' after it, all in their own garments")
  add('--checkpoint', required=True,
      help='stage 1: its workdir, one step of it, a .safetensors file, or what '
      '`python -m viton_jax.convert` wrote')
  add('--refine_checkpoint', required=True, help='the same of stage 2')
  add('--out_dir', required=True, help='where pictures and page go')
  add('--batch_size', type=int, default=8, help='default: %(default)s')
  add('--results_only', action='store_true',
      help='write the try-on pictures alone, without the steps to them')
  add('--png_round_trip', action='store_true',
      help="stretch stage 1's pictures to 8 bits before stage 2 sees them, as "
      "the original's scripts did (docs/fidelity.md)")
  add('--page_pairs', type=int, default=500,
      help='pairs that index.html shows (default: %(default)s)')
  return parser.parse_args()


def main() -> int:
  arguments = parse_arguments()
  if arguments.batch_size < 1:
    raise InputError(
        f'--batch_size {arguments.batch_size} is not positive; give 1 or more.'
    )
  layout = open_layout(
      arguments.layout, arguments.data_dir, arguments.pairs, split='test'
  )
  print(layout.found)
  arguments.layout = layout.name  # What 'auto' found.
  checkpoint, run = try_on_batch.make_try_on(
      arguments.checkpoint,
      arguments.refine_checkpoint,
      png_round_trip=arguments.png_round_trip,
  )
  out_dir = pathlib.Path(arguments.out_dir)
  claim(out_dir, arguments)
  manifest = storage.Manifest(out_dir / 'manifest.jsonl')
  done = {
      line['name']
      for line in manifest.lines
      if line['status'] == 'ok'
      and (out_dir / 'results' / f'{line["name"]}.png').exists()
  }
  # By name: a pair that is listed twice is dressed once.
  indices = {pair_name(*pair): i for i, pair in enumerate(layout.pairs)}
  todo = [(i, name) for name, i in indices.items() if name not in done]
  if done:
    print(f'{len(done)} pairs are done already, {len(todo)} to go')

  begin = time.monotonic()
  with (
      futures.ThreadPoolExecutor(thread_name_prefix='read') as readers,
      futures.ThreadPoolExecutor(thread_name_prefix='write') as writers,
      tqdm.tqdm(total=len(todo), unit='pair', desc='try on') as progress,
  ):
    size, fidelity = checkpoint.size, checkpoint.fidelity

    def load(item):
      index, name = item
      try:
        sample = layout.load(index)
        height, width = size
        example = working_example(
            sample, height=height, width=width, fidelity=fidelity
        )
        return name, (example, truth_of(sample, size)), None
      except InputError as error:
        return name, None, str(error)

    writing = []
    for group in read_ahead(readers, load, todo, arguments.batch_size):
      good = [(name, loaded) for name, loaded, reason in group if loaded]
      for name, _, reason in group:
        if reason:
          manifest.add({'name': name, 'status': 'failed', 'reason': reason})
      for line in finished(writing):
        manifest.add(line)
      if good:
        writing = dress(
            run, good, out_dir, writers,
            batch_size=arguments.batch_size,
            with_steps=not arguments.results_only,
        )
      progress.update(len(group))
    for line in finished(writing):
      manifest.add(line)
  manifest.close()

  newest = {line['name']: line for line in manifest.lines}
  return summarise(
      [newest[name] for name in indices],
      out_dir,
      seconds=time.monotonic() - begin,
      now=len(todo),
      page_pairs=arguments.page_pairs,
  )


def claim(out_dir: pathlib.Path, arguments: argparse.Namespace) -> None:
  """Notes in a new folder what it is for, or checks an old one's note.

  Raises:
    InputError: the folder holds results of something else.
  """
  names = (
      'data_dir', 'layout', 'checkpoint', 'refine_checkpoint', 'png_round_trip'
  )
  ours = {name: getattr(arguments, name) for name in names}
  for name in ('data_dir', 'checkpoint', 'refine_checkpoint'):
    ours[name] = str(pathlib.Path(ours[name]).absolute())
  path = out_dir / 'settings.json'
  try:
    if path.exists():
      theirs = json.loads(path.read_text())
      for name in names:
        if theirs.get(name, False) != ours[name]:
          raise InputError(
              f'{path}: these results were begun with {name} = '
              f'{theirs.get(name)}, not {ours[name]}; use another --out_dir.'
          )
    for folder in ('results', 'steps'):
      (out_dir / folder).mkdir(parents=True, exist_ok=True)
    storage.write_json(path, ours)
  except OSError as error:
    raise InputError(
        f'{out_dir}: cannot be written ({error.strerror}); give another '
        '--out_dir.'
    ) from error


def pair_name(person_id: str, garment_id: str) -> str:
  """What a pair's files are called: '000001_0_000234_1'."""
  return f'{pathlib.Path(person_id).stem}_{pathlib.Path(garment_id).stem}'


def truth_of(sample: Sample, size: tuple[int, int]):
  """The true picture and its garment region at working size, or None."""
  if sample.truth is None or sample.truth_parse is None:
    return None
  return (
      images.resize_area(sample.truth, *size),
      images.resize_labels(sample.truth_parse, *size) == GARMENT_LABEL,
  )


def read_ahead(
    pool: futures.Executor, load, todo: list, batch_size: int
) -> Iterator[list]:
  """Loads items in threads, a few batches ahead of who takes them."""
  todo = iter(todo)
  ahead = [
      pool.submit(load, item)
      for item in itertools.islice(todo, _READ_AHEAD * batch_size)
  ]
  while ahead:
    group, ahead = ahead[:batch_size], ahead[batch_size:]
    yield [future.result() for future in group]
    ahead += [
        pool.submit(load, item) for item in itertools.islice(todo, batch_size)
    ]


def dress(
    run, group, out_dir, writers, *, batch_size: int, with_steps: bool
) -> list[futures.Future]:
  """Tries on one batch and starts writing; futures give manifest lines."""
  names = [name for name, _ in group]
  examples = [example for _, (example, _) in group]
  # The last batch is filled up, so that nothing is compiled for its size.
  padded = examples + examples[-1:] * (batch_size - len(examples))
  batch = {
      key: np.stack([example[key] for example in padded])
      for key in padded[0]
      if isinstance(padded[0][key], np.ndarray)
  }
  tried = run(batch)

  truths = [truth for _, (_, truth) in group]
  compared = [None] * len(group)
  known = [i for i, truth in enumerate(truths) if truth is not None]
  if known:
    height, width = batch['person'].shape[1:3]
    truth = np.zeros((batch_size, height, width, 3), np.uint8)
    region = np.zeros((batch_size, height, width), bool)
    for i in known:
      truth[i], region[i] = truths[i]
    rows = figures.compare(tried, truth, region)
    for i in known:
      compared[i] = rows[i]

  def write(i):
    line = {'name': names[i]}
    if tried.failures[i]:
      return line | {'status': 'failed', 'reason': tried.failures[i]}
    pictures = {
        'person': batch['person'][i],
        'garment': batch['garment'][i],
        'coarse': sheets.to_rgb(tried.coarse[i], (-1, 1)),
        'mask': sheets.to_rgb(tried.mask[i], (0, 1)),
        'warped': sheets.to_rgb(tried.warped[i], (-1, 1)),
        'alpha': sheets.to_rgb(tried.alpha[i], (0, 1)),
    }
    if truths[i] is not None:
      pictures['truth'] = truths[i][0]
    if with_steps:
      for column, picture in pictures.items():
        storage.write_file(
            out_dir / 'steps' / f'{names[i]}_{column}.jpg',
            images.encode_jpeg(np.ascontiguousarray(picture, np.uint8)),
        )
    storage.write_file(
        out_dir / 'results' / f'{names[i]}.png',
        images.encode_png(sheets.to_rgb(tried.output[i], (-1, 1))),
    )
    line['status'] = 'ok'
    if compared[i] and truths[i][1].any():
      line['figures'] = compared[i]
    return line

  return [writers.submit(write, i) for i in range(len(group))]


def finished(writing: list[futures.Future]) -> Iterator[dict]:
  for future in writing:
    yield future.result()


def summarise(
    lines: list[dict],
    out_dir: pathlib.Path,
    *,
    seconds: float,
    now: int,
    page_pairs: int,
) -> int:
  """Writes index.html and figures.json, prints both; gives the exit code."""
  failed = [line for line in lines if line['status'] != 'ok']
  compared = [line['figures'] for line in lines if 'figures' in line]
  means = figures.mean(compared) if compared else None
  summary = [f'{len(lines) - len(failed)} pairs dressed, {len(failed)} failed.']
  if means:
    summary.append(
        f'Against the truth, mean over {len(compared)} pairs. L1 in grey '
        'levels of 255; SSIM Gaussian, 11 x 11, sigma 1.5, mean over RGB. '
        'paste: the warped garment wherever the mask is at least 1/2.'
    )
    storage.write_json(
        out_dir / 'figures.json', {'pairs': len(compared), 'mean': means}
    )
  shown = lines[:page_pairs]
  if len(shown) < len(lines):
    summary.append(f'The first {len(shown)} pairs of {len(lines)}.')
  rendered = page.render(
      'Try-on results',
      summary,
      figures=means,
      columns=COLUMNS,
      pairs=[page_entry(line, out_dir) for line in shown],
  )
  storage.write_file(out_dir / 'index.html', rendered.encode())
  write_sheet(lines, out_dir)

  print('\n'.join(summary))
  if means:
    print(figures.table(means))
  if now:
    print(f'{now} pairs in {seconds:.0f} s: {now / seconds:.1f} pairs/s')
  if failed:
    print(f'why they failed: {out_dir / "manifest.jsonl"}')
  print(f'open {out_dir / "index.html"}')
  return errors.EXIT_SOME_FAILED if failed else errors.EXIT_OK


def write_sheet(lines: list[dict], out_dir: pathlib.Path) -> None:
  """Writes sheet.png: the first pairs at a glance, where steps are there."""
  rows = []
  for line in lines:
    pictures = page_entry(line, out_dir).get('pictures', {})
    if len(rows) < _SHEET_ROWS and len(pictures) > 1:
      rows.append({
          column: images.decode_image((out_dir / place).read_bytes(), place)
          for column, place in pictures.items()
      })
  # A sheet has one set of columns: those that all its rows have.
  columns = [c for c in COLUMNS if rows and all(c in row for row in rows)]
  if columns:
    sheet = sheets.contact_sheet(
        {column: np.stack([row[column] for row in rows]) for column in columns}
    )
    storage.write_file(out_dir / 'sheet.png', images.encode_png(sheet))


def page_entry(line: dict, out_dir: pathlib.Path) -> dict:
  """A pair's row of the page, with the pictures that are there."""
  if line['status'] != 'ok':
    return {'name': line['name'], 'reason': line['reason']}
  places = {
      column: f'results/{line["name"]}.png'
      if column == 'result'
      else f'steps/{line["name"]}_{column}.jpg'
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


if __name__ == '__main__':
  errors.run(main)
