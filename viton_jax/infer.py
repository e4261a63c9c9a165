"""Tries garments on: a list of pairs in, pictures and a page to look at out.

  python -m viton_jax.infer --data_dir DATA --layout viton \\
      --pairs viton_test_pairs.txt --checkpoint W1 --refine_checkpoint W2 \\
      --out_dir RESULTS

RESULTS/index.html shows every step of every pair, RESULTS/sheet.png the first
few at a glance; RESULTS/results/ holds the pictures alone;
RESULTS/manifest.jsonl says of each pair what became of it.

A million pairs overnight: leave the steps out, write records, and give each
task of an array its own part; whoever is last merges the manifests.

  python -m viton_jax.infer ... --results_only --output tfrecord --shard 3/16
  python -m viton_jax.infer --merge --out_dir RESULTS

The same command goes on where it stopped, whatever stopped it, also with
another number of shards: every pair is written exactly once. docs/inference.md
tells more.

Exit codes: 0 all pairs are dressed; 2 bad input or a full disk; 3 done, but
some pairs failed and the manifest says why; 130 stopped by a signal.
"""

import argparse
import os
import pathlib
import signal
import threading

import jax

from input_pipeline.layouts import LAYOUTS, open_layout
from viton_jax import checkpoints, errors
from viton_jax.errors import InputError
from viton_jax.jobs import (
  device_steps,
  folder,
  pipeline,
  report,
  shards,
  workers,
  writers,
)
from viton_jax.runtime import (
  compile_cache,
  distributed,
  environment,
  parallel,
  progress,
  stopping,
)

_PROCESSES_FROM = 500  # Pairs; starting processes takes seconds.
_BATCH = {'cpu': 8}  # Of a device; others: 32.


def parse_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog='python -m viton_jax.infer',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add('--out_dir', required=True, help='where pictures and page go')

  add = parser.add_argument_group('what to try on').add_argument
  add('--data_dir', help='data set folder')
  add('--layout', default='viton', choices=LAYOUTS)
  add(
    '--pairs',
    help='pair list: a file of data_dir, or a path (default: the test list '
    "of the layout); with ':paired' after it, all in their own garments",
  )

  add = parser.add_argument_group('the networks').add_argument
  add(
    '--checkpoint',
    help="a folder with both networks (the demo's, or what "
    '`python -m viton_jax.convert` or `export` wrote), or stage 1: its '
    'workdir, one step of it, or a .safetensors file; averaged parameters are '
    'taken where training kept them',
  )
  add('--refine_checkpoint', help='stage 2, where it lies elsewhere')
  add(
    '--dtype',
    default='float32',
    choices=('float32', 'bfloat16'),
    help='of the convolutions; bfloat16 is faster on accelerators and within '
    'a grey level or two (default: %(default)s)',
  )
  add(
    '--batch_size',
    type=int,
    help='over all devices of this process, rounded up to a multiple of '
    'them (default: 8 a device on CPUs, else 32)',
  )
  add(
    '--png_round_trip',
    action='store_true',
    help="stretch stage 1's pictures to 8 bits before stage 2 sees them, as "
    "the original's scripts did (docs/fidelity.md)",
  )

  add = parser.add_argument_group('what to write').add_argument
  add(
    '--output',
    default='png',
    choices=(*writers.FORMATS, writers.TFRECORD),
    help='a picture file for each try-on, or TFRecord files of '
    'tf.train.Example (default: %(default)s)',
  )
  add(
    '--quality',
    type=int,
    help='1 to 100, of jpeg (95) and webp (90); png loses nothing',
  )
  add(
    '--record_format',
    default='png',
    choices=writers.FORMATS,
    help='how pictures are encoded in TFRecords (default: %(default)s)',
  )
  add(
    '--records_per_file',
    type=int,
    default=1000,
    help='in a TFRecord file; what a kill can cost (default: %(default)s)',
  )
  add(
    '--results_only',
    action='store_true',
    help='write the try-on pictures alone, without the steps to them',
  )
  add(
    '--page_pairs',
    type=int,
    default=500,
    help='pairs that index.html shows (default: %(default)s)',
  )

  add = parser.add_argument_group('many processes').add_argument
  add(
    '--shard',
    metavar='I/N',
    help='do part I of N of the list, 0 <= I < N (default: the place in a '
    'SLURM array, else all; several processes of one job share it)',
  )
  add(
    '--merge',
    action='store_true',
    help='gather the manifests of all shards and say what is missing; needs '
    '--out_dir alone, may be done at any time and again',
  )
  add(
    '--workers',
    type=int,
    help='processes that read pairs and match masks; 0: threads (default: '
    f'one a core from {_PROCESSES_FROM} pairs on, else 0)',
  )
  return parser.parse_args()


def check_arguments(arguments: argparse.Namespace) -> None:
  """Raises InputError where a number or a name is wrong or missing."""
  for name in ('data_dir', 'checkpoint'):
    if getattr(arguments, name) is None:
      raise InputError(f'--{name} is missing; see --help for an example.')
  for name, low, high in (
    ('batch_size', 1, 2**16),
    ('records_per_file', 1, 10**6),
    ('quality', 1, 100),
    ('workers', 0, 1024),
    ('page_pairs', 0, 10**6),
  ):
    value = getattr(arguments, name)
    if value is not None and not low <= value <= high:
      raise InputError(f'--{name} {value} is not in {low} to {high}.')
  kind = arguments.output
  if kind == writers.TFRECORD:
    kind = arguments.record_format
  if kind == 'png' and arguments.quality is not None:
    raise InputError(
      f'--quality {arguments.quality}: png has no quality; give --output '
      'jpeg or webp, or leave --quality out.'
    )


def main() -> int:
  arguments = parse_arguments()
  out_dir = pathlib.Path(arguments.out_dir)
  if arguments.merge:
    return merge(arguments, out_dir)
  check_arguments(arguments)
  distributed.initialize()
  with stopping.leaving_at_once():
    return infer(arguments, out_dir)


def infer(arguments: argparse.Namespace, out_dir: pathlib.Path) -> int:
  """Does a shard of a list; returns the exit code."""
  print(environment.report())
  compile_cache.use('auto')
  shard = shards.find(
    arguments.shard,
    os.environ,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
  )
  networks = checkpoints.read_pair(
    arguments.checkpoint, arguments.refine_checkpoint
  )
  layout = open_layout(
    arguments.layout, arguments.data_dir, arguments.pairs, split='test'
  )
  print(layout.found)
  names = folder.unique_pairs(layout.pairs)
  steps = device_steps.make_steps(
    *networks,
    dtype=arguments.dtype,
    png_round_trip=arguments.png_round_trip,
  )
  work = workers.work_of(layout, networks[0])
  settings = settings_of(arguments, layout, names)
  with folder.claim(out_dir, settings, shard) as claim:
    return _run_shard(arguments, layout, work, steps, names, claim)


def _run_shard(arguments, layout, work, steps, names, claim) -> int:
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
    written, failed = try_on(arguments, layout, work, steps, claim, todo)
  if written < len(todo):
    print(
      f'stopped by a signal after {written} of {len(todo)} pairs; the same '
      'command goes on'
    )
    return errors.EXIT_INTERRUPTED
  with writers.sentence_if_unwritable(out_dir):
    last = folder.finish(claim, claim.settings['list'])
    # JAX takes it badly if processes of one job end minutes apart.
    folder.wait_for(out_dir, shards.peers(shard, jax.process_count()))
    if last:
      return finish(out_dir, names, claim.settings, arguments.page_pairs)
  print(
    f'shard {shard}: {of_shard - failed} pairs dressed, {failed} failed; '
    'the shard that is last merges the manifests'
  )
  return errors.EXIT_SOME_FAILED if failed else errors.EXIT_OK


def settings_of(arguments, layout, names) -> dict:
  """What a job is; its folder takes no other."""
  return {
    'data_dir': str(pathlib.Path(arguments.data_dir).absolute()),
    'layout': layout.name,  # What 'auto' found.
    'pairs': arguments.pairs,
    'list': folder.digest(names),
    'checkpoint': str(pathlib.Path(arguments.checkpoint).absolute()),
    'refine_checkpoint': str(
      pathlib.Path(
        arguments.refine_checkpoint or arguments.checkpoint
      ).absolute()
    ),
    'png_round_trip': arguments.png_round_trip,
    'dtype': arguments.dtype,
    'output': arguments.output,
    'quality': arguments.quality,
    'record_format': arguments.record_format,
    'folders': (writers.FOLDERS if len(names) >= writers.MANY_PAIRS else 1),
  }


def try_on(arguments, layout, work, steps, claim, todo) -> tuple[int, int]:
  """Does the pairs `todo`; returns how many are written, and failures of them.

  Fewer than all are written where a signal stopped it.
  """
  devices = jax.local_device_count()
  platform = jax.devices()[0].platform
  batch_size = arguments.batch_size or devices * _BATCH.get(platform, 32)
  batch_size += -batch_size % devices
  cores = environment.cores()
  processes = arguments.workers
  if processes is None:
    processes = cores if len(todo) >= _PROCESSES_FROM else 0
  stop = stop_signal()
  clock = pipeline.Clock()
  failed = 0
  if claim.settings['output'] == writers.TFRECORD:
    writer = writers.RecordWriter(
      claim,
      arguments.record_format,
      quality=arguments.quality,
      records_per_file=arguments.records_per_file,
    )
  else:
    writer = writers.ImageWriter(
      claim, arguments.output, quality=arguments.quality
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
      with_steps=not arguments.results_only,
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
    f'devices: {devices} x {platform}, idle {100 * idle:.1f} % of the time; '
    f'batches of {batch_size}, {processes or "no"} worker processes\n'
    f'{clock.waits()}'
  )
  return written, failed


def stop_signal() -> threading.Event:
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


def merge(arguments, out_dir: pathlib.Path) -> int:
  """The command --merge."""
  settings = folder.read_settings(out_dir)
  if settings is None:
    raise InputError(
      f'{out_dir}: has no settings.json, so nothing was begun here; give the '
      '--out_dir of a job.'
    )
  layout = open_layout(
    settings['layout'],
    arguments.data_dir or settings['data_dir'],
    arguments.pairs or settings.get('pairs'),
    split='test',
  )
  names = folder.unique_pairs(layout.pairs)
  defaults = {'output': 'png', 'folders': 1}
  with writers.sentence_if_unwritable(out_dir):
    return finish(out_dir, names, defaults | settings, arguments.page_pairs)


def finish(out_dir, names, settings, page_pairs: int) -> int:
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


if __name__ == '__main__':
  errors.run(main)
