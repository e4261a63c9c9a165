"""What a job left in its folder, read back: settings and lines of manifests.

Other jobs, other versions and full disks have written there.
"""

from collections.abc import Iterator
import pathlib

from viton_jax.errors import InputError, shown
from viton_jax.io import storage, structured

_OUTPUTS = ('png', 'jpeg', 'webp', 'tfrecord')


def read_settings(out_dir: pathlib.Path) -> dict | None:
  """The settings of the folder's job, or None if the folder is new.

  Raises:
    InputError: the file is damaged.
  """
  path = out_dir / 'settings.json'
  if not path.exists():
    return None
  settings = structured.read_object(
    path, 'settings file', remedy='give another --out_dir.'
  )
  for name, right in (
    ('data_dir', isinstance(settings.get('data_dir', ''), str)),
    ('layout', isinstance(settings.get('layout', ''), str)),
    ('pairs', isinstance(settings.get('pairs'), str | None)),
    ('step_format', settings.get('step_format', 'jpeg') in ('jpeg', 'png')),
    ('output', settings.get('output', 'png') in _OUTPUTS),
    ('folders', settings.get('folders', 1) in (1, 256)),
  ):
    if not right:
      raise InputError(
        f'{path}: is damaged ({name} is {shown(settings.get(name))}); give '
        'another --out_dir.'
      )
  return settings


def read_lines(path: pathlib.Path) -> Iterator[tuple[int, dict]]:
  """As `storage.read_lines`, the lines alone that give the status of a pair.

  A damaged line counts for nothing, so its pair is done again.
  """
  for offset, line in storage.read_lines(path):
    place = line.get('file', '')
    figures = line.get('metrics') or line.get('figures') or {}
    if (
      isinstance(line.get('name'), str)
      and (
        line.get('status') == 'ok'
        or (
          line.get('status') == 'failed' and isinstance(line.get('reason'), str)
        )
      )
      and isinstance(place, str)
      and '..' not in place.split('/')
      and not place.startswith('/')
      and isinstance(line.get('record', 0), int)
      and isinstance(figures, dict)
      and all(
        isinstance(row, dict)
        and all(isinstance(x, int | float) for x in row.values())
        for row in figures.values()
      )
    ):
      yield offset, line
