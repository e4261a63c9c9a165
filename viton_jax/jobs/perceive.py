"""The job that makes a data set of photos: many processes, one folder.

What is done with a photo comes from outside; here is who does which, what has
been done before, and the lists and the manifest at the end.

    women_top/ pose/ segment/ garment_mask/    the VITON layout
    viton_train_pairs.txt, viton_test_pairs.txt
    manifest.jsonl                             a line a photo, in their order
    overlays/                                  some of them, to look at
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
import contextlib
import multiprocessing
import pathlib
import time

import jax

from viton_jax import errors
from viton_jax.errors import InputError
from viton_jax.io import storage
from viton_jax.job_folders import folder, places, shards
from viton_jax.jobs.photo_list import Item, PhotoList
from viton_jax.runtime import (
  compile_cache,
  environment,
  progress,
  worker_processes,
)

FOLDERS = ('women_top', 'pose', 'segment', 'garment_mask', 'overlays')
_LISTS = {'train': 'viton_train_pairs.txt', 'test': 'viton_test_pairs.txt'}
_BATCH = 32  # On an accelerator; a CPU is not faster in batches.
_WAITING = 4  # Tasks for each worker, so that none has to wait.

# Photos -> a line of the manifest each; and what makes such a function, in the
# process that runs it.
Work = Callable[[Sequence[Item]], list[dict]]
Open = Callable[[], Work]


def run(
  photos: PhotoList,
  out_dir: pathlib.Path,
  open_work: Open,
  *,
  settings: dict,
  shard: shards.Shard,
  workers: int | None = None,
) -> int:
  """Does a shard of the photos that are not done yet.

  Args:
    photos: of all shards.
    out_dir: the data set's folder.
    open_work: makes the function that does photos; picklable.
    settings: others are refused in the same folder.
    shard: which of the photos.
    workers: processes; 0: none beside this one; None: one a core, on an
      accelerator 0, and batches.

  Returns:
    an exit code.

  Raises:
    InputError: the folder is of another job or cannot be written, or a worker
      died.
  """
  on_cpu = jax.default_backend() == 'cpu'
  if workers is None:
    workers = environment.cores() if on_cpu else 0
  batch = 1 if on_cpu else _BATCH
  compile_cache.use('auto')
  names = {item.name: k for k, item in enumerate(photos.items)}
  digest = places.digest(f'{x.name} {x.path}' for x in photos.items)
  known = settings | {'list': digest, 'photos': digest}
  with folder.claim(out_dir, known, shard, folders=FOLDERS) as claim:
    done = set(folder.done_names(out_dir))
    mine = [photos.items[k] for k in shards.places(len(photos.items), shard)]
    left = [item for item in mine if item.name not in done]
    print(
      f'{len(mine)} photos'
      + (f' of shard {shard}' if shard.count > 1 else '')
      + (f', {len(mine) - len(left)} of them done before' if done else '')
    )
    begin = time.monotonic()
    bar = progress.progress(len(mine), 'perceive', unit='photo')
    bar.update(len(mine) - len(left))
    refused = 0
    with contextlib.closing(bar):
      for lines in _results(left, open_work, workers=workers, batch=batch):
        _note(claim, lines)
        refused += sum(x['status'] != 'ok' for x in lines)
        bar.update(len(lines), f'{refused} refused' if refused else '')
    seconds = time.monotonic() - begin
    last = folder.finish(claim, digest)
  if left:
    print(
      f'{len(left)} photos in {seconds:.1f} s '
      f'({len(left) / max(seconds, 1e-9):.1f} photos/s)'
    )
  if not last:
    print(f'{out_dir}: lists are written when all shards are done')
    return errors.EXIT_SOME_FAILED if refused else errors.EXIT_OK
  return _finish(photos, out_dir, names)


def _note(claim: folder.Claim, lines: list[dict]) -> None:
  try:
    claim.manifest.add(*lines)
  except OSError as error:
    raise InputError(
      f'{claim.manifest.path}: cannot be written ({error.strerror}); free some '
      'space and give the same command to go on'
    ) from error


def _finish(photos: PhotoList, out_dir: pathlib.Path, names) -> int:
  """Merges the manifests and writes the lists of pairs."""
  merged = folder.merge(out_dir, names)
  lines = [x for _, x in storage.read_lines(out_dir / folder.MANIFEST)]
  ok = {x['name'] for x in lines if x['status'] == 'ok'}
  counts = {}
  for split, pairs in (('train', photos.train), ('test', photos.test)):
    kept = [x for x in pairs if ok.issuperset(x)]
    counts[split] = f'{len(kept)} of {len(pairs)}'
    text = ''.join(f'{person}.jpg {garment}.jpg\n' for person, garment in kept)
    storage.write_file(out_dir / _LISTS[split], text.encode())
  people = [x for x in lines if x['status'] == 'ok' and 'joints' in x]
  joints = sum(x['joints'] for x in people) / max(len(people), 1)
  print(
    f'{out_dir}: {len(people)} people with {joints:.1f} of 18 joints on '
    f'average, {merged.ok - len(people)} garments; {counts["train"]} pairs in '
    f'{_LISTS["train"]}, {counts["test"]} in {_LISTS["test"]}'
  )
  crowds = sum(x.get('people', 1) > 1 for x in people)
  if crowds:
    print(
      f'in {crowds} photos are several people, of whom the largest was taken; '
      f'{folder.MANIFEST} says which'
    )
  if merged.failed:
    reasons = [x['reason'] for x in lines if x['status'] != 'ok']
    print('\n'.join(f'refused: {x}' for x in reasons[:3]))
    print(f'{merged.failed} photos refused; {folder.MANIFEST} says why')
    return errors.EXIT_SOME_FAILED
  return errors.EXIT_OK


def _results(
  items: list[Item], open_work: Open, *, workers: int, batch: int
) -> Iterator[list[dict]]:
  """Lines of the manifest, as photos are done."""
  tasks = iter(items[k : k + batch] for k in range(0, len(items), batch))
  if not items:
    return
  if not workers:
    work = open_work()
    yield from map(work, tasks)
    return
  # Spawned processes read these when they start.
  with worker_processes.one_thread_each():
    pool = futures.ProcessPoolExecutor(
      workers,
      # A forked JAX may deadlock.
      mp_context=multiprocessing.get_context('spawn'),
      initializer=_start_worker,
      initargs=(open_work,),
    )
    for _ in range(workers):  # Each starts one.
      pool.submit(abs, 0)
  try:
    waiting: set[futures.Future] = set()
    for task in tasks:
      waiting.add(pool.submit(_work, task))
      if len(waiting) >= _WAITING * workers:
        done, waiting = futures.wait(
          waiting, return_when=futures.FIRST_COMPLETED
        )
        for one in done:
          yield one.result()
    for one in futures.as_completed(waiting):
      yield one.result()
  except BrokenProcessPool as error:
    raise InputError(
      'a worker process died, perhaps for lack of memory; give the same '
      f'command with fewer --workers than {workers} to go on'
    ) from error
  finally:
    pool.shutdown(cancel_futures=True)


_do: Work | None = None  # Of this worker process.


def _start_worker(open_work: Open) -> None:
  global _do
  worker_processes.initialize_worker()
  compile_cache.use('auto')
  _do = open_work()


def _work(items: list[Item]) -> list[dict]:
  assert _do is not None  # `_start_worker` ran first.
  return _do(items)
