"""How a photo becomes a network's input, and where its pixels went.

Every fit is a scale and an offset for x and for y. With pixel centres at
integers, a photo's pixel x lands on

  x_input = scale * x_photo + offset

  stretch            the photo fills the input; its aspect is lost
  letterbox_center   the aspect is kept, the corner pixels of the longer side
                     land on the input's, the rest is filled (SCHP)
  letterbox_topleft  the aspect is kept, the photo is at the top left (YOLOX)
  pad_center         shrunk only if it is larger, in the middle (SS-NAN)
  affine_box         a box around a person, enlarged and brought to the input's
                     aspect, fills the input (RTMPose)
  keep_height        resized to a height, the width by aspect, both multiples
  pad_multiple       the same, but padded to the multiples (OpenPose)
"""

import dataclasses
from typing import Any

import cv2
import numpy as np

# A photo that is more than this many times larger than the network's input is
# first averaged down to twice the input: interpolation reads 2 x 2 or 4 x 4
# pixels and would miss most of it. Below, exactly what the originals do.
MAX_SHRINK = 4
_INTERPOLATION = {
  'cubic': cv2.INTER_CUBIC,
  'linear': cv2.INTER_LINEAR,
  'area': cv2.INTER_AREA,
}
# SS-NAN's: a photo is enlarged only if its shorter side is below this.
_PAD_MIN_SIDE = 128


@dataclasses.dataclass(frozen=True)
class Placement:
  """Where a photo went: x_input = scale * x_photo + offset.

  Attributes:
    scale: of x and y.
    offset: of x and y, in pixels of the input.
    size: (height, width) of the input.
    photo: (height, width) of the photo.
  """

  scale: tuple[float, float]
  offset: tuple[float, float]
  size: tuple[int, int]
  photo: tuple[int, int]

  def to_photo(self, points: np.ndarray) -> np.ndarray:
    """(..., 2) x, y in the input -> the same in the photo."""
    return (points - np.array(self.offset)) / np.array(self.scale)

  def positions(self, axis: int) -> np.ndarray:
    """Where the photo's rows (axis 0) or columns (1) are in the input."""
    of_xy = 1 - axis
    return self.scale[of_xy] * np.arange(self.photo[axis]) + self.offset[of_xy]


def fit_photo(
  image: np.ndarray, rules: dict[str, Any], box=None
) -> tuple[np.ndarray, Placement]:
  """Places a photo as a spec's `[input]` says.

  Args:
    image: (h, w, 3) uint8 RGB.
    rules: the table `[input]`, with `fit` and `size`.
    box: x0, y0, x1, y1 in pixels of the photo, for 'affine_box'; None: all.

  Returns:
    (h', w', 3) uint8 in the spec's colour order, and where the photo went.
  """
  photo = image.shape[:2]
  place = _place(photo, rules, box)
  shrink = 1 / max(place.scale)
  reduced = 1.0, 1.0
  if shrink > MAX_SHRINK:
    size = [max(round(2 * side / shrink), 1) for side in photo]
    image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    reduced = size[1] / photo[1], size[0] / photo[0]
  # The pixels of the reduced photo, where its pixel areas are.
  scale = [s / r for s, r in zip(place.scale, reduced, strict=True)]
  offset = [
    t + s * (0.5 / r - 0.5)
    for s, t, r in zip(place.scale, place.offset, reduced, strict=True)
  ]
  rules = {'interpolation': 'linear', 'pad_value': 0} | rules
  interpolation = _INTERPOLATION[rules['interpolation']]
  size = place.size[::-1]
  if rules['fit'] == 'stretch':
    placed = cv2.resize(image, size, interpolation=interpolation)
  elif rules['fit'] in ('letterbox_topleft', 'pad_center'):
    placed = _paste(image, place, rules)
  else:
    placed = cv2.warpAffine(
      image,
      np.array([[scale[0], 0, offset[0]], [0, scale[1], offset[1]]]),
      size,
      flags=interpolation,
      borderMode=cv2.BORDER_CONSTANT,
      borderValue=[rules['pad_value']] * 3,
    )
  return in_color(placed, rules['color']), place


def in_color(image: np.ndarray, color: str) -> np.ndarray:
  """RGB in the order that a spec wants."""
  if color == 'rgb':
    return image
  return cv2.cvtColor(image, cv2.COLOR_RGB2BGR)


def _place(photo, rules, box) -> Placement:
  height, width = size = tuple(rules['size'])
  h, w = photo
  if rules['fit'] == 'stretch':
    sx, sy = width / w, height / h
    return Placement((sx, sy), (sx / 2 - 0.5, sy / 2 - 0.5), size, photo)
  if rules['fit'] == 'letterbox_center':
    # Of distances between pixel centres, as the original has them.
    scale = min((width - 1) / max(w - 1, 1), (height - 1) / max(h - 1, 1))
    offset = (
      (width - 1) / 2 - scale * (w - 1) / 2,
      ((height - 1) / 2 - scale * (h - 1) / 2),
    )
    return Placement((scale, scale), offset, size, photo)
  if rules['fit'] == 'affine_box':
    x0, y0, x1, y1 = (0, 0, w, h) if box is None else box
    padding = rules.get('box_padding', 1.0)
    wide = max((x1 - x0) * padding, (y1 - y0) * padding * width / height)
    scale = width / max(wide, 1e-6)
    offset = (
      width / 2 - scale * (x0 + x1) / 2,
      (height / 2 - scale * (y0 + y1) / 2),
    )
    return Placement((scale, scale), offset, size, photo)
  ratio = min(height / h, width / w)
  if rules['fit'] == 'pad_center':
    ratio = min(ratio, max(1.0, _PAD_MIN_SIDE / min(h, w)))
  inner_w, inner_h = _inner(photo, ratio, rules['fit'])
  left, top = 0, 0
  if rules['fit'] == 'pad_center':
    left, top = (width - inner_w) // 2, (height - inner_h) // 2
  sx, sy = inner_w / w, inner_h / h
  offset = left + sx / 2 - 0.5, top + sy / 2 - 0.5
  return Placement((sx, sy), offset, size, photo)


def _inner(photo, ratio, fit) -> tuple[int, int]:
  """(width, height) of the resized photo within its padding."""
  # YOLOX cuts the fraction off, SS-NAN rounds.
  whole = int if fit == 'letterbox_topleft' else round
  return max(whole(photo[1] * ratio), 1), max(whole(photo[0] * ratio), 1)


def _paste(image, place: Placement, rules) -> np.ndarray:
  inner = tuple(
    round(s * side)
    for s, side in zip(place.scale, place.photo[::-1], strict=True)
  )
  left, top = (
    round(t - s / 2 + 0.5)
    for s, t in zip(place.scale, place.offset, strict=True)
  )
  shrinks = rules['fit'] == 'pad_center' and place.scale[0] < 1
  resized = cv2.resize(
    image,
    inner,
    interpolation=cv2.INTER_AREA
    if shrinks
    else _INTERPOLATION[rules['interpolation']],
  )
  placed = np.full((*place.size, 3), rules['pad_value'], np.uint8)
  placed[top : top + inner[1], left : left + inner[0]] = resized
  return placed


def keep_height(image: np.ndarray, rules: dict[str, Any]) -> np.ndarray:
  """Resizes a photo to a height and to multiples, as the aspect is.

  Args:
    image: (h, w, 3) uint8 RGB.
    rules: the table `[input]`.

  Returns:
    (h', w', 3) uint8 in the spec's colour order: h' as the spec says, w' the
    multiple that is nearest to the photo's aspect.
  """
  multiple, target = rules['multiple_of'], rules['height']

  def rounded(value):
    return max(round(value / multiple), 1) * multiple

  h, w = image.shape[:2]
  height, width = target, rounded(target * w / h)
  if width > rules['max_width']:
    width = rules['max_width']
    height = rounded(width * h / w)
  image = in_color(image, rules['color'])
  if min(h / height, w / width) > MAX_SHRINK:
    image = cv2.resize(
      image, (2 * width, 2 * height), interpolation=cv2.INTER_AREA
    )
  if image.shape[:2] == (height, width):
    return image
  return cv2.resize(
    image,
    (width, height),
    interpolation=_INTERPOLATION[rules['interpolation']],
  )


def pad_multiple(
  image: np.ndarray, rules: dict[str, Any], scale: float
) -> tuple[np.ndarray, tuple[int, int]]:
  """Resizes a photo to a height and pads it at the right and the bottom.

  Args:
    image: (h, w, 3) uint8 RGB.
    rules: the table `[input]`.
    scale: multiple of `height`.

  Returns:
    (h', w', 3) uint8 in the spec's colour order, both sides multiples; and
    (height, width) of the photo in it.
  """
  h, w = image.shape[:2]
  factor = scale * rules['height'] / h
  h, w = (max(round(side * factor), 1) for side in (h, w))
  resized = cv2.resize(
    image, (w, h), interpolation=_INTERPOLATION[rules['interpolation']]
  )
  multiple = rules['multiple_of']
  placed = cv2.copyMakeBorder(
    resized,
    0,
    -h % multiple,
    0,
    -w % multiple,
    cv2.BORDER_CONSTANT,
    value=[rules['pad_value']] * 3,
  )
  return in_color(placed, rules['color']), (h, w)


def to_tensor(placed: np.ndarray, rules: dict[str, Any]) -> np.ndarray:
  """Numbers for the network: scale * pixels, minus mean, divided by std.

  Args:
    placed: (h, w, 3) uint8, in the colour order of `mean` and `std`.
    rules: the table `[input]`.

  Returns:
    (1, 3, h, w) or (1, h, w, 3) float32, as `layout` says.
  """
  values = placed.astype(np.float32) * np.float32(rules.get('scale', 1))
  values = values - np.array(rules.get('mean', 0), np.float32)
  values = values / np.array(rules.get('std', 1), np.float32)
  if rules.get('layout', 'nchw') == 'nchw':
    values = values.transpose(2, 0, 1)
  return np.ascontiguousarray(values[None])


def enlarge_positions(size_in: int, size_out: int, align: str) -> np.ndarray:
  """Where the pixels of an enlarged axis are in the small one.

  Args:
    size_in: of the small axis.
    size_out: of the enlarged one.
    align: 'corners', 'centers' or 'tf1', see specs.py.

  Returns:
    (size_out,) float64.
  """
  at = np.arange(size_out)
  if align == 'corners':
    return at * ((size_in - 1) / max(size_out - 1, 1))
  if align == 'tf1':
    return at * (size_in / size_out)
  return (at + 0.5) * (size_in / size_out) - 0.5
