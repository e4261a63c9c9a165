"""The models that are known: one TOML file each, in specs/.

A spec says everything that is particular to a model file, so that the code
knows kinds of models only. Whoever has another model writes a spec beside it
and gives that instead (docs/perception.md has an example).

`[model]` says what the file is:

  task       'pose' (18 COCO key points), 'parsing' (a label for each pixel) or
             'detector' (boxes around people, for a pose model that wants one)
  backend    what runs it: 'onnx' (onnxruntime), 'tf_graph' (a frozen
             TensorFlow graph, in JAX) or 'ss_nan' (Keras weights, in JAX)
  file       its place below the models folder; for a spec that is not one of
             these, beside the spec
  size       bytes; left out where nobody here has seen the number
  sha256     of that file; another file is allowed, and said; may be left out
  licence    of the file
  source     where users get it
  summary    one line on what it is and how good it is
  rank       which of a task's models comes first where none is named, 1 first

`[input]` says how an image becomes its input:

  name           of the tensor; left out where a file has only one
  color          'bgr' or 'rgb', 0 to 255
  fit            'keep_height', 'pad_multiple', 'stretch', 'letterbox_center',
                 'letterbox_topleft', 'pad_center' or 'affine_box': fitting.py
  size           [height, width] that it takes, or
  height         pixels that the image is resized to; the width follows it, by
  multiple_of    rounding or padding to this, and
  max_width      for wider images the height shrinks instead
  work_height    'pad_multiple': higher photos are first shrunk to this
  scales         'pad_multiple': maps of these multiples of height are averaged
  interpolation  'cubic', 'linear' or 'area'
  pad_value      of what the image does not cover, 0 to 255
  box_padding    'affine_box': how much larger than the person
  detector       'affine_box': the spec that finds the boxes
  scale          factor of the pixels; then minus `mean`, divided by `std`,
                 which are numbers in the order of `color`
  layout         'nchw' or 'nhwc'

`[output]` says what comes out:

  name       'tf_graph': of the tensor
  tensors    'onnx': which outputs, by number or name
  kind       'heat_paf' (heat maps and part affinity fields), 'simcc' (a row of
             scores for x and one for y), 'logits', 'labels' or 'boxes'
  channels   of each tensor: classes, or joints
  stride     'heat_paf': input pixels an output pixel
  decoder    'heat_paf': 'tf_pose' or 'openpose' (paf_decoder.py)
  split      'simcc': scores a pixel
  min_score  'simcc' and 'boxes': below it, it is not there
  align      'logits': how they are enlarged: 'corners' (corner pixels on corner
             pixels), 'centers' (pixels are areas) or 'tf1' (as TensorFlow 1)

`[labels] to_lip20` is the LIP-20 label of each class; `[keypoints] to_coco18`
is for each of the 18 joints the model's own, or two of which to take the
middle.
"""

import dataclasses
import functools
import hashlib
import importlib.util
import os
import pathlib
import tomllib
from typing import Any

from viton_jax.errors import InputError

DEFAULT_POSE = 'tf_pose_mobilenet_v2_small'
DEFAULT_PARSER = 'schp_lip'
INSTALL_ONNX = "pip install -e '.[onnx]'"

_FOLDER = pathlib.Path(__file__).parent / 'specs'
_VARIABLE = 'VITON_JAX_MODELS'
_ALLOWED = {
    'task': ('pose', 'parsing', 'detector'),
    'backend': ('onnx', 'tf_graph', 'ss_nan'),
    'color': ('bgr', 'rgb'),
    'fit': (
        'keep_height', 'pad_multiple', 'stretch', 'letterbox_center',
        'letterbox_topleft', 'pad_center', 'affine_box',
    ),
    'interpolation': ('cubic', 'linear', 'area'),
    'layout': ('nchw', 'nhwc'),
    'kind': ('heat_paf', 'simcc', 'logits', 'labels', 'boxes'),
    'decoder': ('tf_pose', 'openpose'),
    'align': ('corners', 'centers', 'tf1'),
}  # fmt: skip
# What runs which task, and what comes out of it.
_BACKENDS = {'tf_graph': 'pose', 'ss_nan': 'parsing'}
_TASKS = {
    'heat_paf': 'pose', 'simcc': 'pose', 'logits': 'parsing',
    'labels': 'parsing', 'boxes': 'detector',
}  # fmt: skip
# What each kind of output must say besides.
_NEEDED = {
  'heat_paf': ('stride', 'decoder'),
  'simcc': ('split', 'min_score', 'channels'),
  'logits': ('align', 'channels'),
  'labels': (),
  'boxes': ('min_score',),
}
# What the fits must say that have no fixed size.
_SIZES = {
    'keep_height': ('height', 'multiple_of', 'max_width', 'interpolation'),
    'pad_multiple': (
        'height', 'multiple_of', 'work_height', 'scales', 'pad_value',
        'interpolation',
    ),
}  # fmt: skip
# Weights in these files are Python objects, and reading those can run code.
_PICKLES = ('.pth', '.pt', '.pkl', '.pickle', '.ckpt', '.bin', '.pth.tar')
_SUFFIXES = {'.pb': 'tf_graph', '.h5': 'ss_nan', '.hdf5': 'ss_nan'}


@dataclasses.dataclass(frozen=True, eq=False)
class Spec:
  """One known model; the fields are those of the tables above.

  Attributes:
    name: of the spec, its file's name without '.toml'.
    input: the table `[input]`.
    output: the table `[output]`.
    to_lip20: the LIP-20 label of each class of a parser.
    to_coco18: where each joint of a pose model with other joints comes from.
  """

  name: str
  task: str
  backend: str
  file: str
  licence: str
  source: str
  summary: str
  input: dict[str, Any]
  output: dict[str, Any]
  rank: int = 99
  size: int | None = None
  sha256: str | None = None
  to_lip20: tuple[int, ...] = ()
  to_coco18: tuple = ()


@functools.cache
def known_specs() -> dict[str, Spec]:
  """All specs by name, those that come first for their task first."""
  specs = [read_spec(path) for path in sorted(_FOLDER.glob('*.toml'))]
  return {x.name: x for x in sorted(specs, key=lambda x: (x.task, x.rank))}


def read_spec(path: pathlib.Path) -> Spec:
  """Reads a spec; again only if the file changes.

  Raises:
    InputError: not a TOML file, or a field is missing, unknown or wrong.
  """
  try:
    stat = path.stat()
  except OSError as error:
    raise InputError(
      f'{path}: cannot be read ({error.strerror}); check the name'
    ) from error
  return _read_spec(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=64)
def _read_spec(path: pathlib.Path, mtime: int, size: int) -> Spec:
  del mtime, size  # They make a changed file another key of the cache.
  try:
    content = tomllib.loads(path.read_text(encoding='utf-8'))
  except OSError as error:
    raise InputError(
      f'{path}: cannot be read ({error.strerror}); check the name'
    ) from error
  except ValueError as error:  # Of TOML, or of UTF-8.
    raise InputError(
      f'{path}: this is not a TOML file ({error}); see docs/perception.md'
    ) from error
  try:
    spec = Spec(
      path.stem,
      **content['model'],
      input=content['input'],
      output=content['output'],
      to_lip20=tuple(content.get('labels', {}).get('to_lip20', ())),
      to_coco18=tuple(content.get('keypoints', {}).get('to_coco18', ())),
    )
    wrong = _wrong(spec)
  except KeyError as error:
    wrong = f'{error} is missing'
  except (TypeError, AttributeError) as error:
    wrong = str(error).removeprefix('Spec.__init__() ')
  if wrong:
    raise InputError(
      f'{path}: not a usable spec of a model, because {wrong}; '
      'docs/perception.md has an example'
    )
  return spec


def _wrong(spec: Spec) -> str | None:
  """What is wrong with a spec, in words."""
  for place in (vars(spec), spec.input, spec.output):
    for key in place.keys() & _ALLOWED.keys():
      if place[key] not in _ALLOWED[key]:
        return f'{key} is {place[key]!r}; it must be one of ' + ', '.join(
          _ALLOWED[key]
        )
  needed = _SIZES.get(spec.input.get('fit'), ('size',))
  for key in ('color', 'fit', *needed):
    if key not in spec.input:
      return f"'{key}' is missing in [input]"
  size = spec.input.get('size', [spec.input.get('height', 1)] * 2)
  if len(size) != 2 or not all(isinstance(x, int) and x > 0 for x in size):
    return f'size is {size}; it must be [height, width] in pixels'
  if 'kind' not in spec.output:
    return "'kind' is missing in [output]"
  kind = spec.output['kind']
  tasks = {_TASKS[kind], _BACKENDS.get(spec.backend, spec.task)}
  if tasks != {spec.task}:
    return f'{spec.backend} and the kind {kind} are not for {spec.task}'
  if spec.input['fit'] in _SIZES and kind != 'heat_paf':
    return f'the fit {spec.input["fit"]} is for the kind heat_paf'
  for key in ('mean', 'std'):
    values = spec.input.get(key, [1, 1, 1])
    numbers = [x for x in values if isinstance(x, (int, float))]
    if len(values) != 3 or len(numbers) != 3 or (key == 'std' and 0 in values):
      return f'{key} is {values}; it must be three numbers, one a colour'
  for key in _NEEDED[kind]:
    if key not in spec.output:
      return f"'{key}' is missing in [output]"
  if spec.task == 'parsing':
    table = spec.to_lip20
    if not table or not all(x in range(20) for x in table):
      return f'to_lip20 is {list(table)}; it must be labels from 0 to 19'
    if spec.output.get('channels', len(table)) != len(table):
      return (
        f'to_lip20 has {len(table)} labels for '
        f'{spec.output["channels"]} channels'
      )
  whole = spec.output.get('decoder') == 'openpose'
  if whole != (spec.input['fit'] == 'pad_multiple'):
    return "the decoder 'openpose' and the fit 'pad_multiple' need each other"
  if kind == 'simcc':
    joints = spec.to_coco18
    if len(joints) != 18:
      return f'to_coco18 has {len(joints)} joints instead of 18'
    for joint in joints:
      both = joint if isinstance(joint, list) else [joint]
      if not both or not all(x in range(spec.output['channels']) for x in both):
        return f'to_coco18 has {joint}, which is no joint of the model'
  return None


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
  return InputError(
    f"the {spec.task} model '{spec.name}' is missing: get {path.name} "
    f'({size_text(spec)}, licence {spec.licence}) from {spec.source}, and '
    f'put it at {path}'
  )


def can_run(spec: Spec) -> bool:
  """Whether what runs the model is installed."""
  return spec.backend != 'onnx' or bool(importlib.util.find_spec('onnxruntime'))


def first_found(task: str, folder: pathlib.Path) -> Spec | None:
  """The first model of a task, by rank, that is there and can be run."""
  for spec in known_specs().values():
    there = spec.task == task and (folder / spec.file).is_file()
    if there and can_run(spec):
      return spec
  return None


def find(
  model: str | os.PathLike | None,
  folder: str | os.PathLike | None = None,
  *,
  task: str,
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
    if not path.is_file():
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


def _of_file(path, specs, task) -> tuple[Spec | None, pathlib.Path]:
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
  # Which graph it is does not matter: all of a backend are fed alike.
  backend = _SUFFIXES.get(suffix, 'tf_graph' if task == 'pose' else None)
  for spec in specs.values():
    if spec.backend == backend:
      return specs.get(DEFAULT_POSE, spec), path
  known = {'pose': '.onnx or .pb', 'parsing': '.onnx or .h5'}
  raise InputError(
    f'{path}: not a kind of file that a {task} model has; give '
    f'{known.get(task, ".onnx")}, or a spec (.toml)'
  )
