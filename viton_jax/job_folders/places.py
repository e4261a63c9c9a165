"""What the pairs and images of a job are called, and where they lie."""

import hashlib
import os
import zlib

from viton_jax.errors import InputError

SUFFIXES = {'png': '.png', 'jpeg': '.jpg', 'webp': '.webp'}
# A step of numbers and not of colours, see `job_folders.corrections`.
CORRECTION = 'correction'
MANY_PAIRS = 50_000  # From here on images are spread over folders.
FOLDERS = 256


def pair_name(person_id: str, garment_id: str) -> str:
  """The name of a pair's files: '000001_0_000234_1'."""
  # A million times; `pathlib` would take five times as long.
  person, garment = os.path.splitext(person_id), os.path.splitext(garment_id)
  return f'{person[0]}_{garment[0]}'


def unique_pairs(pairs) -> dict[str, int]:
  """Name -> place in the list; a pair that is listed twice is there once.

  Raises:
    InputError: two pairs would have the same name.
  """
  found = {}
  for i, pair in enumerate(pairs):
    name = pair_name(*pair)
    before = found.setdefault(name, i)
    if before != i and pairs[before] != pair:
      raise InputError(
        f'the pairs {" ".join(pairs[before])!r} and {" ".join(pair)!r} of '
        f'the list would both be written as {name}; rename a file or split '
        'the list.'
      )
  return found


def digest(names) -> str:
  """Hash of a list of names, to compare the lists of two jobs."""
  found = hashlib.sha256()
  for name in names:
    found.update(f'{name}\n'.encode())
  return found.hexdigest()[:16]


def place_of(
  name: str, column: str, *, kind: str, folders: int, step_kind: str = 'jpeg'
) -> str:
  """Where an image of a pair lies, relative to the job's folder.

  Args:
    name: of the pair.
    column: 'result', or a step to it.
    kind: of SUFFIXES, the result's format.
    folders: over which images are spread.
    step_kind: of SUFFIXES, the format of steps; of `CORRECTION` it is PNG.
  """
  folder = 'results' if column == 'result' else 'steps'
  if folders > 1:
    folder += f'/{zlib.crc32(name.encode()) % folders:02x}'
  if column == 'result':
    return f'{folder}/{name}{SUFFIXES[kind]}'
  suffix = SUFFIXES['png' if column == CORRECTION else step_kind]
  return f'{folder}/{name}_{column}{suffix}'
