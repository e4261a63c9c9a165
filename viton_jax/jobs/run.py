"""A batch-inference job: what one process does from its options to the report.

Called by `python -m viton_jax.infer`, whose --help says what the options mean.
"""

from collections.abc import Callable
import dataclasses
import functools
import os
import pathlib
import signal
import threading

import jax

from input_pipeline.layouts import open_layout
from input_pipeline.layouts.files import PairFolder
from viton_jax import checkpoints, errors
from viton_jax.checkpoints import Checkpoint
from viton_jax.choices import (
  Composition,
  DType,
  ImageFormat,
  Matching,
  StepFormat,
)
from viton_jax.errors import InputError
from viton_jax.job_folders import folder, job_files, places, shards
from viton_jax.jobs import (
  device_steps,
  pipeline,
  report,
  workers,
  writers,
)
from viton_jax.networks import check_matching, default_composition
from viton_jax.runtime import compile_cache, environment, parallel, progress

PROCESSES_FROM = 500  # Pairs; starting processes takes seconds.
_BATCH = {'cpu': 8}  # Of a device; others: 32.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
  """The options of a job, by the names of the command's flags.

  Attributes:
    out_dir: folder of the job.
    data_dir: data set folder; only merging may leave it out.
    layout: of the data set.
    pairs: pair list, or None: the layout's test list.
    checkpoint: the encoder-decoder's, or a folder with both networks; None:
      those that come with the project.
    refine_checkpoint: the refinement network's where it lies elsewhere.
    dtype: of the convolutions.
    composition: see `networks.pure_steps`; None: by the checkpoint's fidelity.
    matching: see `engine.matching_of`.
    batch_size: over all devices of this process; None: by the platform.
    png_round_trip: see `engine.match_on_host`.
    output: an image format, or 'tfrecord'.
    quality: 1..100 of jpeg and webp; None: the format's default.
    record_format: of images in TFRecords.
    records_per_file: in a TFRecord file.
    results_only: write no images of the steps.
    step_format: of the steps' images, 'jpeg' or 'png'.
    page_pairs: pairs that index.html shows.
    shard: 'I/N', or None: by the environment.
    merge: only gather the manifests.
    workers: processes that read and match; 0: threads; None: by the list.
    dry_run: check everything, write nothing.
  """

  out_dir: str
  data_dir: str | None = None
  layout: str = 'viton'
  pairs: str | None = None
  checkpoint: str | None = None
  refine_checkpoint: str | None = None
  dtype: DType = 'float32'
  composition: Composition | None = None
  matching: Matching = 'auto'
  batch_size: int | None = None
  png_round_trip: bool = False
  output: str = 'png'
  quality: int | None = None
  record_format: ImageFormat = 'png'
  records_per_file: int = 1000
  results_only: bool = False
  step_format: StepFormat = 'jpeg'
  page_pairs: int = 500
  shard: str | None = None
  merge: bool = False
  workers: int | None = None
  dry_run: bool = False


def check(options: Options) -> None:
  """Raises InputError where a number or a name is wrong or missing."""
  if options.data_dir is None:
    raise InputError('--data_dir is missing; see --help for an example.')
  for name, low, high in (
    ('batch_size', 1, 2**16),
    ('records_per_file', 1, 10**6),
    ('quality', 1, 100),
    ('workers', 0, 1024),
    ('page_pairs', 0, 10**6),
  ):
    value = getattr(options, name)
    if value is not None and not low <= value <= high:
      raise InputError(f'--{name} {value} is not in {low} to {high}.')
  kind = options.output
  if kind == writers.TFRECORD:
    kind = options.record_format
  if kind == 'png' and options.quality is not None:
    raise InputError(
      f'--quality {options.quality}: png has no quality; give --output '
      'jpeg or webp, or leave --quality out.'
    )


def run(options: Options) -> int:
  """Does a shard of a list of pairs; returns the exit code.

  Raises:
    InputError: an option, a file or the folder is wrong, or the disk is full.
  """
  check(options)
  print(environment.report())
  shard = shards.find(
    options.shard,
    os.environ,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
  )
  planned = plan(options)
  if options.dry_run:
    return _dry_run(planned, shard)
  return open_job(planned)(shard)


@dataclasses.dataclass(frozen=True)
class Plan:
  """A job whose files were found and read.

  Attributes:
    options: with nothing left to be chosen.
    networks: encoder-decoder and refinement network.
    layout: the data set.
    names: of its pairs, see `folder.unique_pairs`.
  """

  options: Options
  networks: tuple[Checkpoint, Checkpoint]
  layout: PairFolder
  names: dict[str, int]


def plan(options: Options) -> Plan:
  """Reads what a job is made of; raises as `run`."""
  networks = checkpoints.read_pair(
    options.checkpoint, options.refine_checkpoint
  )
  layout = open_layout(
    options.layout, options.data_dir, options.pairs, split='test'
  )
  print(layout.found)
  names = places.unique_pairs(layout.pairs)
  composing = options.composition or default_composition(networks[0].fidelity)
  options = dataclasses.replace(
    options,
    composition=composing,
    matching=check_matching(
      options.matching, png_round_trip=options.png_round_trip
    ),
  )
  return Plan(options, networks, layout, names)


def open_job(planned: Plan) -> Callable[[shards.Shard], int]:
  """Puts the networks on the devices.

  Returns:
    what does a shard and gives the exit code, see `run`; it may be called for
    several, one after the other.
  """
  options, layout = planned.options, planned.layout
  assert options.composition is not None
  compile_cache.use('auto')
  # Before a shard is claimed: from then on a signal waits for the pairs that
  # are begun, and this takes seconds.
  steps = device_steps.make_steps(
    *planned.networks,
    dtype=options.dtype,
    composing=options.composition,
    matching=options.matching,
    png_round_trip=options.png_round_trip,
  )
  return functools.partial(
    do_shard,
    options,
    layout,
    names=planned.names,
    work=workers.work_of(layout, planned.networks[0]),
    steps=steps,
  )


def do_shard(
  options: Options,
  layout: PairFolder,
  shard: shards.Shard,
  *,
  names: dict[str, int],
  work: workers.Work,
  steps: device_steps.DeviceSteps,
) -> int:
  """Does a shard with any networks; gives the exit code, see `run`."""
  settings = settings_of(options, layout, names)
  stop = _stop_signal()
  with folder.claim(pathlib.Path(options.out_dir), settings, shard) as claim:
    return _run_shard(options, layout, work, steps, names, claim, stop)


def _dry_run(planned: Plan, shard: shards.Shard) -> int:
  """Says what a shard would do, after the checks; writes nothing."""
  options, layout, names = planned.options, planned.layout, planned.names
  out_dir = pathlib.Path(options.out_dir)
  folder.compare_settings(out_dir, settings_of(options, layout, names))
  ranks = shards.places(len(names), shard)
  all_names = list(names)
  done = set(folder.done_names(out_dir)) if out_dir.is_dir() else set()
  to_do = sum(all_names[rank] not in done for rank in ranks)
  first, second = planned.networks
  height, width = first.size
  print(
    f'encoder-decoder of step {first.step} and refinement network of step '
    f'{second.step}: {width} x {height} pixels, {first.fidelity}, '
    f'{options.dtype}\n'
    f'shard {shard}: {len(ranks)} of {len(names)} pairs, {to_do} to do, as '
    f'{options.output} into {out_dir}, in batches of {_batch_size(options)}\n'
    'dry run: nothing was written'
  )
  return errors.EXIT_OK


def _batch_size(options: Options) -> int:
  """Pairs of a batch, a multiple of the devices of this process."""
  devices = jax.local_device_count()
  platform = jax.devices()[0].platform
  size = options.batch_size or devices * _BATCH.get(platform, 32)
  return size + -size % devices


def _run_shard(options, layout, work, steps, names, claim, stop) -> int:
  """Writes the try-ons of a claimed shard; returns the exit code."""
  out_dir, shard = claim.out_dir, claim.shard
  parallel.wait_for_all('every process has its shard')
  all_names = list(names)
  todo = {
    all_names[rank]: names[all_names[rank]]
    for rank in shards.places(len(names), shard)
  }
  of_shard = len(todo)
  del all_names
  for name in folder.done_names(out_dir):
    todo.pop(name, None)
  if shard.count > 1:
    print(f'shard {shard}: {of_shard} of {len(names)} pairs')
  if len(todo) < of_shard:
    print(f'{of_shard - len(todo)} pairs are done already, {len(todo)} to go')

  written, failed = 0, 0
  if todo:
    written, failed = _try_on(options, layout, work, steps, claim, todo, stop)
  if written < len(todo):
    print(
      f'stopped by a signal after {written} of {len(todo)} pairs; the same '
      'command goes on'
    )
    return errors.EXIT_INTERRUPTED
  with folder.sentence_if_unwritable(out_dir):
    last = folder.finish(claim, claim.settings['list'])
    # JAX takes it badly if processes of one job end minutes apart.
    folder.wait_for(out_dir, shards.peers(shard, jax.process_count()))
    if last:
      return _finish(out_dir, names, claim.settings, options.page_pairs)
  print(
    f'shard {shard}: {of_shard - failed} pairs dressed, {failed} failed; '
    'the shard that is last merges the manifests'
  )
  return errors.EXIT_SOME_FAILED if failed else errors.EXIT_OK


def settings_of(options, layout, names) -> dict:
  """What a job is; its folder takes no other."""
  if options.checkpoint:
    first = str(pathlib.Path(options.checkpoint).absolute())
  else:  # Wherever they are installed, and not those of another version.
    first = f'own, {checkpoints.digest_of_own()}'
  return {
    'data_dir': str(pathlib.Path(options.data_dir).absolute()),
    'layout': layout.name,  # What 'auto' found.
    'pairs': options.pairs,
    'list': places.digest(names),
    'checkpoint': first,
    'refine_checkpoint': (
      str(pathlib.Path(options.refine_checkpoint).absolute())
      if options.refine_checkpoint
      else first
    ),
    'png_round_trip': options.png_round_trip,
    'dtype': options.dtype,
    'composition': options.composition,
    'matching': options.matching,
    'output': options.output,
    'quality': options.quality,
    'record_format': options.record_format,
    'step_format': options.step_format,
    'folders': (places.FOLDERS if len(names) >= places.MANY_PAIRS else 1),
  }


def _try_on(options, layout, work, steps, claim, todo, stop) -> tuple[int, int]:
  """Does the pairs `todo`; returns how many are written, and failures of them.

  Fewer than all are written where a signal stopped it.
  """
  batch_size = _batch_size(options)
  cores = environment.cores()
  processes = options.workers
  if processes is None:
    processes = cores if len(todo) >= PROCESSES_FROM else 0
  clock = pipeline.Clock()
  failed = 0
  if claim.settings['output'] == writers.TFRECORD:
    writer = writers.RecordWriter(
      claim,
      options.record_format,
      quality=options.quality,
      records_per_file=options.records_per_file,
    )
  else:
    writer = writers.ImageWriter(
      claim,
      options.output,
      quality=options.quality,
      step_kind=options.step_format,
    )
  bar = progress.progress(len(todo), 'try on')
  written = 0
  with (
    workers.open_pool(work, processes) as pool,
    writers.writing(writer, claim.out_dir, threads=cores) as write,
  ):

    def write_and_count(group):
      nonlocal failed
      failed += sum(one.reason is not None for one in group)
      return write(group)

    for count in pipeline.run(
      ((name, layout.pairs[index]) for name, index in todo.items()),
      pool,
      steps,
      write_and_count,
      batch_size=batch_size,
      with_steps=not options.results_only,
      clock=clock,
      stop=stop.is_set,
    ):
      written += count
      bar.update(count, clock.waits())
    seconds, idle = clock.seconds, clock.idle
  bar.close()
  print(
    f'{written} pairs in {seconds:.1f} s: {written / seconds:.1f} images/s; '
    f'compiled before in {clock.compiled_s:.1f} s\n'
    f'devices: {jax.local_device_count()} x {jax.devices()[0].platform}, '
    f'idle {100 * idle:.1f} % of the time; '
    f'batches of {batch_size}, {processes or "no"} worker processes\n'
    f'{clock.waits()}'
  )
  return written, failed


def _stop_signal() -> threading.Event:
  """Is set by SIGTERM or Ctrl-C; the second of these ends the process."""
  event = threading.Event()

  def note(number, frame):
    del frame
    event.set()
    signal.signal(number, before[number])

  before = {
    number: signal.signal(number, note)
    for number in (signal.SIGTERM, signal.SIGINT)
  }
  return event


def merge(options: Options) -> int:
  """Gathers the manifests of all shards; returns the exit code.

  Raises:
    InputError: no job was begun in the folder, or it cannot be written.
  """
  out_dir = pathlib.Path(options.out_dir)
  settings = job_files.read_settings(out_dir)
  if settings is None:
    raise InputError(
      f'{out_dir}: has no settings.json, so nothing was begun here; give the '
      '--out_dir of a job.'
    )
  for name in ('layout', 'data_dir'):
    if name not in settings:
      raise InputError(
        f'{out_dir / "settings.json"}: is damaged ({name} is missing); give '
        'the --out_dir of another job.'
      )
  layout = open_layout(
    settings['layout'],
    options.data_dir or settings['data_dir'],
    options.pairs or settings.get('pairs'),
    split='test',
  )
  names = places.unique_pairs(layout.pairs)
  defaults = {'output': 'png', 'folders': 1}
  with folder.sentence_if_unwritable(out_dir):
    return _finish(out_dir, names, defaults | settings, options.page_pairs)


def _finish(out_dir, names, settings, page_pairs: int) -> int:
  """Merges, writes page and figures, prints them; gives the exit code."""
  merged = folder.merge(out_dir, names)
  report.summarise(out_dir, merged, settings, page_pairs=page_pairs)
  if merged.missing:
    more = ' ...' if merged.missing > len(merged.first_missing) else ''
    print(
      f'{merged.missing} of {len(names)} pairs are missing: '
      f'{", ".join(merged.first_missing)}{more}'
    )
    for tag, who in merged.working.items():
      print(f'shard {tag} is being worked on by {who}')
    if not merged.working:
      print('give the command that began them again to go on')
  bad = merged.failed or merged.missing
  return errors.EXIT_SOME_FAILED if bad else errors.EXIT_OK
