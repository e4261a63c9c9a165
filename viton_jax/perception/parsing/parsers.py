"""Which part of the body or which garment each pixel is: LIP-20 labels."""

from collections.abc import Callable
import dataclasses
import os
import pathlib

import cv2
import numpy as np

from viton_jax.errors import InputError
from viton_jax.geometry import interpolation
from viton_jax.labels import LIP_COLOURS
from viton_jax.perception import fitting, model_files
from viton_jax.perception.parsing import body_network, grabcut, ss_nan
from viton_jax.perception.pose import estimation
from viton_jax.perception.runners import onnx_model
from viton_jax.perception.spec_types import (
  Align,
  FixedSize,
  LabelMap,
  Logits,
  Spec,
)
from viton_jax.perception.specs import known_specs

BODY_PARSER, GRABCUT = 'body_parser', 'grabcut'


@dataclasses.dataclass(frozen=True)
class Parser:
  """A parser of any kind.

  Attributes:
    description: which model, of which file.
    parse: (h, w, 3) uint8 RGB; (18, 3) key points in its pixels, or None; and
      (h, w) float32 in 0..1, the person's mask, or None -> (h, w) uint8 LIP-20
      labels.
    needs_keypoints: whether it looks at the key points.
  """

  description: str
  parse: Callable[
    [np.ndarray, np.ndarray | None, np.ndarray | None], np.ndarray
  ]
  needs_keypoints: bool = False


def parse_person(
  image: np.ndarray | str | os.PathLike,
  keypoints: np.ndarray | None = None,
  model: str | os.PathLike | None = None,
  *,
  models_dir: str | os.PathLike | None = None,
  mask: np.ndarray | None = None,
) -> np.ndarray:
  """Labels each pixel of a person's photo.

  Args:
    image: (h, w, 3) uint8 RGB, or a file.
    keypoints: (18, 3) COCO-18 key points in its pixels: the parser that comes
      with the project is better with them, GrabCut needs them.
    model: see `choose_parser`.
    models_dir: where known models are; None: $VITON_JAX_MODELS, or
      ~/.cache/viton_jax/models.
    mask: (h, w) float32 in 0..1, how surely each pixel is the person, as
      `find_people` gives it; makes both faster or better.

  Returns:
    (h, w) uint8 LIP-20 labels.

  Raises:
    InputError: the image, the model or the key points cannot be used.
  """
  if not isinstance(image, np.ndarray):
    image = estimation.read_photo(image)
  estimation.check_photo(image)
  return choose_parser(model, models_dir).parse(image, keypoints, mask)


def choose_parser(
  model: str | os.PathLike | None = None,
  models_dir: str | os.PathLike | None = None,
) -> Parser:
  """Chooses what parses.

  Args:
    model: an '.onnx' file, SS-NAN's '.h5' weights, a spec of the user's own
      ('.toml'), the name of a known model, 'body_parser', which comes with the
      project, or 'grabcut'. None: the first known parser whose file is in the
      models folder (`python -m viton_jax.perception list` shows the order),
      else 'body_parser'.
    models_dir: where known models are.

  Returns:
    the parser, which says what it is.

  Raises:
    InputError: the file is missing, damaged or of another kind.
  """
  if model is None:
    folder = model_files.models_folder(models_dir)
    found = model_files.first_found('parsing', folder)
    if found is None:
      return _body_parser(_why_not_others(folder))
    model = found.name
  if os.fspath(model) == BODY_PARSER:
    return _body_parser()
  if os.fspath(model) == GRABCUT:
    return _grabcut()
  return load_parser(model, models_dir)


def load_parser(
  model: str | os.PathLike, models_dir: str | os.PathLike | None = None
) -> Parser:
  """Opens a user's file of a parser; see `choose_parser`."""
  spec, path = model_files.find(model, models_dir, task='parsing')
  if spec is not None and spec.backend == 'ss_nan':
    network = ss_nan.load(path, spec)
    return Parser(
      f'{spec.name} ({path}, in JAX)',
      lambda image, *_: parse_by_ss_nan(network, spec, image),
    )
  loaded = onnx_model.load(path, spec, task='parsing')
  return Parser(
    f'{loaded.spec.name} ({path}, onnxruntime on {loaded.device})',
    lambda image, *_: parse_by_onnx(loaded, image),
  )


def _why_not_others(folder: pathlib.Path) -> str:
  """Why a parser that is there is not used, in words; '' if none is there."""
  for spec in known_specs().values():
    if spec.task == 'parsing' and (folder / spec.file).is_file():
      return (
        f', because {spec.file} needs onnxruntime, which is not installed: '
        f'{model_files.INSTALL_ONNX}'
      )
  return ''


def _body_parser(why: str = '') -> Parser:
  return Parser(
    f'body_parser, which comes with viton_jax{why}',
    body_network.label_body,
    needs_keypoints=True,
  )


def _grabcut() -> Parser:

  def parse(image, keypoints, mask):
    if keypoints is None:
      raise InputError(
        'GrabCut needs the key points of the person; give them, or another '
        'parser'
      )
    return grabcut.parse_person_grabcut(image, keypoints, mask=mask)

  return Parser('GrabCut, as asked', parse, needs_keypoints=True)


def parse_by_onnx(model: onnx_model.OnnxModel, image: np.ndarray) -> np.ndarray:
  """Runs a parser on a photo: (h, w, 3) uint8 RGB -> (h, w) uint8 LIP-20."""
  spec = model.spec
  placed, place = fitting.fit_photo(image, spec.input)
  (out, *_) = model.run(fitting.to_tensor(placed, spec.input))
  if isinstance(spec.output.content, LabelMap):
    classes = nearest_labels(_one_map(out, model), place)
  else:
    classes = labels_of_logits(onnx_model.planes(out, spec), place, spec)
  return to_lip20(classes, spec, str(model.path))


def _one_map(out: np.ndarray, model: onnx_model.OnnxModel) -> np.ndarray:
  """The label map in an output that may have axes of length 1 around it."""
  squeezed = (
    out.reshape(out.shape[-2:])
    if out.size == (out.shape[-2] * out.shape[-1])
    else np.squeeze(out)
  )
  if squeezed.ndim != 2:
    raise InputError(
      f'{model.path}: the output has shape {out.shape}, which is not one map '
      "of labels; write a spec with another 'tensors' or 'kind'"
    )
  return squeezed


def parse_by_ss_nan(
  network: Callable[[np.ndarray], np.ndarray], spec: Spec, image: np.ndarray
) -> np.ndarray:
  """As `parse_by_onnx`, with SS-NAN."""
  placed, place = fitting.fit_photo(image, spec.input)
  logits = network(fitting.to_tensor(placed, spec.input))
  # The original labels the padded input and then resizes the labels.
  rows, columns = (
    interpolation.linear_weights(
      fitting.enlarge_positions(n, size, _align(spec)), n
    )
    for n, size in zip(logits.shape[:2], place.size, strict=True)
  )
  classes = _argmax_of(logits.transpose(2, 0, 1), rows, columns)
  return to_lip20(nearest_labels(classes, place), spec, spec.name)


def labels_of_logits(
  logits: np.ndarray, place: fitting.Placement, spec: Spec
) -> np.ndarray:
  """The likeliest class of each pixel of the photo.

  The logits of a photo that fills the input are enlarged in one step. Else, and
  where corners lie on corners, the logits are enlarged to the input's size, and
  that is read where the photo's pixels are, with zeros outside, as SCHP does.

  Args:
    logits: (c, h, w) float32.
    place: where the photo went.
    spec: of the model.

  Returns:
    (height, width) uint8 classes.
  """
  fit = spec.input.fit
  stretched = isinstance(fit, FixedSize) and fit.name == 'stretch'
  align, matrices = _align(spec), []
  for axis, n in enumerate(logits.shape[1:]):
    if stretched and align == 'centers':
      at = fitting.enlarge_positions(n, place.photo[axis], align)
      matrices.append(interpolation.linear_weights(at, n))
      continue
    enlarge = interpolation.linear_weights(
      fitting.enlarge_positions(n, place.size[axis], align), n
    )
    back = interpolation.linear_weights(
      place.positions(axis),
      place.size[axis],
      border='clamp' if stretched else 'zero',
    )
    matrices.append(back @ enlarge)
  return _argmax_of(logits, *matrices)


def _align(spec: Spec) -> Align:
  assert isinstance(spec.output.content, Logits)  # The spec was checked.
  return spec.output.content.align


def _argmax_of(
  planes: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
  """argmax over c of rows @ planes[c] @ columns.T, one plane at a time."""
  best = rows @ planes[0] @ columns.T
  classes = np.zeros(best.shape, np.uint8)
  for number, plane in enumerate(planes[1:], start=1):
    enlarged = rows @ plane @ columns.T
    better = enlarged > best
    classes[better] = number
    np.maximum(best, enlarged, out=best)
  return classes


def nearest_labels(classes: np.ndarray, place: fitting.Placement) -> np.ndarray:
  """Reads a map of labels where the photo's pixels are.

  Args:
    classes: (h, w) labels of the whole input, of its size or smaller.
    place: where the photo went.

  Returns:
    (height, width) of the photo, the same type.
  """
  at = []
  for axis, n in enumerate(classes.shape):
    in_map = (place.positions(axis) + 0.5) * (n / place.size[axis])
    at.append(np.clip(np.floor(in_map).astype(int), 0, n - 1))
  return classes[np.ix_(*at)]


def to_lip20(classes: np.ndarray, spec: Spec, name: str) -> np.ndarray:
  """A model's classes as LIP-20 labels.

  Args:
    classes: (h, w) whole numbers.
    spec: of the model, with the table.
    name: of the model, for the error.

  Returns:
    (h, w) uint8.

  Raises:
    InputError: a class that the table does not have.
  """
  table = np.array(spec.to_lip20, np.uint8)
  low, high = classes.min(), classes.max()
  if low < 0 or high >= len(table) or low != low // 1 or high != high // 1:
    raise InputError(
      f'{name}: it gives the label {high if high >= len(table) else low}, '
      f"but the spec '{spec.name}' has labels from 0 to {len(table) - 1}; "
      'extend to_lip20 in a spec of your own'
    )
  return table[classes.astype(int)]


def colour_labels(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """An image to look at: the labels in LIP's colours over the photo.

  Args:
    image: (h, w, 3) uint8 RGB.
    labels: (h, w) uint8 LIP-20.

  Returns:
    (h, w, 3) uint8 RGB; the background keeps the photo, in grey.
  """
  # Label -> its share of the mix, and the share of the photo's grey.
  tint = np.array(LIP_COLOURS) * 0.65
  tint[0] = 127
  share = np.full(len(tint), 0.35, np.float32)
  share[0] = 0.5
  grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
  shade = (share[labels] * grey).astype(np.uint8)
  return tint.astype(np.uint8)[labels] + shade[..., None]
