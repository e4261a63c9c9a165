"""The models that are known: one TOML file each, in specs/.

A spec says everything that is particular to a model file, so that the code
knows kinds of models only. `[model]` says what the file is:

  task       what it finds: 'pose' (18 COCO key points)
  backend    what runs it: 'tf_graph' (a frozen TensorFlow graph, in JAX)
  file       its place below the models folder
  size       bytes
  sha256     of the file that was tried; another file is allowed, and said
  licence    of the file
  source     where users get it
  summary    one line on what it is and how good it is

`[input]` says how an image becomes its input, `[output]` what comes out:

  name           of the tensor
  color          'bgr' or 'rgb', 0 to 255
  height         pixels that the image is resized to; the width follows it,
  multiple_of    rounded to this, and
  max_width      for wider images the height shrinks instead
  interpolation  'cubic'
  kind           'heat_paf': heat maps and part affinity fields
  stride         input pixels an output pixel
"""

import dataclasses
import functools
import hashlib
import os
import pathlib
import tomllib
from typing import Any

from viton_jax.errors import InputError

DEFAULT_POSE = 'tf_pose_mobilenet_v2_small'

_FOLDER = pathlib.Path(__file__).parent / 'specs'
_VARIABLE = 'VITON_JAX_MODELS'


@dataclasses.dataclass(frozen=True)
class Spec:
  """One known model; the fields are those of `[model]`, `[input]`, `[output]`.

  Attributes:
    name: of the spec, its file's name without '.toml'.
    input: the table `[input]`.
    output: the table `[output]`.
  """

  name: str
  task: str
  backend: str
  file: str
  size: int
  sha256: str
  licence: str
  source: str
  summary: str
  input: dict[str, Any]
  output: dict[str, Any]


@functools.cache
def known_specs() -> dict[str, Spec]:
  """All specs by name."""
  specs = {}
  for path in sorted(_FOLDER.glob('*.toml')):
    content = tomllib.loads(path.read_text(encoding='utf-8'))
    specs[path.stem] = Spec(
        path.stem,
        **content['model'],
        input=content['input'],
        output=content['output'],
    )
  return specs


def models_folder(folder: str | os.PathLike | None = None) -> pathlib.Path:
  """Where model files are: the argument, $VITON_JAX_MODELS, or the cache."""
  chosen = folder or os.environ.get(_VARIABLE)
  return pathlib.Path(chosen or '~/.cache/viton_jax/models').expanduser()


def status(spec: Spec, folder: pathlib.Path) -> str:
  """What is to be said of a model's file: 'found', 'missing' or what else."""
  path = folder / spec.file
  if not path.is_file():
    return 'missing'
  size = path.stat().st_size
  if size != spec.size:
    return f'found, but of {size} bytes instead of {spec.size}'
  with path.open('rb') as file:
    digest = hashlib.file_digest(file, 'sha256').hexdigest()
  return 'found' if digest == spec.sha256 else 'found, but of another sha256'


def find(
    model: str | os.PathLike | None,
    folder: str | os.PathLike | None = None,
    *,
    task: str,
) -> tuple[Spec, pathlib.Path]:
  """Finds the file to use and how to use it.

  Args:
    model: a file, the name of a spec, or None for the task's default model.
    folder: models folder; None: see `models_folder`.
    task: 'pose'.

  Returns:
    the spec and the file. A file without a spec of its own is used as the
    task's default model is.

  Raises:
    InputError: there is no such file; says which, and where to put it.
  """
  specs = {k: v for k, v in known_specs().items() if v.task == task}
  name = DEFAULT_POSE if model is None else os.fspath(model)
  if name in specs:
    spec = specs[name]
    path = models_folder(folder) / spec.file
    if not path.is_file():
      raise InputError(
          f"the {task} model '{name}' is missing: get {path.name} "
          f'({spec.size} bytes, licence {spec.licence}) from {spec.source}, '
          f'and put it at {path}'
      )
    return spec, path
  path = pathlib.Path(name)
  if path.is_dir():
    raise InputError(f'{path}: a folder; give the model file in it')
  if not path.is_file():
    raise InputError(
        f'{path}: no such model file; give a file, or one of the known models '
        f'{", ".join(specs)}'
    )
  return specs[DEFAULT_POSE], path
