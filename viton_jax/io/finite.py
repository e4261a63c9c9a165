"""The one check that arrays of a file hold numbers, and no NaN or infinity."""

from collections.abc import Iterable
import os

import numpy as np

from viton_jax.errors import InputError, shown


def first_not_finite(arrays: Iterable[tuple[str, np.ndarray]]) -> str | None:
  """The name of the first array with a value that is not finite."""
  for name, values in arrays:
    values = np.asarray(values)
    # bfloat16 is of kind V to NumPy.
    if values.dtype.kind in 'iub' or not values.size:
      continue
    if values.dtype.kind not in 'fc':
      values = values.astype(np.float32)
    # A sum is not finite where a value is not, and needs no array of its own.
    # It may overflow where all are: only then each is looked at.
    with np.errstate(over='ignore', invalid='ignore'):
      total = values.sum()
    if not np.isfinite(total) and not np.isfinite(values).all():
      return name
  return None


def check(
  arrays: Iterable[tuple[str, np.ndarray]],
  source: str | os.PathLike,
  *,
  remedy: str,
) -> None:
  """Raises InputError if an array of a file is not finite everywhere.

  Args:
    arrays: (name, array) of the file.
    source: the file.
    remedy: what to do about it, the end of the error's sentence.
  """
  name = first_not_finite(arrays)
  if name is not None:
    raise InputError(
      f'{shown(source)}: {shown(name)} holds numbers that are not finite; '
      f'{remedy}'
    )
