"""An evaluation: what one process does from its options to the report.

Called by `python -m viton_jax.evaluate`, whose --help says what the options
mean. Its folder is that of any batch job, see `job_folders.folder`; a line of
its manifest has the figures of a pair, features/ what the figures of sets are
made of. All figures of metrics.json are made of these at the end, in the
list's order, so they do not depend on who measured what.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent import futures
import dataclasses
import itertools
import os
import pathlib

import jax
import numpy as np

from viton_jax import errors
from viton_jax.errors import InputError
from viton_jax.evaluation import (
  comparison,
  measuring,
  networks,
  pairing,
  protocols,
  reading,
  stored,
  summary,
  tables,
)
from viton_jax.evaluation.job import Job
from viton_jax.io import images
from viton_jax.job_folders import folder, places, shards
from viton_jax.metrics import resize
from viton_jax.runtime import compile_cache, environment, progress, stopping

_READ_AHEAD = 3  # Batches.
_BATCH = {'cpu': 8}  # Others: 64.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
  """The options of an evaluation, by the names of the command's flags.

  Attributes:
    results: folder of pictures, or of a job of `python -m viton_jax.infer`.
    out_dir: where figures and report go.
    truth: folder of true pictures; or
    data_dir: data set that knows the truth, with
    layout: its layout. None of the three: the data set of the job.
    pairs: the pair list; None: the job's, or the layout's test list.
    protocol: a name of `protocols.PROTOCOLS`.
    figures: those to measure, see `protocols.choose`.
    method: which of the job's pictures are evaluated.
    lpips_weights, inception_weights: see `networks.load`.
    compare: folders of other evaluations, to be compared with.
    fid_infinity: extrapolate FID to endlessly many pictures.
    batch_size: pairs that go to the device at a time; None: by the platform.
    shard: 'I/N', or None: by the environment.
    merge: only gather what all shards have measured.
  """

  results: str
  out_dir: str
  truth: str | None = None
  data_dir: str | None = None
  layout: str | None = None
  pairs: str | None = None
  protocol: str = 'viton_jax'
  figures: str | None = None
  method: pairing.Method = 'result'
  lpips_weights: tuple[str, ...] = ()
  inception_weights: str | None = None
  compare: tuple[str, ...] = ()
  fid_infinity: bool = False
  batch_size: int | None = None
  shard: str | None = None
  merge: bool = False


def run(options: Options) -> int:
  """Measures a shard; the last one writes figures and report.

  Returns:
    the exit code.

  Raises:
    InputError: an option, a file or the folder is wrong, or the disk is full.
  """
  if options.batch_size is not None and not 1 <= options.batch_size <= 4096:
    raise InputError(f'--batch_size {options.batch_size} is not in 1 to 4096')
  out_dir = pathlib.Path(options.out_dir)
  job = prepare(options)
  others = [tables.read(pathlib.Path(x)) for x in options.compare]
  for other in others:
    comparison.check(other, job.protocol.name)
  shard = shards.find(options.shard, os.environ)
  names = {item.name: i for i, item in enumerate(job.pairs.items)}
  settings = _settings(options, job, names)
  for line in _said_first(job):
    print(line)
  if not options.merge:
    compile_cache.use('auto')
    with folder.claim(
      out_dir, settings, shard, folders=(stored.FOLDER,)
    ) as claim:
      last = _run_shard(options, job, names, claim)
    if last is None:
      return errors.EXIT_INTERRUPTED
    if not last:
      print(f'shard {shard} is done; the shard that is last writes the report')
      return errors.EXIT_OK
  else:
    folder.compare_settings(out_dir, settings)
  with folder.sentence_if_unwritable(out_dir):
    return _finish(options, job, others, names, out_dir)


def prepare(options: Options) -> Job:
  """Opens everything that an evaluation reads.

  Raises:
    InputError: something is missing, wrong, or does not fit together.
  """
  protocol = protocols.find(options.protocol)
  figures = protocols.choose(protocol, options.figures)
  results = pairing.read_results(pathlib.Path(options.results), options.method)
  if options.truth is not None:
    if options.data_dir is not None:
      raise InputError('--truth and --data_dir: give one of them')
    pairs = pairing.with_folder(
      results, pathlib.Path(options.truth), options.pairs
    )
  else:
    data_dir = options.data_dir or results.settings.get('data_dir')
    if data_dir is None:
      raise InputError(
        '--truth is missing: give the folder of the true pictures, or '
        '--data_dir and --layout of a data set that knows them'
      )
    layout = options.layout or (
      results.settings.get('layout', 'auto')
      if options.data_dir is None
      else 'auto'
    )
    listed = options.pairs
    if listed is None and options.data_dir is None:
      listed = results.settings.get('pairs')
    pairs = pairing.with_layout(results, layout, data_dir, listed)
  nets = networks.load(
    figures,
    lpips_weights=options.lpips_weights,
    inception_weights=options.inception_weights,
  )
  left = tuple(x for x in figures if x.name not in nets.left_out)
  if nets.left_out and (options.figures not in (None, 'all') or not left):
    name, why = next(iter(nets.left_out.items()))
    raise InputError(f'{protocol.name}, {name}: {why}')
  known = reading.known_of(pairs) if protocol.name == 'viton_jax' else ()
  return Job(protocol, left, pairs, known, nets, options.method)


def _settings(options: Options, job: Job, names: dict[str, int]) -> dict:
  """What an evaluation is; its folder takes no other."""
  where = options.truth or options.data_dir
  return {
    'kind': 'evaluation',
    'protocol': job.protocol.name,
    'figures': [figure.name for figure in job.figures],
    'known': list(job.known),
    'method': job.method,
    'results': str(pathlib.Path(options.results).absolute()),
    'truth': str(pathlib.Path(where).absolute()) if where else None,
    'weights': {
      name: [file['sha256'] for file in found]
      for name, found in job.nets.files.items()
    },
    'pairs': options.pairs,
    'list': places.digest(names),
    'folders': places.FOLDERS,
  }


def _said_first(job: Job) -> Iterator[str]:
  results = sum(item.result is not None for item in job.pairs.items)
  yield f'{results} results: {job.pairs.source}'
  for warning in job.pairs.warnings:
    yield f'warning: {warning}'
  yield from job.nets.sentences()


# -------------------------------------------------------------------- a shard


def _run_shard(options, job: Job, names, claim: folder.Claim) -> bool | None:
  """Measures a claimed shard.

  Returns:
    whether it was the last of its evaluation; None: a signal stopped it.
  """
  todo = {
    job.pairs.items[i].name: job.pairs.items[i]
    for i in shards.places(len(names), claim.shard)
  }
  of_shard = len(todo)
  for line in folder.done_lines(claim.out_dir):
    item = todo.get(line['name'])
    if item is not None and line.get('stamp') == stored.stamp(item):
      del todo[item.name]
  if len(todo) < of_shard:
    print(f'{of_shard - len(todo)} are done already, {len(todo)} to go')
  bar = progress.progress(len(todo), 'evaluate', unit='pair')
  done = 0
  with (
    stopping.StopSignal() as stop,
    futures.ThreadPoolExecutor(environment.cores(), 'read') as pool,
    folder.sentence_if_unwritable(claim.out_dir),
  ):
    size = options.batch_size or _BATCH.get(jax.default_backend(), 64)
    measure = _measurer(job)
    for group in batches(_read_ahead(job, todo.values(), pool, size), size):
      lines = measure(group, claim)
      claim.manifest.add(*lines)
      done += len(lines)
      bar.update(len(lines))
      if stop.requested_at(done):
        pool.shutdown(wait=False, cancel_futures=True)
        break
  bar.close()
  if done < len(todo):
    print(
      f'stopped by a signal after {done} of {len(todo)} pairs; the same '
      'command goes on'
    )
    return None
  with folder.sentence_if_unwritable(claim.out_dir):
    return folder.finish(claim, claim.settings['list'])


def _read_ahead(
  job: Job, items: Iterable[pairing.Item], pool: futures.Executor, size: int
) -> Iterator[reading.Loaded]:
  items = iter(items)

  def begin(count):
    return [
      pool.submit(
        reading.read, job.pairs, item, method=job.method, known=job.known
      )
      for item in itertools.islice(items, count)
    ]

  ahead = deque(begin(_READ_AHEAD * size))
  while ahead:
    yield ahead.popleft().result()
    ahead += begin(1)


def batches(
  loaded: Iterable[reading.Loaded], size: int
) -> Iterator[list[reading.Loaded]]:
  """Groups of pictures of equal sizes; those that failed by themselves."""
  waiting = {}
  for one in loaded:
    if one.reason:
      yield [one]
      continue
    shapes = tuple(
      None if x is None else x.shape for x in (one.result, one.truth)
    )
    group = waiting.setdefault((shapes, one.item.paired), [])
    group.append(one)
    if len(group) == size:
      yield waiting.pop((shapes, one.item.paired))
  yield from waiting.values()


def _measurer(job: Job):
  """A function of a group and a claim that measures and gives lines."""
  of_pairs = measuring.make_pairs_step(job.figures, job.known, job.nets)
  extract = measuring.make_features_step(job.columns, job.nets)
  measured = job.known or any(x.of_pairs for x in job.figures)
  compared = any(x.both for x in job.columns)

  def features(pictures, needed):
    if not needed or pictures[0] is None:
      return None
    return extract(np.stack(pictures))

  def measure(group: list[reading.Loaded], claim: folder.Claim) -> list[dict]:
    if group[0].reason:
      return [
        {'name': x.item.name, 'status': 'failed', 'reason': x.reason}
        for x in group
      ]
    values = {}
    if measured and group[0].item.paired:
      values = of_pairs(to_measure(group, job.protocol))
    fake = features([x.result for x in group], bool(job.columns))
    real = features([x.truth for x in group], compared)
    lines = []
    for i, one in enumerate(group):
      rows = [
        None if not counts or of_group is None else of_group[i]
        for of_group, counts in ((fake, True), (real, one.item.real))
      ]
      lines.append(
        {
          'name': one.item.name,
          'status': 'ok',
          'file': stored.write(claim, one.item.name, *rows),
          'stamp': stored.stamp(one.item),
          'values': {
            name: float(column[i])
            for name, column in values.items()
            if np.isfinite(column[i])
          },
          'groups': one.groups,
          'formats': one.formats,
          'sizes': [
            None if x is None else list(x.shape[:2])
            for x in (one.result, one.truth)
          ],
        }
      )
    return lines

  return measure


def to_measure(
  group: list[reading.Loaded], protocol: protocols.Protocol
) -> dict[str, np.ndarray]:
  """A batch of pairs as the protocol compares them: both of one size."""
  results = np.stack([x.result for x in group if x.result is not None])
  truths = np.stack([x.truth for x in group if x.truth is not None])
  if protocol.size is not None:
    results, truths = (
      _resized(x, protocol.size, 'bilinear') for x in (results, truths)
    )
  elif results.shape != truths.shape:
    truths = _resized(truths, results.shape[1:3], protocol.truth_resize)
  known = group[0].known
  return {
    'result': results,
    'truth': truths,
    **{name: np.stack([x.known[name] for x in group]) for name in known},
  }


def _resized(
  pictures: np.ndarray,
  size: tuple[int, int],
  how: protocols.TruthResize,
) -> np.ndarray:
  if pictures.shape[1:3] == tuple(size):
    return pictures
  if how == 'area':
    return np.stack([images.resize_area(x, *size) for x in pictures])
  return np.concatenate(
    [np.asarray(resize.pillow(x[None], size, filter=how)) for x in pictures]
  )


# --------------------------------------------------------------------- the end


def _finish(options, job: Job, others, names, out_dir: pathlib.Path) -> int:
  """Writes figures and report from what all shards have measured."""
  job.nets.params.clear()  # Their memory is for the features.
  merged = folder.merge(out_dir, names)
  if merged.missing:
    more = ' ...' if merged.missing > len(merged.first_missing) else ''
    print(
      f'{merged.missing} of {len(names)} are not measured yet: '
      f'{", ".join(merged.first_missing)}{more}; give the command that began '
      'them again'
    )
    return errors.EXIT_SOME_FAILED
  summary.write(
    job,
    others,
    out_dir,
    total=len(names),
    fid_infinity=options.fid_infinity,
  )
  return errors.EXIT_SOME_FAILED if merged.failed else errors.EXIT_OK
