"""What `benchmarks.soak` does to jobs."""

from collections.abc import Iterator
import contextlib
import dataclasses
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

from benchmarks.soak_jobs import Job

_DISK_MB = 256
_FAKETIME = 'usr/lib/*/faketime/libfaketimeMT.so.1'


@dataclasses.dataclass
class World:
  """Where everything lies.

  Attributes:
    folder: of this run.
    disk: a file system of its own where that may be made.
    own_disk: whether it is one.
    strace: the program that slows system calls, or None.
    faketime: the library that sets clocks, or None.
  """

  folder: pathlib.Path
  disk: pathlib.Path
  own_disk: bool
  strace: str | None
  faketime: str | None

  def __str__(self) -> str:
    kinds = (
      f'a tmpfs of {_DISK_MB} MB' if self.own_disk else 'RLIMIT_FSIZE',
      'mode 0' if os.geteuid() else 'a folder in the place of a file (root)',
      'libfaketime' if self.faketime else "files' times",
      'strace delays calls' if self.strace else 'another writer',
    )
    names = ('full disk', 'unreadable', 'clock', 'slow disk')
    return '; '.join(f'{a}: {b}' for a, b in zip(names, kinds, strict=True))

  @property
  def temporary(self) -> pathlib.Path:
    return self.disk / 'tmp'

  @property
  def shared(self) -> pathlib.Path:
    return self.disk / 'shm'

  @property
  def prefix(self) -> tuple[str, ...]:
    """Gives a command a /dev/shm of its own, where that may be done."""
    if not self.own_disk:
      return ()
    bind = 'mount --bind "$0" /dev/shm && exec "$@"'
    return ('unshare', '--mount', 'sh', '-c', bind, str(self.shared))


@dataclasses.dataclass
class Launch:
  """How a command is started. Attributes: before it, variables, file limit."""

  prefix: tuple[str, ...] = ()
  variables: dict[str, str] = dataclasses.field(default_factory=dict)
  max_file: int | None = None


@contextlib.contextmanager
def world_in(folder: pathlib.Path) -> Iterator[World]:
  disk = folder / 'disk'
  disk.mkdir()
  mounted = (
    not os.geteuid()
    and not subprocess.run(
      ['mount', '-t', 'tmpfs', '-o', f'size={_DISK_MB}m', 'tmpfs', disk],
      capture_output=True,
      check=False,
    ).returncode
  )
  libraries = sorted(pathlib.Path('/').glob(_FAKETIME))
  world = World(
    folder=folder,
    disk=disk,
    own_disk=mounted,
    strace=shutil.which('strace'),
    faketime=str(libraries[0]) if libraries else None,
  )
  world.temporary.mkdir()
  world.shared.mkdir()
  try:
    yield world
  finally:
    if mounted:
      subprocess.run(['umount', '-l', disk], check=True)


def somewhere(job: Job, place: pathlib.Path, rng: random.Random):
  """Waits for a random moment of a run, most often while it writes."""

  def size():
    total = 0
    # Folders may go while they are looked through, which `os.walk` bears.
    for folder, _, names in os.walk(place):
      for name in names:
        with contextlib.suppress(OSError):
          total += 1 + os.stat(os.path.join(folder, name)).st_size
    return total

  def wait(process: subprocess.Popen) -> None:
    if rng.random() < 0.25:
      wanted = rng.uniform(0, job.seconds)
    else:
      before = size()
      while process.poll() is None and size() == before:
        time.sleep(0.01)
      wanted = rng.uniform(0, max(job.seconds - job.begins, 0.1))
    with contextlib.suppress(subprocess.TimeoutExpired):
      process.wait(wanted)

  return wait


@contextlib.contextmanager
def signalled(number, world, job, place, rng):
  wait = somewhere(job, place, rng)

  def during(process):
    wait(process)
    process.send_signal(number)

  yield Launch(), during


@contextlib.contextmanager
def paused(world, job, place, rng):
  wait = somewhere(job, place, rng)

  def during(process):
    wait(process)
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGSTOP)
      time.sleep(rng.uniform(0.2, 2))
      os.killpg(process.pid, signal.SIGCONT)

  yield Launch(), during


@contextlib.contextmanager
def full(world, job, place, rng):
  """Less room than what is to be written needs."""
  room = int(rng.uniform(0, 0.9) * job.written)
  if not world.own_disk:
    yield Launch(max_file=room // 20), None
    return
  ballast = world.disk / 'ballast'
  free = os.statvfs(world.disk)
  with ballast.open('wb') as file:
    os.posix_fallocate(
      file.fileno(), 0, max(free.f_bavail * free.f_frsize - room, 1)
    )
  try:
    yield Launch(), None
  finally:
    ballast.unlink()


@contextlib.contextmanager
def unreadable(world, job, place, rng):
  """Root may read every file: then there is a folder in the place of one."""
  path = rng.choice(job.inputs)
  if os.geteuid():
    mode = path.stat().st_mode
    path.chmod(0)
    try:
      yield Launch(), None
    finally:
      path.chmod(mode)
    return
  aside = world.folder / 'aside'  # Beside it, it would count as a photo.
  path.rename(aside)
  path.mkdir()
  try:
    yield Launch(), None
  finally:
    path.rmdir()
    aside.rename(path)


@contextlib.contextmanager
def clock(world, job, place, rng):
  """A jump by up to a year and back, within the run or of files' times."""
  seconds = rng.uniform(-1, 1) * 365 * 86400
  if world.faketime is None:
    for path in place.rglob('*'):
      with contextlib.suppress(OSError):
        os.utime(path, (time.time() + seconds * rng.random(),) * 2)
    yield Launch(), None
    return
  told = world.folder / 'clock'
  told.write_text('+0')
  wait = somewhere(job, place, rng)

  def during(process):
    for offset in (seconds, 0):
      wait(process)
      told.write_text(f'{offset:+.0f}')

  yield (
    Launch(
      variables={
        'LD_PRELOAD': world.faketime,
        'FAKETIME_TIMESTAMP_FILE': str(told),
        'FAKETIME_CACHE_DURATION': '1',
        # Waits and timeouts are of the monotonic clock, which never jumps.
        'FAKETIME_DONT_FAKE_MONOTONIC': '1',
      }
    ),
    during,
  )


@contextlib.contextmanager
def slow(world, job, place, rng):
  """Each write, sync and rename takes some milliseconds more."""
  if world.strace:
    calls = 'write,pwrite64,fsync,fdatasync,rename,ftruncate'
    delay = int(rng.uniform(2_000, 20_000))
    yield (
      Launch(
        prefix=(
          *(world.strace, '-f', '-q', '--seccomp-bpf', '-o', os.devnull),
          *(
            '-e',
            f'trace={calls}',
            '-e',
            f'inject={calls}:delay_enter={delay}',
          ),
        )
      ),
      None,
    )
    return
  writer = subprocess.Popen(
    ['sh', '-c', 'while :; do dd if=/dev/zero of="$0" bs=1M count=64 '
     'conv=fsync 2>&-; done', str(world.folder / 'busy')],
    start_new_session=True,
  )  # fmt: skip
  try:
    yield Launch(), None
  finally:
    os.killpg(writer.pid, signal.SIGKILL)
    writer.wait()


def _signal(number):
  return lambda *where: signalled(number, *where)


FAULTS = {
  'kill': _signal(signal.SIGKILL),
  'term': _signal(signal.SIGTERM),
  'stop': paused,
  'full': full,
  'unreadable': unreadable,
  'clock': clock,
  'slow': slow,
}
