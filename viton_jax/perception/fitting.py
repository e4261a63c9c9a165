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

import cv2
import numpy as np

from viton_jax.perception.spec_types import (
  Align,
  Color,
  FixedFit,
  FixedSize,
  Input,
  KeepHeight,
  PadMultiple,
)

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
  image: np.ndarray,
  rules: Input,
  box: tuple[float, float, float, float] | None = None,
) -> tuple[np.ndarray, Placement]:
  """Places a photo in an input of one size, as a spec says.

  Args:
    image: (h, w, 3) uint8 RGB.
    rules: of the spec; its fit has a fixed size.
    box: x0, y0, x1, y1 in pixels of the photo, for 'affine_box'; None: all.

  Returns:
    (h', w', 3) uint8 in the spec's colour order, and where the photo went.
  """
  fit = rules.fit
  if not isinstance(fit, FixedSize):
    raise TypeError(f'{fit} has no fixed size.')
  h, w = photo = image.shape[:2]
  place = _place(photo, fit, box)
  shrink = 1 / max(place.scale)
  reduced = 1.0, 1.0
  if shrink > MAX_SHRINK:
    rows, columns = (max(round(2 * side / shrink), 1) for side in photo)
    image = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    reduced = columns / w, rows / h
  # The pixels of the reduced photo, where its pixel areas are.
  scale = [s / r for s, r in zip(place.scale, reduced, strict=True)]
  offset = [
    t + s * (0.5 / r - 0.5)
    for s, t, r in zip(place.scale, place.offset, reduced, strict=True)
  ]
  interpolation = _INTERPOLATION[rules.interpolation]
  size = fit.size[1], fit.size[0]
  if fit.name == 'stretch':
    placed = cv2.resize(image, size, interpolation=interpolation)
  elif fit.name in ('letterbox_topleft', 'pad_center'):
    shrinks = fit.name == 'pad_center' and place.scale[0] < 1
    placed = _paste(
      image,
      place,
      interpolation=cv2.INTER_AREA if shrinks else interpolation,
      pad_value=rules.pad_value,
    )
  else:
    placed = cv2.warpAffine(
      image,
      np.array([[scale[0], 0, offset[0]], [0, scale[1], offset[1]]]),
      size,
      flags=interpolation,
      borderMode=cv2.BORDER_CONSTANT,
      borderValue=[rules.pad_value] * 3,
    )
  return in_color(placed, rules.color), place


def in_color(image: np.ndarray, color: Color) -> np.ndarray:
  """RGB in the order that a spec wants."""
  if color == 'rgb':
    return image
  return cv2.cvtColor(image, cv2.COLOR_RGB2BGR)


def _place(photo: tuple[int, int], fit: FixedSize, box) -> Placement:
  height, width = size = fit.size
  h, w = photo
  if fit.name == 'stretch':
    sx, sy = width / w, height / h
    return Placement((sx, sy), (sx / 2 - 0.5, sy / 2 - 0.5), size, photo)
  if fit.name == 'letterbox_center':
    # Of distances between pixel centres, as the original has them.
    scale = min((width - 1) / max(w - 1, 1), (height - 1) / max(h - 1, 1))
    offset = (
      (width - 1) / 2 - scale * (w - 1) / 2,
      ((height - 1) / 2 - scale * (h - 1) / 2),
    )
    return Placement((scale, scale), offset, size, photo)
  if fit.name == 'affine_box':
    x0, y0, x1, y1 = (0, 0, w, h) if box is None else box
    padding = fit.box_padding
    wide = max((x1 - x0) * padding, (y1 - y0) * padding * width / height)
    scale = width / max(wide, 1e-6)
    offset = (
      width / 2 - scale * (x0 + x1) / 2,
      (height / 2 - scale * (y0 + y1) / 2),
    )
    return Placement((scale, scale), offset, size, photo)
  ratio = min(height / h, width / w)
  if fit.name == 'pad_center':
    ratio = min(ratio, max(1.0, _PAD_MIN_SIDE / min(h, w)))
  inner_w, inner_h = _inner(photo, ratio, fit.name)
  left, top = 0, 0
  if fit.name == 'pad_center':
    left, top = (width - inner_w) // 2, (height - inner_h) // 2
  sx, sy = inner_w / w, inner_h / h
  offset = left + sx / 2 - 0.5, top + sy / 2 - 0.5
  return Placement((sx, sy), offset, size, photo)


def _inner(
  photo: tuple[int, int], ratio: float, fit: FixedFit
) -> tuple[int, int]:
  """(width, height) of the resized photo within its padding."""
  # YOLOX cuts the fraction off, SS-NAN rounds.
  whole = int if fit == 'letterbox_topleft' else round
  return max(whole(photo[1] * ratio), 1), max(whole(photo[0] * ratio), 1)


def _paste(
  image: np.ndarray, place: Placement, *, interpolation: int, pad_value: int
) -> np.ndarray:
  width, height = (
    round(s * side)
    for s, side in zip(place.scale, place.photo[::-1], strict=True)
  )
  left, top = (
    round(t - s / 2 + 0.5)
    for s, t in zip(place.scale, place.offset, strict=True)
  )
  resized = cv2.resize(image, (width, height), interpolation=interpolation)
  placed = np.full((*place.size, 3), pad_value, np.uint8)
  placed[top : top + height, left : left + width] = resized
  return placed


def keep_height(image: np.ndarray, rules: Input, fit: KeepHeight) -> np.ndarray:
  """Resizes a photo to a height and to multiples, as the aspect is.

  Args:
    image: (h, w, 3) uint8 RGB.
    rules: of the spec.
    fit: the spec's.

  Returns:
    (h', w', 3) uint8 in the spec's colour order: h' as the spec says, w' the
    multiple that is nearest to the photo's aspect.
  """
  multiple, target = fit.multiple_of, fit.height

  def rounded(value):
    return max(round(value / multiple), 1) * multiple

  h, w = image.shape[:2]
  height, width = target, rounded(target * w / h)
  if width > fit.max_width:
    width = fit.max_width
    height = rounded(width * h / w)
  image = in_color(image, rules.color)
  if min(h / height, w / width) > MAX_SHRINK:
    image = cv2.resize(
      image, (2 * width, 2 * height), interpolation=cv2.INTER_AREA
    )
  if image.shape[:2] == (height, width):
    return image
  return cv2.resize(
    image,
    (width, height),
    interpolation=_INTERPOLATION[rules.interpolation],
  )


def pad_multiple(
  image: np.ndarray, rules: Input, fit: PadMultiple, *, scale: float
) -> tuple[np.ndarray, tuple[int, int]]:
  """Resizes a photo to a height and pads it at the right and the bottom.

  Args:
    image: (h, w, 3) uint8 RGB.
    rules: of the spec.
    fit: the spec's.
    scale: multiple of `height`.

  Returns:
    (h', w', 3) uint8 in the spec's colour order, both sides multiples; and
    (height, width) of the photo in it.
  """
  h, w = image.shape[:2]
  factor = scale * fit.height / h
  h, w = (max(round(side * factor), 1) for side in (h, w))
  resized = cv2.resize(
    image, (w, h), interpolation=_INTERPOLATION[rules.interpolation]
  )
  multiple = fit.multiple_of
  placed = cv2.copyMakeBorder(
    resized,
    0,
    -h % multiple,
    0,
    -w % multiple,
    cv2.BORDER_CONSTANT,
    value=[rules.pad_value] * 3,
  )
  return in_color(placed, rules.color), (h, w)


def to_tensor(placed: np.ndarray, rules: Input) -> np.ndarray:
  """Numbers for the network: scale * pixels, minus mean, divided by std.

  Args:
    placed: (h, w, 3) uint8, in the colour order of `mean` and `std`.
    rules: of the spec.

  Returns:
    (1, 3, h, w) or (1, h, w, 3) float32, as `layout` says.
  """
  values = placed.astype(np.float32) * np.float32(rules.scale)
  values = values - np.array(rules.mean, np.float32)
  values = values / np.array(rules.std, np.float32)
  if rules.layout == 'nchw':
    values = values.transpose(2, 0, 1)
  return np.ascontiguousarray(values[None])


def enlarge_positions(size_in: int, size_out: int, align: Align) -> np.ndarray:
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
