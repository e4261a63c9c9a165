"""Data sets as people have them on disk, read as one `Sample` a pair.

A layout is a frozen, picklable object: `len(layout)`, `layout.pairs` (person
and garment file names), `layout.load(i)` and iteration; `layout.name`, and
`layout.found`, which says in words what was found and which rules hold.
Opening checks what all pairs share and raises InputError; `load` raises
InputError for its pair alone, so that a job can report it and go on.
"""

from collections.abc import Callable, Iterator
import dataclasses
import pathlib
from typing import Protocol

import numpy as np

from input_pipeline.layouts import (
  cp_vton,
  dress_code,
  split_layout,
  viton,
  viton_hd,
)
from input_pipeline.layouts.files import PairFolder
from input_pipeline.sample import Sample
from viton_jax.errors import InputError
from viton_jax.io import images

AUTO = 'auto'
_SPLIT = {x.SPEC.name: x.SPEC for x in (cp_vton, viton_hd)}
_OTHERS = {x.NAME: x for x in (viton, dress_code)}
# Name -> what a folder must have, in words; in the order of the docs.
_NEEDS = {
  viton.NAME: viton.NEEDS,
  **{name: spec.needs for name, spec in _SPLIT.items()},
  dress_code.NAME: dress_code.NEEDS,
}
LAYOUTS = (*_NEEDS, AUTO)


class Layout(Protocol):
  """What every layout is; those that `open_layout` opens are dataclasses."""

  @property
  def name(self) -> str: ...

  @property
  def found(self) -> str: ...

  @property
  def pairs(self) -> tuple[tuple[str, str], ...]: ...

  def __len__(self) -> int: ...

  def __iter__(self) -> Iterator[Sample]: ...

  def load(self, index: int) -> Sample: ...

  def true_flow(self, index: int) -> np.ndarray | None: ...


def open_layout(
  name: str,
  data_dir,
  pairs: str | None = None,
  *,
  split: str = 'train',
  decode: Callable = images.decode_image,
  tps: bool = False,
) -> PairFolder:
  """Opens a data set.

  Args:
    name: 'viton', 'cp_vton', 'viton_hd' or 'dress_code'; 'auto' looks which
      of them the folder has.
    data_dir: its folder.
    pairs: a pair list, relative to `data_dir` or absolute; a line is
      'person.jpg garment.jpg'. With ':paired' after the list's name, each
      person of it wears the own garment. None: the layout's own list of
      `split`.
    split: 'train' or 'test'; read only where `pairs` is None.
    decode: decodes photos, `(bytes, name) -> uint8 RGB`.
    tps: take control points from files where a pair has them; viton alone
      does.

  Returns:
    an iterable of `Sample` with `len`, `pairs`, `load(index)`, `name` and
    `found`.

  Raises:
    InputError: an unknown layout, a missing folder or list, a wrong line; or
      'auto', and the folder fits no layout or several.
  """
  why = ''
  if name == AUTO:
    name, why = detect(data_dir)
  if name not in _NEEDS:
    raise InputError(
      f"layout '{name}' is unknown; use one of {', '.join(LAYOUTS)}"
    )
  if pairs is not None:
    pair_list = pairs
  elif name in _SPLIT:
    pair_list = _SPLIT[name].default_lists[split]
  else:
    pair_list = _OTHERS[name].DEFAULT_LISTS[split]
  if name in _SPLIT:
    layout = split_layout.open_split(
      _SPLIT[name], data_dir, pair_list=pair_list, decode=decode
    )
  elif name == viton.NAME:
    layout = viton.open_viton(data_dir, pair_list, decode=decode, tps=tps)
  else:
    layout = dress_code.open_dress_code(data_dir, pair_list, decode=decode)
  if why:
    found = f'auto: {name}, because {why}\n{layout.found}'
    layout = dataclasses.replace(layout, found=found)
  return layout


def detect(data_dir) -> tuple[str, str]:
  """Looks which layout a folder has.

  Args:
    data_dir: the folder.

  Returns:
    (name of the layout, what speaks for it).

  Raises:
    InputError: no such folder, or it fits no layout or several.
  """
  data_dir = pathlib.Path(data_dir)
  if not data_dir.is_dir():
    raise InputError(
      f'{data_dir}: there is no such folder; give the folder of a data set'
    )
  seen = {name: why for name in _NEEDS if (why := _seen(name, data_dir))}
  if len(seen) == 1:
    return next(iter(seen.items()))
  if seen:
    reasons = '; '.join(f'{name}, because {why}' for name, why in seen.items())
    raise InputError(
      f'{data_dir}: several layouts fit: {reasons}; name the one to read '
      'with --layout'
    )
  needs = '; '.join(f'{name} needs {needs}' for name, needs in _NEEDS.items())
  there = sorted(path.name for path in data_dir.iterdir())[:8]
  raise InputError(
    f'{data_dir}: no layout fits: {needs}; what is there: '
    f'{", ".join(there) or "nothing"}; give the folder that holds these'
  )


def _seen(name: str, data_dir: pathlib.Path) -> str | None:
  if name in _SPLIT:
    return split_layout.seen(_SPLIT[name], data_dir)
  return _OTHERS[name].seen(data_dir)
