"""Data sets as people have them on disk, read as one `Sample` a pair.

A layout is a frozen, picklable object: `len(layout)`, `layout.pairs` (person
and garment file names), `layout.load(i)` and iteration. Opening checks what
all pairs share and raises InputError; `load` raises InputError for its pair
alone, so that a job can report it and go on.
"""

from input_pipeline.layouts import viton
from viton_jax.errors import InputError

LAYOUTS = ('viton',)


def open_layout(name: str, data_dir, pairs: str, **options):
  """Opens a data set.

  Args:
    name: 'viton', the layout of the original VITON.
    data_dir: its folder.
    pairs: a pair list, relative to `data_dir` or absolute; a line is
      'person.jpg garment.jpg'.
    **options: of the layout; viton has `decode` and `tps`.

  Returns:
    an iterable of `Sample` with `len`, `pairs` and `load(index)`.

  Raises:
    InputError: an unknown layout, a missing folder or list, or a wrong line.
  """
  if name == 'viton':
    return viton.open_viton(data_dir, pairs, **options)
  raise InputError(
      f"layout '{name}' is unknown; use one of {', '.join(LAYOUTS)}"
  )
