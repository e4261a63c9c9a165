"""Tries damaged files on every reader, and says what does not end well.

  python tests/fuzz/run.py --minutes 10 --seed 1
  python tests/fuzz/run.py --reader photo.webp --seed 1 --case 417
  python tests/fuzz/run.py --file tests/fuzz/corpus/persid.pkl

A case is a function of (reader, seed, number): the second form repeats one, in
this very process, with its traceback. It ends well if the file is read, or
refused by an InputError in one line that names it. Not well: any other
exception, a process that dies, more than 60 seconds, more than 2 GB, a message
of several lines, and other content than the sound file's where a checksum
should have told.
"""

import argparse
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import resource
import sys
import tempfile
import time
from typing import Any
import zlib

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from mutations import mutate  # noqa: E402
from readers import READERS  # noqa: E402

from input_pipeline.formats import original_records  # noqa: E402
from viton_jax.errors import InputError  # noqa: E402

_SECONDS = 60
_BYTES = 2 << 30
_MESSAGE = 1000  # Characters; a path of the test is in it.


def content(reader: str, seed: int, case: int) -> bytes:
  """The damaged file of a case."""
  rng = np.random.default_rng([seed, zlib.crc32(reader.encode()), case])
  return mutate(READERS[reader].sound(), rng)


def attempt(reader: str, data: bytes, folder: pathlib.Path) -> str | None:
  """What is wrong with the way that a file is read, or None.

  Exceptions that are not InputErrors leave it.
  """
  entry = READERS[reader]
  path = folder / f'a{entry.suffix}'
  path.write_bytes(data)
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  try:
    found = entry.read(path)
  except InputError as error:
    text = str(error)
    if '\n' in text or len(text) > _MESSAGE or str(folder) not in text:
      return f'unclear message: {text[:300]!r}'
    found = None
  else:
    if entry.whole and _is_other(found, _sound(reader, folder)):
      return 'accepted with other content'
  more = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
  return f'took {more} bytes' if more > _BYTES else None


def _is_other(found: Any, sound: Any) -> bool:
  return not found <= sound if isinstance(sound, frozenset) else found != sound


def _sound(reader: str, folder: pathlib.Path) -> object:
  entry = READERS[reader]
  path = folder / f'sound{entry.suffix}'
  path.write_bytes(entry.sound())
  return entry.read(path)


def _work(names, seed: int, seconds: float, first: dict, sender) -> None:
  """Tries cases in turn and tells of each before and after it."""
  if 'original.record' in names:
    original_records.tensorflow()  # Its import counts for no case.
  sender.send(('ready', '', None))
  end = time.monotonic() + seconds
  with tempfile.TemporaryDirectory() as folder:
    place = pathlib.Path(folder)
    case = dict(first)
    while time.monotonic() < end:
      for name in names:
        sender.send(('begin', name, case[name]))
        try:
          wrong = attempt(name, content(name, seed, case[name]), place)
        except MemoryError:
          wrong = 'MemoryError'
        except Exception as error:  # noqa: BLE001 - that is what is looked for
          wrong = f'{type(error).__name__}: {error}'[:300]
        sender.send(('end', name, wrong))
        case[name] += 1


def search(names, *, seed: int, seconds: float) -> tuple[int, list]:
  """Tries cases for some time in a process of its own.

  Returns:
    how many were tried, and (reader, case, what is wrong) of those that did
    not end well.
  """
  spawn = multiprocessing.get_context('spawn')
  case, found, count = dict.fromkeys(names, 0), [], 0
  end = time.monotonic() + seconds
  while (left := end - time.monotonic()) > 0:
    receiver, sender = spawn.Pipe(duplex=False)
    worker = spawn.Process(
      target=_work, args=(names, seed, left, case, sender), daemon=True
    )
    worker.start()
    sender.close()
    now = None
    receiver.poll(10 * _SECONDS)  # Until everything is imported.
    with contextlib.suppress(EOFError):
      while receiver.poll(_SECONDS):
        what, name, value = receiver.recv()
        if what == 'ready':
          continue
        if what == 'begin':
          now = name
          case[name] = value + 1
          continue
        now, count = None, count + 1
        if value is not None:
          found.append((name, case[name] - 1, value))
          print(f'{name} --case {case[name] - 1}: {value}', flush=True)
    if now is not None:  # It hangs, or died while it read.
      hangs = worker.is_alive()
      value = 'hangs' if hangs else f'died ({worker.exitcode})'
      worker.kill()
      worker.join()
      found.append((now, case[now] - 1, value))
      print(f'{now} --case {case[now] - 1}: {value}', flush=True)
    worker.join(5)
    receiver.close()
  return count, found


def read_found(path: pathlib.Path) -> bool:
  """Whether a file of the corpus, which none of ours may accept, is read."""
  reader = next(
    name for name, entry in READERS.items() if entry.suffix == path.suffix
  )
  print(f'{path.name}, {reader}: ', end='', flush=True)
  try:
    READERS[reader].read(path)
  except InputError as error:
    print(f'refused: {error}', flush=True)
    return False
  print('read', flush=True)
  return True


def main() -> int:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add('--minutes', type=float, default=1)
  add('--seed', type=int, default=int(time.time()))
  add('--reader', choices=READERS, help='this one alone')
  add('--case', type=int, help='this one alone; needs --reader')
  add('--file', type=pathlib.Path, nargs='+', help='files of the corpus')
  add('--keep', type=pathlib.Path, help='folder for the files that were found')
  arguments = parser.parse_args()
  names = [arguments.reader] if arguments.reader else list(READERS)
  seed = arguments.seed
  if arguments.file:
    return sum(map(read_found, arguments.file))
  if arguments.case is not None:
    with tempfile.TemporaryDirectory() as folder:
      data = content(arguments.reader, seed, arguments.case)
      wrong = attempt(arguments.reader, data, pathlib.Path(folder))
    print(wrong or 'ends well')
    return int(wrong is not None)
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  print(f'seed {seed}, {len(names)} readers, {os.cpu_count()} cores')
  count, found = search(names, seed=seed, seconds=60 * arguments.minutes)
  for name, case, wrong in found:
    print(
      f'python tests/fuzz/run.py --reader {name} --seed {seed} --case {case}'
      f'  # {wrong}'
    )
    if arguments.keep:
      arguments.keep.mkdir(parents=True, exist_ok=True)
      kept = arguments.keep / f'{seed}_{case}_{name}'
      kept.write_bytes(content(name, seed, case))
  print(f'{count} files tried, {len(found)} did not end well')
  return int(bool(found))


if __name__ == '__main__':
  sys.exit(main())
