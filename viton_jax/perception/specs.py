"""The models that are known: one TOML file each, in specs/.

A spec says everything that is particular to a model file, so that the code
knows kinds of models only. For another model, write a spec beside it and give
that instead (docs/perception.md has an example).

`[model]` says what the file is:

  task       'pose' (18 COCO key points), 'parsing' (a label for each pixel) or
             'detector' (boxes around people, for a pose model that wants one)
  backend    what runs it: 'onnx' (onnxruntime), 'tf_graph' (a frozen
             TensorFlow graph, in JAX), 'ss_nan' (Keras weights, in JAX) or
             'tflite' (LiteRT, or JAX)
  file       its place below the models folder; for a spec that is not one of
             these, beside the spec
  size       bytes; left out where nobody here has seen the number
  sha256     of that file; another file is allowed, and said; may be left out
  licence    of the file
  source     where users get it
  summary    one line on what it is and how good it is
  rank       which of a task's models comes first where none is named, lowest
             first

`[input]` says how an image becomes its input:

  name           of the tensor; left out where a file has only one
  color          'bgr' or 'rgb', 0 to 255
  fit            'keep_height', 'pad_multiple', 'stretch', 'letterbox_center',
                 'letterbox_topleft', 'pad_center' or 'affine_box': fitting.py;
                 or 'turned_box': pose/regions.py
  size           [height, width] that it takes, or
  height         pixels that the image is resized to; the width follows it, by
  multiple_of    rounding or padding to this, and
  max_width      for wider images the height shrinks instead
  work_height    'pad_multiple': higher photos are first shrunk to this
  scales         'pad_multiple': maps of these multiples of height are averaged
  interpolation  'cubic', 'linear' or 'area'
  pad_value      of what the image does not cover, 0 to 255
  box_padding    'affine_box', 'turned_box': how much larger than the person
  detector       of these two: the spec that finds the boxes
  scale          factor of the pixels; then minus `mean`, divided by `std`,
                 which are numbers in the order of `color`
  layout         'nchw' or 'nhwc'

`[output]` says what comes out:

  name       'tf_graph': of the tensor
  tensors    'onnx', 'tflite': which outputs, by number or name ('onnx')
  kind       'heat_paf' (heat maps and part affinity fields), 'simcc' (a row of
             scores for x and one for y), 'logits', 'labels', 'boxes',
             'landmarks' or 'anchors' (pose/blazepose.py)
  channels   of each tensor: classes, or joints
  stride     'heat_paf': input pixels an output pixel
  decoder    'heat_paf': 'tf_pose' or 'openpose' (paf_decoder.py)
  split      'simcc': scores a pixel
  min_score  below it, it is not there; not of maps
  align      'logits': how they are enlarged: 'corners' (corner pixels on corner
             pixels), 'centers' (pixels are areas) or 'tf1' (as TensorFlow 1)

`[labels] to_lip20` is the LIP-20 label of each class; `[keypoints] to_coco18`
is for each of the 18 joints the model's own, or two of which to take the
middle.
"""

import functools
import pathlib
from typing import Any, get_args

from viton_jax.errors import InputError, shown
from viton_jax.io import structured
from viton_jax.labels import NUM_KEYPOINTS, NUM_LABELS
from viton_jax.perception.spec_types import (
  Align,
  Anchors,
  Backend,
  Boxes,
  Color,
  Decoder,
  Fit,
  FixedSize,
  HeatPaf,
  Input,
  Interpolation,
  KeepHeight,
  Kind,
  LabelMap,
  Landmarks,
  Layout,
  Logits,
  Output,
  PadMultiple,
  SimCC,
  Spec,
  Task,
)

_FOLDER = pathlib.Path(__file__).parent / 'specs'
# What runs which task, and what comes out of it.
_BACKENDS: dict[Backend, Task] = {'tf_graph': 'pose', 'ss_nan': 'parsing'}
_TASKS: dict[Kind, Task] = {
  'heat_paf': 'pose',
  'simcc': 'pose',
  'logits': 'parsing',
  'labels': 'parsing',
  'boxes': 'detector',
  'landmarks': 'pose',
  'anchors': 'detector',
}


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
  content = structured.read_toml(
    path, 'spec of a model', remedy='see docs/perception.md'
  )
  try:
    return parse_spec(content, path.stem)
  except SpecError as error:
    raise InputError(
      f'{path}: not a usable spec of a model, because '
      f'{shown(error, 400)}; '
      'docs/perception.md has an example'
    ) from error


# -------------------------------------------------------------------- parsing


class SpecError(Exception):
  """What is wrong with a spec, in words."""


def parse_spec(content: dict[str, Any], name: str) -> Spec:
  """Checks the tables of a spec and gives them their types.

  Args:
    content: the tables, as TOML has them.
    name: of the spec.

  Raises:
    SpecError: a table or field is missing, unknown or wrong.
  """
  for table in ('model', 'input', 'output'):
    if table not in content:
      raise SpecError(f'the table [{table}] is missing')
  for table, values in content.items():
    if table not in ('model', 'input', 'output', 'labels', 'keypoints'):
      raise SpecError(f'[{table}] is not a table of a spec')
    if not isinstance(values, dict):
      raise SpecError(f'{table} is not a table')
  model = _Table('model', content['model'])
  labels = _Table('labels', content.get('labels', {}))
  keypoints = _Table('keypoints', content.get('keypoints', {}))
  spec = Spec(
    name=name,
    task=model.choice('task', Task),
    backend=model.choice('backend', Backend),
    file=model.text('file'),
    licence=model.text('licence'),
    source=model.text('source'),
    summary=model.text('summary'),
    input=_parse_input(_Table('input', content['input'])),
    output=_parse_output(_Table('output', content['output'])),
    rank=model.whole('rank', 99),
    size=model.whole('size', None),
    sha256=model.text('sha256', None),
    to_lip20=_parse_lip20(labels.take('to_lip20', [])),
    to_coco18=_parse_coco18(keypoints.take('to_coco18', [])),
  )
  for table in (model, labels, keypoints):
    table.finish()
  _check_together(spec)
  return spec


def _parse_input(table: '_Table') -> Input:
  fit_name = table.choice('fit', Fit)
  needs_all = fit_name in ('keep_height', 'pad_multiple')
  rules = Input(
    color=table.choice('color', Color),
    fit=_parse_fit(table, fit_name),
    name=table.text('name', None),
    interpolation=table.choice(
      'interpolation', Interpolation, *(() if needs_all else ('linear',))
    ),
    pad_value=table.whole(
      'pad_value', *(() if fit_name == 'pad_multiple' else (0,))
    ),
    scale=table.number('scale', 1.0),
    mean=table.colour('mean', 0.0),
    std=table.colour('std', 1.0),
    layout=table.choice('layout', Layout, 'nchw'),
  )
  if 0 in rules.std:
    raise SpecError(f'std is {list(rules.std)}; none of it may be 0')
  table.finish(f'the fit {fit_name}')
  return rules


def _parse_fit(
  table: '_Table', name: Fit
) -> FixedSize | KeepHeight | PadMultiple:
  if name == 'keep_height':
    return KeepHeight(
      height=table.whole('height', least=1),
      multiple_of=table.whole('multiple_of', least=1),
      max_width=table.whole('max_width', least=1),
    )
  if name == 'pad_multiple':
    return PadMultiple(
      height=table.whole('height', least=1),
      multiple_of=table.whole('multiple_of', least=1),
      work_height=table.whole('work_height', least=1),
      scales=table.numbers('scales'),
    )
  size = table.take('size')
  if (
    not isinstance(size, list)
    or len(size) != 2
    or not all(_is_whole(x) and x > 0 for x in size)
  ):
    raise SpecError(f'size is {size}; it must be [height, width] in pixels')
  if name in ('affine_box', 'turned_box'):
    padding = table.number('box_padding', 1.0)
    detector = table.text('detector', None)
    return FixedSize(name, (size[0], size[1]), padding, detector)
  return FixedSize(name, (size[0], size[1]))


def _parse_output(table: '_Table') -> Output:
  kind = table.choice('kind', Kind)
  if kind == 'heat_paf':
    stride = table.whole('stride', least=1)
    content = HeatPaf(stride, table.choice('decoder', Decoder))
  elif kind == 'simcc':
    content = SimCC(table.number('split'), table.number('min_score'))
  elif kind == 'logits':
    content = Logits(table.choice('align', Align))
  elif kind in ('boxes', 'landmarks', 'anchors'):
    make = {'boxes': Boxes, 'landmarks': Landmarks, 'anchors': Anchors}[kind]
    content = make(table.number('min_score'))
  else:
    content = LabelMap()
  tensors = table.take('tensors', [0])
  if not isinstance(tensors, list) or not all(
    _is_whole(x) or isinstance(x, str) for x in tensors
  ):
    raise SpecError(f'tensors is {tensors}; it must be numbers or names')
  output = Output(
    kind=kind,
    content=content,
    name=table.text('name', None),
    tensors=tuple(tensors),
    channels=_parse_channels(table, kind),
  )
  table.finish(f'the kind {kind}')
  return output


def _parse_channels(table, kind: Kind) -> int | tuple[int, ...] | None:
  if kind in ('simcc', 'logits', 'landmarks'):
    return table.whole('channels', least=1)
  channels = table.take('channels', None)
  if channels is None or _is_whole(channels):
    return channels
  if isinstance(channels, list) and all(_is_whole(x) for x in channels):
    return tuple(channels)
  raise SpecError(
    f'channels is {channels}; it must be a number, or one for each tensor'
  )


def _parse_lip20(table: Any) -> tuple[int, ...]:
  if not isinstance(table, list) or not all(
    _is_whole(x) and 0 <= x < NUM_LABELS for x in table
  ):
    raise SpecError(f'to_lip20 is {table}; it must be labels from 0 to 19')
  return tuple(table)


def _parse_coco18(table: Any) -> tuple[tuple[int, ...], ...]:
  if not isinstance(table, list):
    raise SpecError(f'to_coco18 is {table}; it must be a list of joints')
  joints = [x if isinstance(x, list) else [x] for x in table]
  for joint in joints:
    if not joint or not all(_is_whole(x) for x in joint):
      raise SpecError(f'to_coco18 has {joint}, which is no joint of the model')
  return tuple(tuple(x) for x in joints)


def _check_together(spec: Spec) -> None:
  """What the fields of several tables must agree on."""
  kind, channels = spec.output.kind, spec.output.channels
  tasks = {_TASKS[kind], _BACKENDS.get(spec.backend, spec.task)}
  if tasks != {spec.task}:
    raise SpecError(
      f'{spec.backend} and the kind {kind} are not for {spec.task}'
    )
  fit, content = spec.input.fit, spec.output.content
  if not isinstance(fit, FixedSize) and kind != 'heat_paf':
    name = 'keep_height' if isinstance(fit, KeepHeight) else 'pad_multiple'
    raise SpecError(f'the fit {name} is for the kind heat_paf')
  openpose = isinstance(content, HeatPaf) and content.decoder == 'openpose'
  if openpose != isinstance(fit, PadMultiple):
    raise SpecError(
      "the decoder 'openpose' and the fit 'pad_multiple' need each other"
    )
  if spec.backend == 'tf_graph':
    if spec.input.name is None or spec.output.name is None:
      raise SpecError('tf_graph needs a name in [input] and one in [output]')
    if not isinstance(fit, KeepHeight):
      raise SpecError("tf_graph needs the fit 'keep_height'")
  if spec.task == 'parsing':
    count = len(spec.to_lip20)
    if not count:
      raise SpecError('to_lip20 is missing in [labels]')
    if channels not in (None, count):
      raise SpecError(f'to_lip20 has {count} labels for {channels} channels')
  if (kind in ('landmarks', 'anchors')) != (spec.backend == 'tflite'):
    raise SpecError(
      "the backend 'tflite' and the kinds 'landmarks' and 'anchors' need one "
      'another'
    )
  turned = (
    fit if isinstance(fit, FixedSize) and fit.name == 'turned_box' else None
  )
  if bool(turned) != (kind == 'landmarks') or (turned and not turned.detector):
    raise SpecError(
      "the kind 'landmarks' and the fit 'turned_box', with a detector, need "
      'each other'
    )
  if kind in ('simcc', 'landmarks'):
    assert isinstance(channels, int)  # See _parse_channels.
    joints = spec.to_coco18
    if len(joints) != NUM_KEYPOINTS:
      raise SpecError(
        f'to_coco18 has {len(joints)} joints instead of {NUM_KEYPOINTS}'
      )
    for joint in joints:
      if not all(x in range(channels) for x in joint):
        raise SpecError(
          f'to_coco18 has {list(joint)}, which is no joint of the model'
        )


def _is_whole(value: Any) -> bool:
  return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
  return _is_whole(value) or isinstance(value, float)


_REQUIRED: Any = object()


class _Table:
  """A table of a spec: each field is taken once, with its type checked."""

  def __init__(self, name: str, values: dict[str, Any]):
    self._name = name
    self._left = dict(values)

  def take(self, key: str, default: Any = _REQUIRED) -> Any:
    value = self._left.pop(key, default)
    if value is _REQUIRED:
      raise SpecError(f"'{key}' is missing in [{self._name}]")
    return value

  def choice(self, key: str, choices: Any, default: Any = _REQUIRED) -> Any:
    """One of the values of a Literal type."""
    value = self.take(key, default)
    if value not in get_args(choices):
      allowed = ', '.join(get_args(choices))
      raise SpecError(f'{key} is {value!r}; it must be one of {allowed}')
    return value

  def text(self, key: str, default: Any = _REQUIRED) -> Any:
    return self._of(key, default, lambda x: isinstance(x, str), 'a text')

  def whole(self, key: str, default: Any = _REQUIRED, least: int = 0) -> Any:
    words = f'a whole number of at least {least}'
    return self._of(key, default, lambda x: _is_whole(x) and x >= least, words)

  def number(self, key: str, default: Any = _REQUIRED) -> Any:
    return self._of(key, default, _is_number, 'a number')

  def numbers(self, key: str, default: Any = _REQUIRED) -> tuple[float, ...]:
    values = self.take(key, default)
    if not isinstance(values, list) or not values:
      raise SpecError(f'{key} is {values}; it must be a list of numbers')
    if not all(_is_number(x) for x in values):
      raise SpecError(f'{key} is {values}; it must be a list of numbers')
    return tuple(values)

  def colour(self, key: str, default: float) -> tuple[float, ...]:
    values = self.take(key, [default] * 3)
    if (
      not isinstance(values, list)
      or len(values) != 3
      or not all(_is_number(x) for x in values)
    ):
      raise SpecError(
        f'{key} is {values}; it must be three numbers, one a colour'
      )
    return tuple(values)

  def finish(self, of: str = '') -> None:
    """Raises SpecError if a field is left that nobody has taken."""
    if self._left:
      raise SpecError(
        f"'{next(iter(self._left))}' is not a field of [{self._name}]"
        + (f' with {of}' if of else '')
      )

  def _of(self, key, default, valid, words):
    value = self.take(key, default)
    if value is not default and not valid(value):
      raise SpecError(f'{key} is {value!r}; it must be {words}')
    return value
