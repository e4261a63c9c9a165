"""Which result belongs to which true picture, and what is odd about them.

Results are a folder of pictures, or the folder of a job of
`python -m viton_jax.infer`, whose manifest names them. The truth is a folder of
pictures, matched by name, or a data set whose layout knows it.
"""

from collections.abc import Iterable, Mapping
import dataclasses
import math
import pathlib
from typing import Literal, get_args

import numpy as np

from input_pipeline.layouts import open_layout
from input_pipeline.layouts import pairs as pair_lists
from input_pipeline.layouts.files import PairFolder
from viton_jax.errors import InputError, shown
from viton_jax.io import photos
from viton_jax.job_folders import places
from viton_jax.job_folders.folder import MANIFEST
from viton_jax.job_folders.job_files import read_lines, read_settings

# Which of a job's pictures are evaluated, see `metrics`.
Method = Literal['result', 'paste', 'coarse', 'whole']
METHODS = get_args(Method)
_NAMED = 5  # Names in a warning.


@dataclasses.dataclass(frozen=True)
class Item:
  """A result, a true picture, or both; there is at least one.

  Attributes:
    name: of the result, without folder and suffix; of the truth where there
      is no result.
    result: its file.
    truth: file of the true picture.
    index: of the pair in the layout, which then knows the truth.
    paired: whether the truth shows what the result should show. If not, both
      belong to their sets alone.
    real: whether the truth counts among the real pictures: each once, however
      many results it belongs to.
  """

  name: str
  result: pathlib.Path | None = None
  truth: pathlib.Path | None = None
  index: int | None = None
  paired: bool = True
  real: bool = True


@dataclasses.dataclass(frozen=True)
class Warned:
  """Something odd about the input, with the names that it is about.

  Attributes:
    what: a sentence without its end.
    names: of all pictures that it is about.
  """

  what: str
  names: tuple[str, ...] = ()

  def __str__(self) -> str:
    if not self.names:
      return self.what
    few = ', '.join(shown(name, 80) for name in self.names[:_NAMED])
    more = len(self.names) - _NAMED
    return f'{self.what}: {few}' + (f' and {more} more' if more > 0 else '')


@dataclasses.dataclass(frozen=True)
class Pairing:
  """What is to be evaluated.

  Attributes:
    results: where the results come from.
    items: every name once, in the list's order or sorted.
    layout: the data set that knows the truth, or None.
    warnings: what is odd.
    duplicates: lines of the list that stand there again.
    source: where results and truth come from, in words.
  """

  results: 'Results'
  items: tuple[Item, ...]
  layout: PairFolder | None
  warnings: tuple[Warned, ...]
  duplicates: int
  source: str


@dataclasses.dataclass(frozen=True)
class Results:
  """The pictures of a folder of results.

  Attributes:
    folder: of them.
    files: name -> file.
    control_points: name -> (100, 2) float32 in [-1, 1], of the warp, where a
      job kept them.
    settings: of the job that made them; {} where none did.
    lost: names of pairs that the job could not dress.
  """

  folder: pathlib.Path
  files: dict[str, pathlib.Path]
  control_points: dict[str, np.ndarray]
  settings: dict
  lost: tuple[str, ...] = ()

  def step(self, name: str, column: str) -> pathlib.Path | None:
    """The file of a step to a result, or None where it was not kept."""
    if not self.settings:
      return None
    path = self.folder / places.place_of(
      name,
      column,
      kind=self.settings['output'],
      folders=self.settings.get('folders', 1),
      step_kind=self.settings.get('step_format', 'jpeg'),
    )
    return path if path.exists() else None


def read_results(folder: pathlib.Path, method: Method = 'result') -> Results:
  """The pictures in a folder, or those that a job's manifest names.

  Raises:
    InputError: no such folder, no picture in it, results in TFRecords, or a
      job that kept no steps where `method` needs them.
  """
  _check_folder(folder, '--results')
  settings = read_settings(folder) or {}
  if 'output' not in settings:
    if method != 'result':
      raise InputError(
        f'--method {method}: {folder} is no folder of `python -m '
        'viton_jax.infer`, so its pictures are results; leave --method out'
      )
    return Results(folder, _pictures(folder, '--results'), {}, {})
  if settings['output'] == 'tfrecord':
    raise InputError(
      f'{folder}: its results are TFRecords; evaluate pictures: give infer '
      '--output png'
    )
  files, points, lost = {}, {}, {}
  manifests = [folder / MANIFEST, *sorted(folder.glob('manifest-*.jsonl'))]
  for path in manifests:
    for _, line in read_lines(path):
      name = line['name']
      if line['status'] != 'ok':
        lost[name] = None
        continue
      files[name] = folder / line.get('file', f'results/{name}.png')
      found = _control_points(line)
      if found is not None:
        points[name] = found
  if not files:
    raise InputError(
      f'{folder}: the manifest of this job has no try-on yet; wait for it or '
      'give the folder of another'
    )
  found = Results(
    folder, files, points, settings, tuple(x for x in lost if x not in files)
  )
  if method != 'result':
    # Those that a kill or a hand took are found when they are read.
    if found.step(next(iter(files)), 'coarse') is None:
      raise InputError(
        f'--method {method}: {folder} has no steps to its results; run infer '
        'without --results_only, and best with --step_format png'
      )
  return found


def with_folder(
  results: Results, truth_dir: pathlib.Path, pairs: str | None
) -> Pairing:
  """Matches results with the pictures of a folder.

  With a list, 'person.jpg garment.jpg' a line, results are called
  PERSON_GARMENT and the truth PERSON. Without, a result belongs to the true
  picture of its own name; else to the one whose name it begins with, as
  000001_0_000001_1 with 000001_0; else, as HR-VITON has it, 000001_... with
  000001_00. The last two are the truth only where the garment is the person's
  own, which their numbers say.

  Raises:
    InputError: an empty folder or list, or none of the results matches.
  """
  _check_folder(truth_dir, '--truth')
  truths = _pictures(truth_dir, '--truth')
  duplicates = ()
  if pairs:
    _, listed = pair_lists.open_list(
      pathlib.Path(pairs), pair_lists.garment_of_number
    )
    duplicates = _twice(listed)
    wanted = {
      places.pair_name(*pair): (pathlib.PurePath(pair[0]).stem, _own(*pair))
      for pair in listed
    }
    _check_list(results, wanted, pairs)
  else:
    wanted = {name: _truth_of(name, truths) for name in sorted(results.files)}
    if not any(stem in truths for stem, _ in wanted.values()):
      raise InputError(
        f'{truth_dir}: no name here belongs to a result of {results.folder} '
        f'(there: {shown(next(iter(results.files)), 60)}, here: '
        f'{shown(next(iter(truths)), 60)}); rename the files or give --pairs'
      )
  items, used = [], set()
  for name, (stem, own) in wanted.items():
    if name not in results.files:
      continue
    truth = truths.get(stem)
    items.append(
      Item(
        name,
        results.files[name],
        truth,
        paired=truth is not None and own,
        real=stem not in used,
      )
    )
    used.add(stem)
  without = [x.name for x in items if x.truth is None]
  extra = [name for name in truths if name not in used]
  other = [x.name for x in items if x.truth is not None and not x.paired]
  items += [Item(name, truth=truths[name], paired=False) for name in extra]
  warnings = [
    *_results_warnings(results, wanted),
    *_warn('no true picture for these results', without),
    *_warn('true pictures without a result', extra),
    *_warn('in another garment than their own, so without a truth', other),
    *_warn('pairs that the list has more than once, counted once', duplicates),
  ]
  return Pairing(
    results,
    tuple(items),
    None,
    tuple(warnings),
    len(duplicates),
    f'{results.folder} against {truth_dir}',
  )


def with_layout(
  results: Results, layout: str, data_dir: str, pairs: str | None
) -> Pairing:
  """Matches results with the pairs of a data set.

  Raises:
    InputError: see `open_layout`; or the results are of another list.
  """
  opened = open_layout(layout, data_dir, pairs, split='test')
  duplicates = _twice(opened.pairs)
  listed = places.unique_pairs(opened.pairs)
  _check_list(results, listed, pairs or f'the list of {data_dir}')
  items, persons = [], set()
  for name, index in listed.items():
    if name in results.files:
      person = opened.pairs[index][0]
      items.append(
        Item(
          name,
          results.files[name],
          index=index,
          real=person not in persons,
        )
      )
      persons.add(person)
  warnings = [
    *_results_warnings(results, listed),
    *_warn('pairs that the list has more than once, counted once', duplicates),
  ]
  return Pairing(
    results,
    tuple(items),
    opened,
    tuple(warnings),
    len(duplicates),
    f'{results.folder} against {data_dir}',
  )


def _control_points(line: Mapping) -> np.ndarray | None:
  """The control points of a manifest line; None where they are unusable."""
  found = line.get('control_points')
  if not isinstance(found, list) or len(found) != 200:
    return None
  if not all(isinstance(x, int | float) and math.isfinite(x) for x in found):
    return None
  return np.asarray(found, np.float32).reshape(100, 2)


def _check_folder(folder: pathlib.Path, flag: str) -> None:
  if not folder.is_dir():
    raise InputError(
      f'{flag} {shown(folder)}: there is no such folder; give one of pictures'
    )


def _pictures(folder: pathlib.Path, flag: str) -> dict[str, pathlib.Path]:
  """Name without suffix -> file, sorted.

  Raises:
    InputError: there is none, or two have the same name.
  """
  found = {}
  for path in sorted(folder.iterdir()):
    if path.suffix.lower() not in photos.SUFFIXES or path.name.startswith('.'):
      continue
    if path.stem in found:
      raise InputError(
        f'{flag} {path}: {found[path.stem].name} has the same name; take one '
        'of them away'
      )
    found[path.stem] = path
  if not found:
    raise InputError(
      f'{flag} {folder}: there is no picture in it '
      f'({", ".join(photos.SUFFIXES)}); give the folder that holds them'
    )
  return found


def _truth_of(name: str, truths: Mapping) -> tuple[str, bool]:
  """(name of the true picture of a result, whether it is its truth)."""
  if name in truths:
    return name, True
  parts = name.split('_')
  for end in range(len(parts) - 1, 0, -1):
    stem = '_'.join(parts[:end])
    if stem in truths:
      return stem, _own(stem, '_'.join(parts[end:]))
  return f'{parts[0]}_00', len(parts) == 1 or parts[1] == parts[0]


def _own(person: str, garment: str) -> bool:
  return pair_lists.same_number(person, garment) or pair_lists.same_name(
    person, garment
  )


def _twice(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
  seen, again = set(), []
  for pair in pairs:
    if pair in seen:
      again.append(places.pair_name(*pair))
    seen.add(pair)
  return tuple(again)


def _check_list(results: Results, listed: Mapping, source: str) -> None:
  """Raises InputError where results are of another list."""
  there = sum(name in results.files for name in listed)
  if not there or there < len(results.files) / 2:
    raise InputError(
      f'{results.folder}: {len(results.files) - there} of '
      f'{len(results.files)} results are of no pair of {source}, as '
      f'{shown(next(x for x in results.files if x not in listed), 80)}: they '
      'are of another list; give its --pairs'
    )


def _results_warnings(results: Results, wanted: Mapping) -> list[Warned]:
  missing = [
    name
    for name in wanted
    if name not in results.files and name not in results.lost
  ]
  return [
    *_warn('pairs that the job could not dress', results.lost),
    *_warn('no result of these pairs', missing),
    *_warn(
      'results of no pair of the list, left out',
      [name for name in results.files if name not in wanted],
    ),
  ]


def _warn(what: str, names: Iterable[str]) -> list[Warned]:
  names = tuple(names)
  return [Warned(f'{len(names)} {what}', names)] if names else []
