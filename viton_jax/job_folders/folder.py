"""The folder of a try-on job, which many processes may share.

    settings.json                    what the job is; others are refused
    results/, steps/                 see `results`
    manifest-00003-of-00016.jsonl    status of the pairs of a shard so far
    manifest.jsonl                   of all pairs, in the list's order
    .jobs/                           locks, marks of finished shards, and what
                                     is being written

A pair is done when a line of any manifest says so and its file is there:
whatever was killed, deleted or split anew, this alone decides what is left to
do. So the number of shards may change from one start to the next.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import time

import numpy as np

from input_pipeline.formats.record_files import index_records
from viton_jax.errors import InputError
from viton_jax.io import storage, structured
from viton_jax.job_folders.job_files import read_lines, read_settings
from viton_jax.job_folders.shards import Shard

MANIFEST = 'manifest.jsonl'
_PARTS = 'manifest-*-of-*.jsonl'
_JOBS = '.jobs'
_MISSING, _FAILED, _OK = 0, 1, 2


@dataclasses.dataclass
class Claim:
  """A shard that this process alone works on.

  Attributes:
    out_dir: the job's folder.
    shard: which one.
    settings: of the job.
    manifest: of the shard, to append to.
    lock: held until `finish` or `close`, or until the process ends.
  """

  out_dir: pathlib.Path
  shard: Shard
  settings: dict
  manifest: storage.Manifest
  lock: storage.Lock

  def close(self) -> None:
    """Closes the manifest and lets the lock go; the shard is not finished."""
    self.manifest.close()
    self.lock.release()

  def __enter__(self) -> 'Claim':
    return self

  def __exit__(self, *_) -> None:
    self.close()

  @property
  def partial_dir(self) -> pathlib.Path:
    """Where what is being written stays until it is whole."""
    return self.out_dir / _JOBS / f'{self.shard.tag}.partial'


def claim(
  out_dir: pathlib.Path,
  settings: dict,
  shard: Shard,
  *,
  folders: tuple[str, ...] = ('results',),
) -> Claim:
  """Locks a shard, and deletes the partial files of killed jobs.

  Args:
    out_dir: the job's folder; made if it is not there.
    settings: what the job is. `pairs` and `list` (where the list is, and its
      `digest`) may be others than before, unless other shards are at work.
    shard: which one.
    folders: in the job's folder, to be made.

  Raises:
    InputError: the folder is of another job or cannot be written, or another
      process works on this shard, or on shards of another count.
  """
  try:
    jobs = out_dir / _JOBS
    jobs.mkdir(parents=True, exist_ok=True)
    with (
      storage.Lock(jobs / 'claim.lock', wait=True),
      contextlib.ExitStack() as on_error,
    ):
      live = _live(out_dir)
      _check_live(out_dir, live, shard)
      settings = _check_settings(out_dir, settings, live)
      lock = on_error.enter_context(storage.Lock(jobs / f'{shard.tag}.lock'))
      if not lock.held:
        print(
          f'{out_dir}: this file system has no locks; see to it that no two '
          'jobs have the same shard'
        )
      for tag in _tags(out_dir) - set(live):
        _clear(out_dir, tag)
      (jobs / f'{shard.tag}.done').unlink(missing_ok=True)
      (jobs / f'{shard.tag}.partial').mkdir(exist_ok=True)
      for name in folders:
        (out_dir / name).mkdir(exist_ok=True)
      manifest = storage.Manifest(_part(out_dir, shard.tag))
      on_error.pop_all()
  except OSError as error:
    raise InputError(
      f'{out_dir}: cannot be written ({error.strerror}); give another '
      '--out_dir.'
    ) from error
  return Claim(out_dir, shard, settings, manifest, lock)


def done_lines(out_dir: pathlib.Path) -> Iterator[dict]:
  """Lines of finished pairs, some perhaps more than once, old before new."""
  there = _Files(out_dir)
  for path in _manifests(out_dir):
    for _, line in read_lines(path):
      if line.get('status') == 'ok' and there.has(line):
        yield line


def done_names(out_dir: pathlib.Path) -> Iterator[str]:
  """Names of finished pairs, some perhaps more than once."""
  for line in done_lines(out_dir):
    yield line['name']


def finish(claim: Claim, digest: str) -> bool:
  """Marks a shard as finished; returns whether it was the last one.

  Args:
    claim: of the shard, all of whose pairs have a line now.
    digest: of the list of pairs.
  """
  jobs = claim.out_dir / _JOBS
  claim.manifest.close()
  with storage.Lock(jobs / 'claim.lock', wait=True):
    shutil.rmtree(claim.partial_dir, ignore_errors=True)
    storage.write_json(jobs / f'{claim.shard.tag}.done', {'list': digest})
    claim.lock.release()
    return not _live(claim.out_dir) and all(
      _mark(jobs / f'{Shard(i, claim.shard.count).tag}.done') == digest
      for i in range(claim.shard.count)
    )


def wait_for(out_dir: pathlib.Path, shards: list[Shard]) -> None:
  """Waits until no process works on any of these shards."""
  while True:
    with storage.Lock(out_dir / _JOBS / 'claim.lock', wait=True):
      live = _live(out_dir)
    if not any(shard.tag in live for shard in shards):
      return
    time.sleep(0.5)


@contextlib.contextmanager
def sentence_if_unwritable(path: pathlib.Path):
  """Turns the OSError of a write into an InputError."""
  try:
    yield
  except OSError as error:
    raise InputError(
      f'{path}: cannot be written ({error.strerror}); what is finished '
      'stays, so free some space and give the same command again to go on.'
    ) from error


@dataclasses.dataclass
class Merged:
  """Summary of the manifests for a list of pairs.

  Attributes:
    ok: pairs with a try-on.
    failed: pairs without, for a reason.
    missing: pairs without a line yet.
    first_missing: some names of these.
    working: shards that are at work now, with who does them.
  """

  ok: int = 0
  failed: int = 0
  missing: int = 0
  first_missing: list[str] = dataclasses.field(default_factory=list)
  working: dict[str, str] = dataclasses.field(default_factory=dict)


def merge(out_dir: pathlib.Path, names: dict[str, int]) -> Merged:
  """Gathers the shards' manifests into one, in the order of the list.

  Of several lines of a pair the one whose file is there counts, else the newest
  failure. Where no pair is missing, the parts are removed. Doing it again
  changes nothing. Memory: a few bytes a pair beside the names.

  Args:
    out_dir: the job's folder.
    names: of the list, see `unique_pairs`.
  """
  ranks = {name: rank for rank, name in enumerate(names)}
  states = np.zeros(len(ranks), np.uint8)
  sources = np.zeros(len(ranks), np.int32)
  offsets = np.zeros(len(ranks), np.int64)
  others = {}  # Of earlier lists; their files are there, so is their line.
  with storage.Lock(out_dir / _JOBS / 'claim.lock', wait=True):
    there = _Files(out_dir)
    paths = _manifests(out_dir)
    for source, path in enumerate(paths):
      for offset, line in read_lines(path):
        ok = line.get('status') == 'ok'
        if ok and not there.has(line):
          continue
        rank = ranks.get(line.get('name', ''))
        if rank is None:
          if ok:
            others[line['name']] = line
        elif ok or states[rank] != _OK:
          states[rank] = _OK if ok else _FAILED
          sources[rank], offsets[rank] = source, offset
    live = _live(out_dir)
    partial = out_dir / _JOBS / f'{MANIFEST}.partial'
    with contextlib.ExitStack() as stack:
      files = [stack.enter_context(path.open('rb')) for path in paths]
      merged = stack.enter_context(partial.open('wb'))
      for rank in np.flatnonzero(states):
        file = files[sources[rank]]
        file.seek(offsets[rank])
        merged.write(file.readline())
      for line in others.values():
        merged.write(json.dumps(line).encode() + b'\n')
      merged.flush()
      os.fsync(merged.fileno())
    os.replace(partial, out_dir / MANIFEST)
    if states.all() and not live:
      for path in paths:
        if path.name != MANIFEST:
          path.unlink()
      for path in (out_dir / _JOBS).glob('*.done'):
        path.unlink()
  missing = np.flatnonzero(states == _MISSING)
  few = set(missing[:5].tolist())
  return Merged(
    ok=int((states == _OK).sum()),
    failed=int((states == _FAILED).sum()),
    missing=len(missing),
    first_missing=[name for name, rank in ranks.items() if rank in few],
    working=live,
  )


class _Files:
  """Which result files are there; each folder is listed once."""

  def __init__(self, out_dir: pathlib.Path):
    self._out_dir = out_dir
    self._folders = {}

  def has(self, line: dict) -> bool:
    place = line.get('file', f'results/{line["name"]}.png')
    if not place:  # Its line is all there is of it.
      return True
    folder, _, name = place.rpartition('/')
    if folder not in self._folders:
      try:
        self._folders[folder] = set(os.listdir(self._out_dir / folder))
      except FileNotFoundError:
        self._folders[folder] = set()
    return name in self._folders[folder]


def _part(out_dir, tag):
  return out_dir / f'manifest-{tag}.jsonl'


def _manifests(out_dir):
  """All of them, the merged one first, then from old to new."""
  parts = sorted(out_dir.glob(_PARTS), key=lambda path: path.stat().st_mtime)
  return [path for path in (out_dir / MANIFEST,) if path.exists()] + parts


def _tags(out_dir):
  """Of all shards that ever left something."""
  parts = {
    path.name.removeprefix('manifest-').removesuffix('.jsonl')
    for path in out_dir.glob(_PARTS)
  }
  jobs = {path.stem for path in (out_dir / _JOBS).glob('*-of-*')}
  return parts | jobs


def _live(out_dir) -> dict[str, str]:
  """Shards that are being worked on: tag -> by whom."""
  found = {}
  for path in sorted((out_dir / _JOBS).glob('*-of-*.lock')):
    who = storage.holder(path)
    if who:
      found[path.stem] = who
  return found


def _check_live(out_dir, live, shard):
  if shard.tag in live:
    raise InputError(
      f'{out_dir}: {live[shard.tag]} is working on shard {shard} here; wait '
      'for it, or give another --shard or --out_dir.'
    )
  for tag, who in live.items():
    if not tag.endswith(f'-of-{shard.count:05d}'):
      raise InputError(
        f'{out_dir}: {who} is working on shard {tag} here, so '
        f'{shard} would do some pairs twice; wait for it, or give as many '
        'shards.'
      )


def _check_settings(out_dir, ours, live) -> dict:
  """Writes the settings into a new folder, or compares them with the old."""
  path = out_dir / 'settings.json'
  theirs = read_settings(out_dir)
  if theirs is None:
    storage.write_json(path, ours)
    return ours
  if live and theirs.get('list', ours['list']) != ours['list']:
    raise InputError(
      f'{out_dir}: {next(iter(live.values()))} is working on another list '
      'of pairs here; wait for it, or give the same --pairs.'
    )
  compare_settings(out_dir, ours)
  if 'folders' in ours:  # Not of every kind of job.
    ours = ours | {'folders': theirs.get('folders', 1)}
  if ours != theirs:
    storage.write_json(path, ours)
  return ours


def compare_settings(out_dir: pathlib.Path, ours: dict) -> None:
  """Compares a job with the one that its folder was begun for, if any.

  Raises:
    InputError: they differ in more than the list of pairs.
  """
  theirs = read_settings(out_dir) or {}
  for name, value in ours.items():
    if name in ('pairs', 'list', 'folders'):
      continue
    if theirs.get(name, value) != value:
      raise InputError(
        f'{out_dir / "settings.json"}: these results were begun with {name} = '
        f'{theirs[name]}, not {value}; use another --out_dir.'
      )


def _mark(path):
  try:
    return structured.read_object(path).get('list')
  except InputError:
    return None


def _clear(out_dir, tag):
  """Deletes the partial files of a shard on which no process works."""
  partial = out_dir / _JOBS / f'{tag}.partial'
  shutil.rmtree(partial, ignore_errors=True)
  storage.cut_torn_line(_part(out_dir, tag))
  # A record file counts when every record has its line. Each has before the
  # next is begun, so it is the newest, if any, whose lines are not all there.
  records = sorted((out_dir / 'results').glob(f'try_on-{tag}-*.tfrecord'))
  if not records:
    return
  name = f'/{records[-1].name}'
  listed = set()
  for path in (out_dir / MANIFEST, _part(out_dir, tag)):
    if path.exists():
      listed |= {
        line.get('record')
        for _, line in read_lines(path)
        if line.get('file', '').endswith(name)
      }
  if len(listed) < len(index_records(records[-1:])):
    records[-1].unlink()
