"""Disturbs jobs in every way for a long time; what they write must not differ.

  python -m benchmarks.soak --minutes 60 --seed 1
  python -m benchmarks.soak --minutes 5 --jobs infer --faults kill full

Each of prepare, train, infer, perceive and export is run undisturbed, then
again and again into new folders while it is killed, stopped, and denied its
disk or its input, until it ends. A round is right if what is there then is
equal, bit for bit, to the undisturbed run's; if no process, temporary file or
lock stays; and if each attempt ended with an exit code that is documented and
no traceback. Every second round is kill -9 alone, until each job has had its
share of 20 an hour; at the end one training goes on undisturbed, to see whether
memory and descriptors grow.

It prints what it disturbs with: that depends on the machine (see
`soak_faults`). perceive needs a pose model: `python -m
viton_jax.perception fetch blazepose`.
"""

import argparse
from collections.abc import Callable, Iterator
import contextlib
import itertools
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

# Modules of tests import one another as pytest lets them.
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'tests'))

from benchmarks import soak_jobs  # noqa: E402
from benchmarks.soak_faults import FAULTS, Launch, World, world_in  # noqa: E402
from benchmarks.soak_jobs import Job, Usage  # noqa: E402
from tests import entry_points  # noqa: E402
from viton_jax import errors  # noqa: E402
from viton_jax.errors import InputError  # noqa: E402

_KILLS_PER_HOUR = 20
_DISTURBED = 4  # Attempts of a round, at most; then it is left alone.
_ORPHANS_S = 60
_HANGS_S = 600


# ------------------------------------------------------------------- processes
def members(session: int) -> list[int]:
  """Processes of a session."""
  found = []
  for path in pathlib.Path('/proc').glob('[0-9]*/stat'):
    with contextlib.suppress(OSError):
      fields = path.read_text().rpartition(')')[2].split()
      if int(fields[3]) == session and fields[0] != 'Z':
        found.append(int(path.parent.name))
  return found


def usage_of(pids: list[int]) -> Usage:
  found = Usage()
  for pid in pids:
    with contextlib.suppress(OSError):
      pages = int(pathlib.Path(f'/proc/{pid}/statm').read_text().split()[1])
      found.megabytes += pages * resource.getpagesize() / 2**20
      found.descriptors += len(os.listdir(f'/proc/{pid}/fd'))
  return found


def start(
  world: World, job: Job, place: pathlib.Path, launch: Launch
) -> tuple[subprocess.Popen, pathlib.Path]:
  """The process, in a session of its own, and the file of what it says."""
  said = world.folder / 'said.txt'
  limited, prefix = launch.max_file is not None, launch.prefix
  if launch.max_file is not None:
    blocks = f'ulimit -f {launch.max_file // 1024}; exec "$@"'
    prefix = ('bash', '-c', blocks, 'bash')
  with said.open('wb') as file:
    process = subprocess.Popen(
      [
        *world.prefix,
        *prefix,
        *entry_points.DEFAULT_SIGNALS,
        *entry_points.command(job.module, *job.arguments(place / 'out')),
      ],
      cwd=entry_points.ROOT,
      env=entry_points.environment()
      | {'PYTHONPATH': str(entry_points.ROOT), 'TMPDIR': str(world.temporary)}
      | launch.variables,
      # The limit counts for this file, too.
      stdout=subprocess.PIPE if limited else file,
      stderr=subprocess.STDOUT,
      start_new_session=True,
    )
  return process, said


def attempt(
  world: World,
  job: Job,
  place: pathlib.Path,
  *,
  launch: Launch,
  during: Callable[[subprocess.Popen], None] | None = None,
) -> tuple[int, str, Usage]:
  """Exit code, what was said on both streams, and the most that was used."""
  process, said = start(world, job, place, launch)
  most, ended = Usage(), threading.Event()

  def watch():
    while not ended.wait(0.25):
      now = usage_of(members(process.pid))
      most.megabytes = max(most.megabytes, now.megabytes)
      most.descriptors = max(most.descriptors, now.descriptors)

  watcher = threading.Thread(target=watch)
  watcher.start()
  try:
    if during:
      during(process)
    piped, _ = process.communicate(timeout=_HANGS_S)
    text = said.read_text(errors='replace')
    return process.returncode, text + (piped or b'').decode(), most
  except subprocess.TimeoutExpired:
    return 0, f'Traceback: it hangs for {_HANGS_S} s', most
  finally:
    ended.set()
    watcher.join()
    interrupted = sys.exc_info()[0] is KeyboardInterrupt
    deadline = time.monotonic() + (0 if interrupted else _ORPHANS_S)
    while (left := members(process.pid)) and time.monotonic() < deadline:
      time.sleep(0.1)
    for pid in left:  # Of this session alone, which we began.
      with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    if left and not interrupted:
      job.tally.wrong.append(f'{len(left)} processes outlive their parent')


# 130: stopped by a signal; -15: before Python has set what follows it.
_CODES = {
  'kill': (0, -9),
  'term': (0, errors.EXIT_INTERRUPTED, -15),
  'full': (0, errors.EXIT_BAD_INPUT),
  'unreadable': (0, errors.EXIT_BAD_INPUT, errors.EXIT_SOME_FAILED),
}


# ---------------------------------------------------------------------- rounds
def judge(code: int, said: str, fault: str | None) -> str | None:
  """What is wrong with the way an attempt ended, or None."""
  if code not in _CODES.get(fault or '', (0,)):
    return f'exit code {code}: {said[-600:]!r}'
  if 'Traceback' in said:
    return f'exit code {code}, a traceback: {said[-600:]!r}'
  refusals = [x for x in said.splitlines() if x.startswith('error: ')]
  if code == errors.EXIT_BAD_INPUT and len(refusals) != 1:
    return f'exit code {code}, {len(refusals)} errors: {said[-600:]!r}'
  return None


def one_round(
  world: World, job: Job, faults: list[str], rng: random.Random, end: float
) -> None:
  """Disturbs a job until it has ended, and looks at what it left."""
  tally = job.tally
  place = world.disk / f'{job.name}_{tally.rounds}'
  place.mkdir()
  tries, history = rng.randint(1, _DISTURBED), []
  for number in range(tries + 2):
    disturbed = number < tries and time.monotonic() < end
    fault = rng.choice(faults) if disturbed else None
    if fault == 'full' and job.writes_none(place / 'out'):
      fault = None  # It is done, and a full disk would be none of its matter.
    around = (
      FAULTS[fault](world, job, place, rng)
      if fault
      else contextlib.nullcontext((Launch(), None))
    )
    with around as (launch, during):
      code, said, used = attempt(
        world, job, place, launch=launch, during=during
      )
    tally.attempts += 1
    history.append(f'{fault or "left alone"} -> {code}')
    wrong = judge(code, said, fault)
    if wrong:
      tally.wrong.append(f'{", ".join(history)}: {wrong}')
    if fault:
      # A signal that came after the end disturbed nothing.
      tally.faults[fault] += fault != 'kill' or code == -9
    else:
      tally.usages.append(used)
    if code == errors.EXIT_SOME_FAILED and job.keeps_failures:
      if '"failed"' not in (place / 'out' / 'manifest.jsonl').read_text():
        tally.wrong.append(f'{", ".join(history)}: no pair failed')
      shutil.rmtree(place / 'out')
    if code == 0 and (job.ends_alone or not disturbed):
      break
    if fault in ('kill', 'term') and job.writes_none(place / 'out'):
      break  # The signal came between its last write and its end.
  for wrong in left_behind(world, job, place):
    tally.wrong.append(f'{", ".join(history)}: {wrong}')
  shutil.rmtree(place)
  tally.rounds += 1
  print(f'{job.name}, round {tally.rounds}: {", ".join(history)}', flush=True)


def left_behind(world, job, place) -> Iterator[str]:
  """What a finished round should not have left, or should have."""
  found = job.content(place / 'out') if (place / 'out').exists() else {}
  for name in sorted(found.keys() | job.expected.keys()):
    if found.get(name) != job.expected.get(name):
      lost, more = name not in found, name not in job.expected
      what = 'is lost' if lost else 'should not be there' if more else 'differs'
      yield f'{name} {what}'
  beside = [x.name for x in place.iterdir() if x.name != 'out']
  partial = [x.name for x in place.rglob('*') if 'partial' in x.name]
  temporary = os.listdir(world.temporary)
  # What sets the clock keeps its own there.
  memory = [x for x in os.listdir(world.shared) if 'faketime' not in x]
  clear(world)
  for what, names in (
    ('beside it', beside), ('partial files', partial),
    ('in TMPDIR', temporary), ('in /dev/shm', memory),
  ):  # fmt: skip
    if names:
      yield f'leaves {len(names)} {what}: {names[:3]}'


def clear(world: World) -> None:
  for folder in (world.temporary, world.shared):
    for path in folder.iterdir():
      shutil.rmtree(path) if path.is_dir() else path.unlink()


def measure(world: World, job: Job) -> None:
  """The undisturbed run, twice: the first compiles."""
  place = world.disk / f'{job.name}_undisturbed'
  for number in range(2):
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    begin = time.monotonic()
    begins = []

    def watch(process, place=place, begin=begin, begins=begins):
      while process.poll() is None and not any(place.iterdir()):
        time.sleep(0.01)
      begins.append(time.monotonic() - begin)

    code, said, used = attempt(world, job, place, launch=Launch(), during=watch)
    if code:
      raise InputError(
        f'{job.name}: the undisturbed run ends with exit code {code}: '
        f'{errors.shown(said[-300:])}; mend that first'
      )
    job.seconds, job.begins = time.monotonic() - begin, begins[0]
    if number:
      job.tally.usages.append(used)
  paths = [x for x in (place / 'out').rglob('*') if x.is_file()]
  job.written = sum(x.stat().st_size for x in paths)
  job.expected = job.content(place / 'out')
  print(
    f'{job.name}: undisturbed in {job.seconds:.1f} s, writes {len(paths)} '
    f'files with {job.written / 1e6:.2f} MB, {len(job.expected)} things to '
    'compare',
    flush=True,
  )
  clear(world)


def steady(world: World, job: Job, seconds: float) -> str:
  """Memory and descriptors of one long training, first third and last."""
  place = world.disk / 'steady'
  place.mkdir()
  process, _ = start(world, job, place, Launch())
  found, end = [], time.monotonic() + seconds
  while time.monotonic() < end and process.poll() is None:
    time.sleep(0.5)
    if (place / 'out' / 'metrics.jsonl').exists():  # It is in its loop.
      found.append((time.monotonic(), usage_of(members(process.pid))))
  process.terminate()
  code = process.wait()
  lines = (place / 'out' / 'metrics.jsonl').read_text().splitlines()
  steps = json.loads(lines[-1])['step']
  shutil.rmtree(place)
  third = len(found) // 3

  def middle(part, field):
    values = sorted(getattr(used, field) for _, used in part)
    return values[len(values) // 2]

  text = ', '.join(
    f'{middle(found[third : 2 * third], field):.0f} -> '
    f'{middle(found[-third:], field):.0f} {name}'
    for field, name in (('megabytes', 'MB'), ('descriptors', 'descriptors'))
  )
  return (
    f'one training for {seconds:.0f} s, {steps} steps, second third -> last: '
    f'{text}; SIGTERM at its end: exit code {code}'
  )


# ----------------------------------------------------------------------- whole
def print_table(jobs: list[Job], faults: list[str]) -> None:
  heads = ('job', 'rounds', 'attempts', *faults, 'wrong', 'MB', 'descriptors')
  print(' '.join(f'{x:>11}' for x in heads))
  for job in jobs:
    tally = job.tally
    third = max(len(tally.usages) // 3, 1)
    parts = tally.usages[:third], tally.usages[-third:]

    def change(field, parts=parts):
      most = (max(getattr(x, field) for x in part) for part in parts)
      return ' -> '.join(f'{x:.0f}' for x in most)

    cells = (
      *(job.name, tally.rounds, tally.attempts),
      *(tally.faults[x] for x in faults),
      *(len(tally.wrong), change('megabytes'), change('descriptors')),
    )
    print(' '.join(f'{x:>11}' for x in cells))
  print('MB and descriptors: the most of attempts left alone, first third and '
        'last third of them')  # fmt: skip


def soak(
  folder: pathlib.Path,
  *,
  minutes: float,
  seed: int,
  names: list[str],
  faults: list[str],
) -> list[str]:
  """Everything; returns what is wrong, one line each."""
  rng = random.Random(seed)
  with world_in(folder) as world:
    print(f'seed {seed}; {world}', flush=True)
    jobs = soak_jobs.make(folder, names)
    for job in jobs:
      measure(world, job)
    begin = time.monotonic()
    end = begin + 60 * minutes
    trains = [job for job in jobs if job.name == 'train']
    steady_s = 6 * minutes if trains else 0
    kills = max(1, round(_KILLS_PER_HOUR * minutes / 60))
    with contextlib.suppress(KeyboardInterrupt):  # Ends it before its time.
      for number in itertools.count():
        wanting = [x for x in jobs if x.tally.faults['kill'] < kills]
        series = 'kill' in faults and wanting and number % 2 == 0
        for job in wanting if series else jobs:
          if time.monotonic() >= end - steady_s:
            break
          count = len(job.tally.wrong)
          chosen = ['kill'] if series else faults
          one_round(world, job, chosen, rng, end - steady_s)
          for text in job.tally.wrong[count:]:
            print(f'{job.name}: {text}', flush=True)
        if time.monotonic() >= end - steady_s:
          break
    for job in trains:
      print(steady(world, soak_jobs.endless(job), steady_s), flush=True)
    print_table(jobs, faults)
    print(f'{time.monotonic() - begin:.0f} s, load {os.getloadavg()[1]:.1f}')
    return [f'{job.name}: {text}' for job in jobs for text in job.tally.wrong]


def main() -> int:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add('--minutes', type=float, default=60)
  add('--seed', type=int, default=int(time.time()))
  add('--jobs', nargs='+', choices=soak_jobs.NAMES, default=soak_jobs.NAMES)
  add('--faults', nargs='+', choices=FAULTS, default=list(FAULTS))
  options = parser.parse_args()
  errors.clean_up_on_sigterm()
  with tempfile.TemporaryDirectory(prefix='viton_jax_soak_') as folder:
    wrong = soak(
      pathlib.Path(folder),
      minutes=options.minutes,
      seed=options.seed,
      names=list(options.jobs),
      faults=list(options.faults),
    )
  print(f'{len(wrong)} things went wrong')
  return int(bool(wrong))


if __name__ == '__main__':
  errors.run(main)
