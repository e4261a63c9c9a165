"""Preparing on Apache Beam: the same parts and records, by its workers.

Beam's workers read the raw data and write the parts and the records, so all
of them must see these folders under the same paths: on one machine, or on
machines with a shared file system.
"""

from collections.abc import Iterator
import concurrent.futures
import functools
import os
import pathlib

import cv2

from input_pipeline.preparing import gather, parts
from viton_jax.errors import InputError
from viton_jax.runtime import worker_processes

_POLL_S = 0.5


def parse_options(text: str, *, workers: int) -> list[str]:
  """Turns 'runner=FlinkRunner,parallelism=8' into Beam's flags.

  Args:
    text: name=value, separated by commas; a name alone is a switch.
    workers: processes of the DirectRunner, which runs where none is named.

  Returns:
    '--name=value' each.

  Raises:
    InputError: an item without a name.
  """
  items = [item.strip() for item in text.split(',') if item.strip()]
  for item in items:
    if not item.split('=')[0].strip('- '):
      raise InputError(
        f"--beam_options: '{item}' has no name; write name=value, separated "
        'by commas, e.g. runner=DirectRunner,direct_num_workers=4'
      )
  flags = [f'--{item.lstrip("-")}' for item in items]
  given = {flag.split('=')[0] for flag in flags}
  if '--runner' not in given or '--runner=DirectRunner' in flags:
    for name, value in (
      ('--runner', 'DirectRunner'),
      ('--direct_running_mode', 'multi_processing'),
      ('--direct_num_workers', max(workers, 1)),
    ):
      if name not in given:
        flags.append(f'{name}={value}')
  return flags


def pipeline_options(flags: list[str]):
  """Beam's `PipelineOptions`.

  Raises:
    InputError: Beam is not installed.
  """
  return _beam().options.pipeline_options.PipelineOptions(flags)


def _beam():
  """Apache Beam: an extra with its own environment, hence not at the top."""
  # Type checkers run in the other environment.
  try:
    import apache_beam as beam  # pyright: ignore[reportMissingImports]
    import apache_beam.options.pipeline_options  # pyright: ignore[reportMissingImports]
  except ImportError as error:
    raise InputError(
      f'--beam needs Apache Beam, but {error.name} is not installed; make an '
      "environment for it with pip install -e '.[beam]', because it "
      'needs an older protobuf, or leave --beam out'
    ) from error
  return beam


def run_chunks(
  work: parts.Work, numbers: list[int], *, options
) -> Iterator[list[str]]:
  """Runs `parts.prepare_chunk` on Beam's workers.

  Args:
    work: the job.
    numbers: of the chunks.
    options: see `pipeline_options`.

  Yields:
    the statuses of each chunk, as its part appears.
  """
  if not numbers:
    return
  with concurrent.futures.ThreadPoolExecutor(1) as thread:
    running = thread.submit(_run_pipeline, work, numbers, options)
    left, done = set(numbers), False
    while left:
      try:
        running.result(timeout=_POLL_S)
        done = True
      except concurrent.futures.TimeoutError:
        pass
      found = {x for x in left if parts.part_path(work.parts_dir, x).exists()}
      for number in sorted(found):
        lines = parts.read_manifest(work.parts_dir, number)
        yield [line['status'] for line in lines]
      left -= found
      if done and left:
        raise InputError(
          f'{work.parts_dir}: the workers have written {len(left)} parts '
          'elsewhere; give Beam a runner whose workers share this folder'
        )


def _run_pipeline(work, numbers, options):
  beam = _beam()
  # Workers share the cores among themselves, not with their own threads.
  with (
    worker_processes.one_thread_each(),
    beam.Pipeline(options=options) as pipeline,
  ):
    _ = (
      pipeline
      | 'Chunks' >> beam.Create(numbers)
      | 'Spread' >> beam.Reshuffle()
      | 'Prepare' >> beam.Map(functools.partial(_prepare_chunk, work))
    )


def _prepare_chunk(work: parts.Work, number: int) -> None:
  cv2.setNumThreads(1)
  os.makedirs(work.parts_dir, exist_ok=True)
  # A runner may try a piece of work twice.
  if not parts.part_path(work.parts_dir, number).exists():
    parts.prepare_chunk(work, number)


def read_on_beam(parts_dir: pathlib.Path, slices: list[gather.Slice]):
  """A Beam transform to (place in the split, example) of a split's slices."""
  beam = _beam()
  return (
    beam.Create(slices)
    | 'Spread' >> beam.Reshuffle()
    | 'Read' >> beam.FlatMap(functools.partial(gather.read_slice, parts_dir))
  )
