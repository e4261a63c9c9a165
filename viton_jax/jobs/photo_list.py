"""Which photos become a data set, under which names, and which pairs they make.

Files of the VITON layout are named by number: 000001_0.jpg is a person and
000001_1.jpg the garment that the person wears. So pairs of a person and the own
garment get the first numbers, all other people those after them.
"""

from collections.abc import Iterable
import csv
import dataclasses
import io
import pathlib

from viton_jax.errors import InputError, shown
from viton_jax.io import files, photos

_DELIMITERS = {'.csv': ',', '.tsv': '\t'}
_HEADER = ('person', 'garment')
_MAX_LIST_BYTES = 1 << 30
Pairs = list[tuple[pathlib.Path, pathlib.Path]]


@dataclasses.dataclass(frozen=True)
class Item:
  """One photo.

  Attributes:
    name: of its files, without suffix: '000001_0' is a person, '000001_1' a
      garment.
    path: of the photo.
  """

  name: str
  path: pathlib.Path

  @property
  def is_garment(self) -> bool:
    return self.name.endswith('_1')

  @property
  def number(self) -> int:
    return int(self.name[:-2])


@dataclasses.dataclass(frozen=True)
class PhotoList:
  """The photos of a data set.

  Attributes:
    items: all of them.
    train: (person, garment) names of people in the garments that they wear.
    test: (person, garment) names of what is to be tried on.
  """

  items: tuple[Item, ...]
  train: tuple[tuple[str, str], ...]
  test: tuple[tuple[str, str], ...]


def find_photos(folder: pathlib.Path, what: str) -> list[pathlib.Path]:
  """All files of a folder, but hidden ones; not all need be photos.

  What has a photo's suffix and is no file is there too: it is told when it is
  read, and not left out in silence.

  Args:
    folder: where they are.
    what: they are, for the error.

  Raises:
    InputError: no such folder, or it is empty.
  """
  if not folder.is_dir():
    raise InputError(f'{folder}: there is no such folder with the {what}')
  found = sorted(
    x
    for x in folder.iterdir()
    if (x.is_file() or x.suffix.lower() in photos.SUFFIXES)
    and not x.name.startswith('.')
  )
  if not found:
    raise InputError(f'{folder}: there is no photo in it; give the {what}')
  return found


def gather(
  people: pathlib.Path | None,
  garments: pathlib.Path | None,
  *,
  pairs: str | None = None,
  test_pairs: str | None = None,
) -> PhotoList:
  """Finds and names the photos of folders or tables.

  Args:
    people: folder with photos of people.
    garments: folder with photos of garments.
    pairs: table of people and the garments that they wear; see `read_pairs`.
    test_pairs: the same of what is to be tried on. With neither, all photos
      of both folders are taken, and `by_name` says who wears what.

  Raises:
    InputError: there is nothing to do; or a folder or a table is wrong.
  """
  worn, wanted = (
    read_pairs(pathlib.Path(x), people, garments) if x else None
    for x in (pairs, test_pairs)
  )
  if worn is not None or wanted is not None:
    return build([], [], pairs=worn or [], test_pairs=wanted)
  if people is None:
    raise InputError(
      'there is nothing to do: give --people and --garments, --photos, or '
      '--pairs'
    )
  all_people = find_photos(people, 'people')
  all_garments = find_photos(garments, 'garments') if garments else []
  return build(
    all_people, all_garments, pairs=by_name(all_people, all_garments)
  )


def read_pairs(
  path: pathlib.Path,
  people: pathlib.Path | None,
  garments: pathlib.Path | None,
) -> Pairs:
  """Reads a table of two columns: a person's photo, and a garment's.

  Args:
    path: a '.csv' or '.tsv' file; its first row may be 'person', 'garment'.
    people: folder that the first column's names are in; None: the table's.
    garments: folder that the second column's names are in; None: the table's.

  Raises:
    InputError: the file cannot be read, is of another kind, or a row is no
      pair.
  """
  delimiter = _DELIMITERS.get(path.suffix.lower())
  if delimiter is None:
    raise InputError(
      f'{path}: pairs are read from .csv (commas) and .tsv (tabs) files; save '
      'the list as one of these'
    )
  text = files.read_text(
    path,
    'list',
    limit=_MAX_LIST_BYTES,
    remedy='check the name, and save it as UTF-8 text',
  )
  try:
    table = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter)
    rows = [
      (number, [cell.strip() for cell in row])
      for number, row in enumerate(table, 1)
      if any(cell.strip() for cell in row)
    ]
  except csv.Error as error:
    raise InputError(
      f'{path}: the list cannot be read ({error}); save it as UTF-8 text'
    ) from error
  if rows and tuple(x.lower() for x in rows[0][1]) == _HEADER:
    del rows[0]
  pairs = []
  for number, row in rows:
    if len(row) != 2 or not all(row) or any('\0' in x for x in row):
      raise InputError(
        f'{path}, row {number}: {shown(row)} is no pair; write two columns, '
        "the person's photo and the garment's"
      )
    beside = path.parent
    pairs.append(((people or beside) / row[0], (garments or beside) / row[1]))
  if not pairs:
    raise InputError(f'{path}: there is no pair in it; write one a row')
  return pairs


def by_name(
  people: Iterable[pathlib.Path], garments: Iterable[pathlib.Path]
) -> Pairs:
  """People and garments whose files have one name, but for the suffix.

  '_0' after a person's and '_1' after a garment's name do not count, as VITON
  has it. Of several files of one name the first counts.
  """
  own = {}
  for garment in garments:
    own.setdefault(garment.stem.removesuffix('_1'), garment)
  pairs = []
  for person in people:
    garment = own.pop(person.stem.removesuffix('_0'), None)
    if garment:
      pairs.append((person, garment))
  return pairs


def build(
  people: list[pathlib.Path],
  garments: list[pathlib.Path],
  *,
  pairs: Pairs,
  test_pairs: Pairs | None = None,
) -> PhotoList:
  """Names all photos.

  Args:
    people: photos beside those of the pairs.
    garments: the same.
    pairs: people in the garments that they wear.
    test_pairs: what is to be tried on; None: everybody in the garment of the
      next one, and each garment at least once.
  """
  items, train = [], []
  names: dict[bool, dict[pathlib.Path, str]] = {False: {}, True: {}}
  total = len(pairs) + len(people) + len(garments) + 2 * len(test_pairs or ())
  digits = max(6, len(str(total)))
  number = 0

  def add(path, is_garment):
    name = f'{number:0{digits}d}_{int(is_garment)}'
    items.append(Item(name, path))
    names[is_garment].setdefault(path, name)
    return name

  for person, garment in pairs:
    number += 1
    train.append((add(person, False), add(garment, True)))
  rest = [
    *((x, False) for x in [*people, *(x for x, _ in test_pairs or ())]),
    *((x, True) for x in [*garments, *(x for _, x in test_pairs or ())]),
  ]
  for path, is_garment in rest:
    if path not in names[is_garment]:
      number += 1
      add(path, is_garment)
  if test_pairs is None:
    own = dict(pairs)
    test_pairs = _rotated(list(names[False]), list(names[True]), own)
  test = [(names[False][x], names[True][y]) for x, y in test_pairs]
  return PhotoList(tuple(items), tuple(train), tuple(test))


def _rotated(people, garments, own) -> Pairs:
  """Everybody in the garment after the own one, each garment at least once."""
  if not people or not garments:
    return []
  places = {garment: k for k, garment in enumerate(garments)}
  pairs = []
  for k, person in enumerate(people):
    after = places[own[person]] + 1 if person in own else k
    pairs.append((person, garments[after % len(garments)]))
  worn = {garment for _, garment in pairs}
  left = [x for x in garments if x not in worn]
  pairs += [(people[k % len(people)], x) for k, x in enumerate(left)]
  return [(x, y) for x, y in pairs if own.get(x) != y]
