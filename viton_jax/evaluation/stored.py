"""What is stored of a picture for the figures of sets: its features."""

from collections.abc import Sequence
import pathlib
import tempfile
import zlib

from jaxtyping import Float
import numpy as np

from viton_jax.errors import InputError
from viton_jax.evaluation.pairing import Item
from viton_jax.io import files, storage
from viton_jax.job_folders import folder, places

FOLDER = 'features'
_MAX_BYTES = 1 << 20


def stamp(item: Item) -> list[int]:
  """Size and time of a result's file, so that another is measured again."""
  path = item.result or item.truth
  assert path is not None  # Every item has one.
  try:
    found = path.stat()
  except OSError:
    return []
  return [found.st_size, found.st_mtime_ns]


def place_of(name: str) -> str:
  """Where a pair's features lie, relative to the evaluation's folder."""
  part = zlib.crc32(name.encode()) % places.FOLDERS
  return f'{FOLDER}/{part:02x}/{name}.f32'


def write(
  claim: folder.Claim,
  name: str,
  fake: Float[np.ndarray, ' d'] | None,
  real: Float[np.ndarray, ' d'] | None,
) -> str:
  """Writes a pair's features, (2, d) float32; NaN where there are none.

  Returns:
    their place; '' where there is nothing to write.
  """
  if fake is None and real is None:
    return ''
  rows = [x for x in (fake, real) if x is not None]
  data = np.stack(
    [np.full_like(rows[0], np.nan) if x is None else x for x in (fake, real)]
  )
  place = place_of(name)
  path = claim.out_dir / place
  path.parent.mkdir(exist_ok=True)
  storage.write_file(
    path, data.astype(np.float32).tobytes(), partial_dir=claim.partial_dir
  )
  return place


def read(
  out_dir: pathlib.Path, names: Sequence[str], *, side: int, columns: slice
) -> tuple[Float[np.ndarray, 'n d'], Float[np.ndarray, ' n']]:
  """The features of all that have them.

  Args:
    out_dir: the evaluation's folder.
    names: whose.
    side: 0: of the results; 1: of the true pictures.
    columns: which.

  Returns:
    (n, d) float32, mapped from a file that ends with it, and which of `names`
    they are of.

  Raises:
    InputError: a file is missing or torn.
  """
  found, kept = np.zeros((0, 0), np.float32), []
  for i, name in enumerate(names):
    path = out_dir / place_of(name)
    data = files.read(
      path,
      'feature file',
      limit=_MAX_BYTES,
      remedy='give the same command again to have it made again',
    )
    row = np.zeros(0, np.float32)
    if data and len(data) % 8 == 0:
      row = np.frombuffer(data, np.float32).reshape(2, -1)[side, columns]
    if not i and len(row):
      # A file of the disk's, so that memory need not hold all rows at a time.
      with tempfile.TemporaryFile(dir=out_dir) as file:  # The map keeps it.
        shape = len(names), len(row)
        found = np.memmap(file, np.float32, mode='w+', shape=shape)
    if not len(row) or len(row) != found.shape[1]:
      raise InputError(
        f'{path}: the feature file is torn ({len(data)} bytes); remove it and '
        'give the same command again'
      )
    if np.isfinite(row).all():
      found[len(kept)] = row
      kept.append(i)
  return found[: len(kept)], np.array(kept, np.int64)
