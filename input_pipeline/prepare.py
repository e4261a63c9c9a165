"""Makes records from folders: reads pairs, fits control points, packs them.

  python -m input_pipeline.prepare --layout viton --data_dir data \\
      --out_dir records --pairs viton_train_pairs.txt
  python -m input_pipeline.prepare --data_dir data --out_dir packed \\
      --format packed
  python -m input_pipeline.prepare --from_records tfrecords --out_dir records

The first form writes TFRecords, photos as JPEG. The second writes one
memory-mapped file a split, ten times as large, with nothing to decode, and
needs no TensorFlow, nor does training on it. The third takes the TFRecords that
the original's scripts have written.
Pairs are prepared in parallel, with --beam by Apache Beam. Finished parts are
kept in out_dir/parts until the end, so the same command continues a run that
was killed. out_dir/manifest.jsonl then has one line a pair: ok, or failed and
why. --dry_run checks the settings, the pair list and the disk, and writes
nothing.

Exit codes: 0 all pairs are in, 2 bad input, 3 done but some pairs failed.
"""

import argparse
from collections.abc import Callable
import functools
import hashlib
import json
import pathlib
import shutil
import time

from input_pipeline import layouts, sample
from input_pipeline.formats import original_records, records
from input_pipeline.layouts import original_samples
from input_pipeline.preparing import beam_job, gather, parts
from viton_jax import choices, errors
from viton_jax.errors import InputError, shown
from viton_jax.io import images, storage, structured
from viton_jax.runtime import environment

_TRIED = 16  # Pairs that a dry run tries until one can be prepared.


def validation_persons(
  person_ids, fraction: float, *, seed: int
) -> frozenset[str]:
  """Chooses who is held out, by a hash of the name.

  Args:
    person_ids: of all pairs; may repeat.
    fraction: of the persons, 0 for none.
    seed: changes the choice.

  Returns:
    the persons held out: at least one if there are two and fraction > 0,
    never all.
  """

  def order(person_id):
    return hashlib.sha256(f'{seed}:{person_id}'.encode()).digest()

  persons = sorted(set(person_ids), key=order)
  if fraction <= 0:
    return frozenset()
  count = max(1, round(fraction * len(persons)))
  return frozenset(persons[: min(count, len(persons) - 1)])


def prepare(
  layout_name: str | None,
  data_dir,
  *,
  out_dir,
  pairs: str | None = None,
  height: int = 256,
  width: int = 192,
  fidelity: choices.Fidelity = 'fixed',
  validation_fraction: float = 0.02,
  workers: int | None = None,
  seed: int = 0,
  fmt: choices.PreparedFormat = 'records',
  beam_options: str | None = None,
  dry_run: bool = False,
) -> int:
  """Prepares all pairs of a list; see the module's docstring.

  Args:
    layout_name: see `layouts.open_layout`; None: `data_dir` holds records of
      the original.
    data_dir: the raw data.
    out_dir: where the records go.
    pairs: the pair list; None: the layout's training list.
    height: working height in pixels, a multiple of 64.
    width: working width in pixels, a multiple of 64.
    fidelity: 'fixed', or 'original' for the published weights.
    validation_fraction: of the persons to hold out.
    workers: processes; None: one a core; 0: none beside this one.
    seed: of matching and of the choice of held-out persons.
    fmt: 'records' or 'packed'.
    beam_options: runs on Apache Beam with these, see `beam_job.parse_options`;
      '' for its DirectRunner; None: no Beam.
    dry_run: only checks and prints what would be written.

  Returns:
    an exit code: 0, or 3 if some pairs failed.

  Raises:
    InputError: bad settings or data, out_dir has other settings, the disk is
      too full, or a library is missing.
  """
  sample.check_settings(height, width, fidelity=fidelity)
  if not 0 <= validation_fraction < 1:
    raise InputError(
      f'validation_fraction {validation_fraction} is not in [0, 1); use '
      '0.02 to hold out every fiftieth person'
    )
  if workers is not None and workers < 0:
    raise InputError(
      f'workers {workers} is negative; leave it out for one a core'
    )
  workers = environment.cores() if workers is None else workers
  choices.check('format', fmt, choices.PreparedFormat)
  run, on_beam = None, {}
  if beam_options is not None:
    flags = beam_job.parse_options(beam_options, workers=workers)
    options = beam_job.pipeline_options(flags)
    run = functools.partial(beam_job.run_chunks, options=options)
    on_beam = {'on_beam': beam_job.read_on_beam, 'beam_options': options}
    print(f'on Apache Beam: {" ".join(flags)}')
  layout = _open(layout_name, data_dir, pairs, fidelity=fidelity)
  print(layout.found)
  out_dir = pathlib.Path(out_dir)
  settings = {
    'layout': layout.name,
    'pairs': f'{len(layout)}, sha256 {_hash(layout.pairs)}',
    'height': height,
    'width': width,
    'fidelity': fidelity,
    'validation_fraction': validation_fraction,
    'seed': seed,
    'format': fmt,
  }
  exchanged = _knows_exchange(layout)
  if exchanged:
    settings['exchanged'] = True
  work = parts.Work(
    layout, height, width, fidelity, seed, out_dir / 'parts', fmt, exchanged
  )
  if dry_run:
    _print_plan(work, out_dir, settings)
    return errors.EXIT_OK
  with storage.hold(
    out_dir / '.lock',
    busy='prepares into this folder; wait for it or give another --out_dir',
    unusable='give another --out_dir',
  ):
    return _prepare_locked(
      work,
      out_dir,
      settings,
      workers=workers,
      run=run,
      on_beam=on_beam,
      validation_fraction=validation_fraction,
    )


def _prepare_locked(
  work: parts.Work,
  out_dir: pathlib.Path,
  settings: dict,
  *,
  workers: int,
  run: Callable | None,
  on_beam: dict,
  validation_fraction: float,
) -> int:
  """Prepares into a folder that this process alone writes to."""
  fmt, seed = work.fmt, work.seed
  if _claim(out_dir, settings):
    manifest_path = out_dir / 'manifest.jsonl'
    manifest = [line for _, line in storage.read_lines(manifest_path)]
    print(f'{out_dir}: prepared before with the same settings; nothing to do')
    return _exit_code(manifest)
  if fmt == 'packed':
    gather.check_free_space_for_packed(work, out_dir)
  work.parts_dir.mkdir(exist_ok=True)
  start = time.monotonic()
  count = parts.prepare_parts(work, workers=workers, run=run)
  seconds = time.monotonic() - start

  manifest = [
    line
    for number in range(work.num_chunks)
    for line in parts.read_manifest(work.parts_dir, number)
  ]
  storage.write_file(
    out_dir / 'manifest.jsonl',
    ''.join(json.dumps(line) + '\n' for line in manifest).encode(),
  )
  persons = [m['person_id'] for m in manifest if m['status'] == 'ok']
  if not persons:
    raise InputError(
      f'{out_dir}: none of the {len(manifest)} pairs could be prepared; the '
      f'first because {manifest[0]["reason"]}; see manifest.jsonl'
    )
  held_out = validation_persons(persons, validation_fraction, seed=seed)
  slices = gather.split_slices(manifest, held_out)
  if fmt == 'packed':
    size = gather.write_packed(work, manifest, slices, out_dir=out_dir)
  else:
    size = gather.write_records(work, slices, out_dir=out_dir, **on_beam)
  storage.write_json(
    out_dir / 'prepare.json', {'settings': settings, 'done': True}
  )
  shutil.rmtree(work.parts_dir)

  num_validation = sum(person in held_out for person in persons)
  print(
    f'prepared {count} pairs in {seconds:.1f} s '
    f'({count / max(seconds, 1e-9):.1f} pairs/s): {len(persons)} ok '
    f'({len(persons) - num_validation} train, {num_validation} validation), '
    f'{len(manifest) - len(persons)} failed\n'
    f'{size / len(persons) / 1000:.1f} kB a pair on average\n'
    f'{"packed files" if fmt == "packed" else "records"} in {out_dir}'
  )
  return _exit_code(manifest)


def _open(layout_name, data_dir, pairs, *, fidelity) -> layouts.Layout:
  if layout_name is None:
    return original_samples.OriginalRecords(data_dir, fidelity=fidelity)
  original = fidelity == 'original'
  # The published weights were trained on pixels decoded by TensorFlow.
  decode = original_records.decode_photo_tf if original else images.decode_image
  return layouts.open_layout(
    layout_name, data_dir, pairs, decode=decode, tps=original
  )


def _knows_exchange(layout: layouts.Layout) -> bool:
  """Whether a data set says of any pair where its garment comes from."""
  known = map(layout.true_flow, range(len(layout)))
  return any(flow is not None for flow in known)


def _print_plan(
  work: parts.Work, out_dir: pathlib.Path, settings: dict
) -> None:
  """Prints what a run would write; raises InputError where it would fail."""
  done = _is_done(out_dir, settings)
  to_do = work.num_pairs([] if done else work.missing())
  example = _first_example(work)
  if work.fmt == 'packed':
    needed = gather.bytes_needed_for_packed(work)
  else:
    # Photos compress differently: one pair stands for all. Parts and records
    # are there together before the parts are deleted.
    one = records.packed_size(records.pack(example))
    needed = one * (len(work.layout) + to_do)
  parent = next(x for x in (out_dir, *out_dir.absolute().parents) if x.exists())
  free = shutil.disk_usage(parent).free
  about = '' if work.fmt == 'packed' else 'about '
  print(
    f'would write {work.fmt} of {len(work.layout)} pairs, '
    f'{work.width} x {work.height} pixels, fidelity {work.fidelity}, to '
    f'{out_dir}: {to_do} pairs to prepare, {len(work.layout) - to_do} done\n'
    f'{about}{needed / 1e9:.3f} GB needed with temporary parts, '
    f'{free / 1e9:.3f} GB free'
  )
  if needed > free:
    raise InputError(
      f'{out_dir}: the disk has less free than is needed; free some space or '
      'give another --out_dir'
    )


def _first_example(work: parts.Work) -> dict:
  """The first pair that can be prepared, of the first few."""
  reasons = []
  for index in range(min(len(work.layout), _TRIED)):
    try:
      return parts.prepare_sample(
        work.layout.load(index),
        height=work.height,
        width=work.width,
        fidelity=work.fidelity,
        seed=work.seed,
        exchanged=work.exchanged,
      )
    except InputError as error:
      print(f'would fail: {error}')
      reasons.append(error)
  raise InputError(
    f'none of the first {len(reasons)} pairs can be prepared; the first '
    f'because {reasons[0]}'
  )


def _exit_code(manifest) -> int:
  failed = [line for line in manifest if line['status'] != 'ok']
  for line in failed[:3]:
    print(f'failed: {line["reason"]}')
  if failed:
    print(
      f'{len(failed)} pairs failed; manifest.jsonl says why. They stay out: to '
      'try them again, delete the folder or give another --out_dir'
    )
  return errors.EXIT_SOME_FAILED if failed else errors.EXIT_OK


def _hash(pairs) -> str:
  text = '\n'.join(' '.join(pair) for pair in pairs)
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def _claim(out_dir: pathlib.Path, settings: dict) -> bool:
  """Marks out_dir with the settings; returns whether it is finished."""
  path = out_dir / 'prepare.json'
  if path.exists():
    return _is_done(out_dir, settings)
  try:
    out_dir.mkdir(parents=True, exist_ok=True)
    storage.write_json(path, {'settings': settings, 'done': False})
  except OSError as error:
    raise InputError(
      f'{out_dir}: cannot be written ({error.strerror}); give another --out_dir'
    ) from error
  return False


def _is_done(out_dir: pathlib.Path, settings: dict) -> bool:
  """Whether out_dir is finished; raises InputError for other settings."""
  path = out_dir / 'prepare.json'
  if not path.exists():
    return False
  remedy = 'give another --out_dir or delete this one'
  state = structured.read_object(path, 'settings file', remedy=remedy)
  before, done = state.get('settings'), state.get('done')
  if not isinstance(before, dict) or not isinstance(done, bool):
    raise InputError(f'{path}: the file is damaged; {remedy}')
  before = {'format': 'records'} | before  # The only one there was.
  for name, value in settings.items():
    if before.get(name) != value:
      raise InputError(
        f'{out_dir}: was prepared with {name} = {shown(before.get(name))}, not '
        f'{value}; give another --out_dir or delete this one'
      )
  return done


def main(argv: list[str] | None = None) -> int:
  """Runs the command line; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog='python -m input_pipeline.prepare',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add: Callable = parser.add_argument
  add(
    '--layout',
    help=f'{", ".join(layouts.LAYOUTS)} (viton)',
  )
  add('--data_dir', help='the folder with the raw data')
  add(
    '--from_records',
    metavar='DIR',
    help="the original's TFRecords, instead of --layout, --data_dir, --pairs",
  )
  add('--out_dir', required=True, help='the folder for what is prepared')
  add(
    '--format',
    dest='fmt',
    choices=choices.values_of(choices.PreparedFormat),
    default='records',
    help="'records': TFRecords; 'packed': raw arrays in one file a split "
    '(%(default)s)',
  )
  add(
    '--pairs',
    help="pair list in data_dir, or an absolute path (the layout's own "
    "training list); with ':paired' after it, all in their own garments",
  )
  add('--height', type=int, default=256, help='multiple of 64 (%(default)s)')
  add('--width', type=int, default=192, help='multiple of 64 (%(default)s)')
  add(
    '--fidelity',
    choices=choices.values_of(choices.Fidelity),
    default='fixed',
    help="'fixed', or 'original' for the published weights (%(default)s)",
  )
  add(
    '--validation_fraction',
    type=float,
    default=0.02,
    help='part of the persons to hold out (%(default)s)',
  )
  add('--workers', type=int, help='processes (one a core)')
  add('--seed', type=int, default=0, help='(%(default)s)')
  add('--beam', action='store_true', help='run on Apache Beam')
  add(
    '--beam_options',
    metavar='NAME=VALUE,...',
    help="options of Beam's pipeline: runner=FlinkRunner,parallelism=8 "
    '(DirectRunner with --workers processes)',
  )
  add(
    '--dry_run',
    action='store_true',
    help='check the input and print what would be written, without writing',
  )
  arguments = vars(parser.parse_args(argv))
  if arguments.pop('beam'):
    arguments['beam_options'] = arguments['beam_options'] or ''
  elif arguments['beam_options'] is not None:
    parser.error('--beam_options goes with --beam')
  layout, data_dir, from_records = (
    arguments.pop(name) for name in ('layout', 'data_dir', 'from_records')
  )
  if from_records is None:
    if data_dir is None:
      parser.error('give --data_dir, or --from_records')
    return prepare('viton' if layout is None else layout, data_dir, **arguments)
  if layout is not None or data_dir or arguments['pairs']:
    parser.error('--from_records goes without --layout, --data_dir, --pairs')
  return prepare(None, from_records, **arguments)


if __name__ == '__main__':
  errors.run(main)
