"""Pair lists, whose pairs they are, and in which split their files lie."""

from collections.abc import Callable
import pathlib
import re

from viton_jax.errors import InputError
from viton_jax.io import files

# After a list's name: everybody of the list in the garment they wear.
PAIRED = ':paired'
SPLITS = ('train', 'test')
# A name with a folder could point outside the data.
_MAX_BYTES = 1 << 30
_PLAIN_NAME = re.compile(r'(?!\.\.?$)[^/\\\0]+')


def read_pairs(path: pathlib.Path, *, hint: str = ''):
  """Reads a list of 'person.jpg garment.jpg' lines.

  Args:
    path: the list.
    hint: where such lists are found, for the error if this one is missing.

  Returns:
    tuple of (person file, garment file), in order.

  Raises:
    InputError: no such file, no pair in it, or a line that is not two plain
      file names.
  """
  lines = files.read_text(
    path,
    'pair list',
    limit=_MAX_BYTES,
    remedy=f"name an existing list of 'person.jpg garment.jpg' lines{hint}",
  ).splitlines()
  pairs = []
  for number, line in enumerate(lines, start=1):
    names = line.split()
    if not names:
      continue
    if len(names) != 2 or not all(map(_PLAIN_NAME.fullmatch, names)):
      raise InputError(
        f"{path}, line {number}: '{line[:200]}' is not a pair; write "
        "'person.jpg garment.jpg', two file names without folders"
      )
    pairs.append((names[0], names[1]))
  if not pairs:
    raise InputError(
      f"{path}: the pair list is empty; write 'person.jpg garment.jpg' lines"
    )
  return tuple(pairs)


def open_list(path: pathlib.Path, own_garment: Callable, *, hint: str = ''):
  """Reads a list, whose name may end in ':paired'.

  Args:
    path: the list; with ':paired' after it, each person once, in the garment
      worn on the photo, whatever garments the list names.
    own_garment: person file -> garment file.
    hint: see `read_pairs`.

  Returns:
    (path of the list, pairs).

  Raises:
    InputError: as `read_pairs`; or a person whose garment cannot be determined.
  """
  if not path.name.endswith(PAIRED):
    return path, read_pairs(path, hint=hint)
  if path.name == PAIRED:
    raise InputError(
      f"{path}: names no list before '{PAIRED}'; write e.g. "
      f'train_pairs.txt{PAIRED}'
    )
  path = path.with_name(path.name.removesuffix(PAIRED))
  persons = dict.fromkeys(person for person, _ in read_pairs(path, hint=hint))
  return path, tuple((person, own_garment(person)) for person in persons)


def garment_of_number(person_id: str) -> str:
  """'000001_0.jpg' -> '000001_1.jpg', as VITON and DressCode name garments."""
  stem, suffix = pathlib.Path(person_id).stem, pathlib.Path(person_id).suffix
  number, _, kind = stem.rpartition('_')
  if not number or kind != '0':
    raise InputError(
      f"{person_id}: the person's own garment cannot be determined from "
      f"this name; write a list with both names instead of '{PAIRED}'"
    )
  return f'{number}_1{suffix}'


def garment_of_name(person_id: str) -> str:
  """'00000_00.jpg' -> the same, as VITON-HD names garments."""
  return person_id


def same_number(person_id: str, garment_id: str) -> bool:
  """Whether the garment is the one on the photo: same number, other suffix."""
  person, garment = (
    pathlib.PurePath(name).stem.rpartition('_')[0]
    for name in (person_id, garment_id)
  )
  return bool(person) and person == garment


def same_name(person_id: str, garment_id: str) -> bool:
  """Whether the garment is the one on the photo: same name."""
  return pathlib.PurePath(person_id).stem == pathlib.PurePath(garment_id).stem


def split_folders(data_dir: pathlib.Path) -> list[pathlib.Path]:
  """The folders with image/ and cloth/: data_dir itself, or its splits."""
  places = [data_dir, *(data_dir / split for split in SPLITS)]
  return [
    place
    for place in places
    if (place / 'image').is_dir() and (place / 'cloth').is_dir()
  ]


def find_split(data_dir: pathlib.Path, path: pathlib.Path, pairs):
  """Finds the folder that a list's files lie in.

  Args:
    data_dir: a folder with image/ and cloth/, or with train/ and test/ that
      have them.
    path: the list. If its name says train or test, so be it.
    pairs: of the list. If its name does not say, the split is the one whose
      image/ has all of its persons.

  Returns:
    (the folder, why).

  Raises:
    InputError: no such folder, or the split cannot be determined.
  """
  folders = split_folders(data_dir)
  if not folders:
    raise InputError(
      f'{data_dir}: neither this folder nor train/ or test/ in it has '
      'image/ and cloth/; give the folder that holds them as the data folder'
    )
  if folders[0] == data_dir:
    return data_dir, 'image/ and cloth/ lie there'
  words = re.split(r'[^a-z]+', path.stem.lower())
  named = [split for split in SPLITS if split in words]
  if len(named) == 1:
    folder = data_dir / named[0]
    if folder not in folders:
      raise InputError(
        f'{path.name}: the name says {named[0]}, but {folder} with image/ '
        'and cloth/ is missing; unpack it or give another pair list'
      )
    return folder, f'the name of the list says {named[0]}'
  persons = {person for person, _ in pairs}
  missing = {}
  for folder in folders:
    there = {file.name for file in (folder / 'image').iterdir()}
    missing[folder] = len(persons - there)
  complete = [folder for folder in folders if not missing[folder]]
  if len(complete) == 1:
    return complete[0], 'all persons of the list are there'
  counts = ', '.join(
    f'{folder.name}/image lacks {number}' for folder, number in missing.items()
  )
  raise InputError(
    f'{path}: which split this list is of cannot be determined ({counts} of '
    f"its {len(persons)} persons); name it 'train_....txt' or 'test_....txt', "
    'and list persons of one split'
  )
