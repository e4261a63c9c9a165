"""One pair at photo size, and the small example that networks are fed from.

`Sample` is what every data layout, estimator and server makes or takes.
`working_example` turns one into the arrays that training and try-on use.
"""

import dataclasses

import numpy as np

from input_pipeline import garment_masks
from viton_jax import choices, flow_levels
from viton_jax.errors import InputError, shown
from viton_jax.geometry.matching import ORIGINAL_TEST_SIZE
from viton_jax.io import images
from viton_jax.labels import (
  HEAD_LABELS,
  NUM_KEYPOINTS,
  NUM_LABELS,
  SHOULDER_KEYPOINTS,
)

MAX_SIDE = 8192  # Of a working size, in pixels.
# A coordinate in working pixels from which no pose box reaches any image.
OUTSIDE = -1000.0

# What `training_example` adds of an exchange of garments.
EXCHANGE_FIELDS = ('flow', 'photo', 'photo_parse')

_IS_HEAD = np.isin(np.arange(256), HEAD_LABELS)
_IS_BODY = (np.arange(256) != 0) & ~_IS_HEAD


@dataclasses.dataclass(frozen=True)
class Sample:
  """A person and a garment, in host memory, at the size of the photos.

  Attributes:
    person_id: file name of the person's photo, '000001_0.jpg'.
    garment_id: file name of the garment's photo, '000001_1.jpg'.
    person: (h, w, 3) uint8 RGB.
    garment: (hg, wg, 3) uint8 RGB; a flat garment on a light background.
    keypoints: (18, 3) float32, COCO-18 order: x, y in pixels of `person`,
      confidence; confidence 0 is a missing joint, then x = y = 0.
    parse: (h, w) uint8 LIP-20 labels in the frame of `person`.
    garment_mask: (hg, wg) bool, or None: derived from the photo.
    control_points: (100, 2) float32 in [-1, 1]: where in the garment's photo
      each point of a 10 x 10 grid over the person comes from, x, y, grid y
      outer and x inner. None: fitted when data are prepared.
    truth: (h, w, 3) uint8, the true image of this person in this garment,
      if it is known.
    truth_parse: (h, w) uint8 LIP-20 labels of `truth`.

  Raises:
    InputError: a shape, dtype or value is wrong.
  """

  person_id: str
  garment_id: str
  person: np.ndarray
  garment: np.ndarray
  keypoints: np.ndarray
  parse: np.ndarray
  garment_mask: np.ndarray | None = None
  control_points: np.ndarray | None = None
  truth: np.ndarray | None = None
  truth_parse: np.ndarray | None = None

  def __post_init__(self):
    for name in ('person', 'garment'):
      image = getattr(self, name)
      self._check(name, np.uint8, (*image.shape[:2], 3))
      if min(image.shape[:2]) < 16:
        raise InputError(
          f'{self.name}: the photo {name} is {image.shape[1]} x '
          f'{image.shape[0]} pixels; give one of at least 16 x 16'
        )
    frame = self.person.shape[:2]
    self._check('keypoints', np.float32, (NUM_KEYPOINTS, 3))
    self._check('parse', np.uint8, frame)
    self._check('garment_mask', np.bool_, self.garment.shape[:2])
    self._check('control_points', np.float32, (100, 2))
    self._check('truth', np.uint8, (*frame, 3))
    self._check('truth_parse', np.uint8, frame)
    for name in ('parse', 'truth_parse'):
      labels = getattr(self, name)
      if labels is not None and labels.max() >= NUM_LABELS:
        raise InputError(
          f'{self.name}: {name} has the label {labels.max()}; LIP-20 labels '
          'go from 0 to 19, so map the labels first'
        )
    for name in ('keypoints', 'control_points'):
      values = getattr(self, name)
      if values is not None and not np.isfinite(values).all():
        raise InputError(
          f'{self.name}: {name} holds a value that is not a finite number; '
          'estimate them again'
        )

  @property
  def name(self) -> str:
    """The pair in a message: 'person.jpg garment.jpg'."""
    return f'{self.person_id} {self.garment_id}'

  @property
  def exchanged(self) -> bool:
    """Whether the true result is known, and is not the photo itself."""
    known = self.truth is not None and self.truth_parse is not None
    return known and self.truth is not self.person

  @property
  def has_shoulders(self) -> bool:
    """Whether the neck or a shoulder was found."""
    return bool((self.keypoints[list(SHOULDER_KEYPOINTS), 2] > 0).any())

  def _check(self, name, dtype, shape):
    value = getattr(self, name)
    if value is None:
      return
    if value.dtype != dtype or value.shape != shape:
      raise InputError(
        f'{self.name}: {name} must be {np.dtype(dtype)} of shape {shape}, '
        f'but it is {value.dtype} of shape {value.shape}'
      )


def check_settings(
  height: int, width: int, *, fidelity: choices.Fidelity
) -> None:
  """Raises InputError unless a working size and a fidelity are usable."""
  for name, value in (('height', height), ('width', width)):
    if not isinstance(value, int) or not 64 <= value <= MAX_SIDE:
      raise InputError(
        f'{name} {shown(value)} is not a number from 64 to {MAX_SIDE}; use '
        'e.g. 256'
      )
    if value % 64:
      below = max(64, value // 64 * 64)
      raise InputError(
        f'{name} {value} is not a multiple of 64, which the network halves '
        f'six times; use {below} or {below + 64}'
      )
  choices.check('fidelity', fidelity, choices.Fidelity)


def working_example(
  sample: Sample, *, height: int, width: int, fidelity: choices.Fidelity
) -> dict:
  """Shrinks a sample to what the network's input is computed from.

  The image is stretched to the working size as a whole, as the original
  does; 'fixed' resizes with antialiasing, 'original' as TensorFlow 1 does.

  Args:
    sample: the pair.
    height: working height in pixels, a multiple of 64.
    width: working width in pixels, a multiple of 64.
    fidelity: 'fixed' or 'original'.

  Returns:
    a dict: person, garment (h, w, 3) uint8 RGB; head_mask (h, w) uint8, the
    soft head mask in 0..255; parse (h, w) uint8 LIP-20; body (h / 16, w / 16)
    float32 in 0..1, how much of each cell is body without head; keypoints
    (18, 3) float32, x, y in working pixels, confidence 0 where missing, see
    `working_keypoints`; pose_limit (2,) float32, in 'original' alone, see
    `pose_limit`; garment_mask (h, w) uint8 0/1 of the flat garment;
    control_points (100, 2) float32 if the sample has them; person_id and
    garment_id str.

  Raises:
    InputError: an unusable size or fidelity.
  """
  check_settings(height, width, fidelity=fidelity)
  size = (height, width)
  example = shrink(
    sample.person, sample.garment, sample.parse, size=size, fidelity=fidelity
  )
  _round(example)
  example['garment_mask'] = working_garment_mask(
    sample.garment, sample.garment_mask, size=size, fidelity=fidelity
  )
  example['keypoints'] = working_keypoints(
    sample.keypoints, sample.person.shape[:2], size=size, fidelity=fidelity
  )
  if fidelity == 'original':
    example['pose_limit'] = pose_limit(sample.person.shape[:2], size=size)
  if sample.control_points is not None:
    example['control_points'] = sample.control_points
  example['person_id'] = sample.person_id
  example['garment_id'] = sample.garment_id
  return example


def training_example(
  sample: Sample,
  *,
  height: int,
  width: int,
  fidelity: choices.Fidelity,
  true_flow: np.ndarray | None = None,
  exchanged: bool = False,
) -> dict:
  """What a network learns from: `working_example` with the true result.

  Where the person tries on another's garment and the true image of it is known,
  `person` and `parse` are of that image, while `head_mask`, `body`, `keypoints`
  and the head within `person`, which the networks see, stay of the photo. So
  nothing in the input tells what the true garment's sleeves and hem are.

  Args:
    sample: the pair.
    height, width, fidelity: see `working_example`.
    true_flow: (h, w, 2) float32, see `layouts.files.PairFolder.true_flow`.
    exchanged: whether to add `EXCHANGE_FIELDS`: `flow` (h / 4, w / 4, 3) of the
      pixels 2, 6, 10, ... of rows and columns, see `flow_levels.encode`, and
      the photo, `photo` (h, w, 3) uint8 and `photo_parse` (h, w) uint8, both 0
      where it is the true image itself, which nothing may see.

  Raises:
    InputError: see `working_example`.
  """
  example = working_example(
    sample, height=height, width=width, fidelity=fidelity
  )
  if exchanged:
    flow = working_flow(
      true_flow, sample.garment.shape[:2], size=(height, width)
    )
    middle, step = flow_levels.STEP // 2, flow_levels.STEP
    example['flow'] = flow_levels.encode(flow[middle::step, middle::step])
    for name, whole in (('photo', 'person'), ('photo_parse', 'parse')):
      seen = example[whole]
      example[name] = seen if sample.exchanged else np.zeros_like(seen)
  if not sample.exchanged:
    return example
  assert sample.truth is not None and sample.truth_parse is not None
  true = shrink(
    sample.truth,
    sample.garment,
    sample.truth_parse,
    size=(height, width),
    fidelity=fidelity,
  )
  _round(true)
  head = example['head_mask'][..., None] > 0
  example['person'] = np.where(head, example['person'], true['person'])
  example['parse'] = true['parse']
  return example


def working_flow(flow_norm, garment_size, *, size) -> np.ndarray:
  """A true flow at the working size.

  A pixel is known where all that it covers are. [-1, 1] spans from the middle
  of the first pixel to that of the last, so it is another length at another
  size.

  Args:
    flow_norm: (h', w', 2) float32, see `layouts.files.PairFolder.true_flow`;
      None: nothing is known.
    garment_size: (height, width) of the garment's photo.
    size: (h, w) at work, of the garment's photo, too.

  Returns:
    (h, w, 2) float32 in [-1, 1]; NaN: not known.
  """
  if flow_norm is None:
    return np.full((*size, 2), np.nan, np.float32)
  small = images.resize_area(flow_norm, *size)
  before = np.array(garment_size[::-1], np.float32)
  after = np.array(size[::-1], np.float32)
  middle = ((small + 1) / 2 * (before - 1) + 0.5) * after / before - 0.5
  return (middle / (after - 1) * 2 - 1).astype(np.float32)


def _round(example: dict) -> None:
  """Makes the images uint8, which those of fidelity 'fixed' are already."""
  for name in ('person', 'garment', 'head_mask'):
    if example[name].dtype != np.uint8:
      example[name] = np.rint(example[name]).astype(np.uint8)


def working_garment_mask(
  garment, mask=None, *, size, fidelity: choices.Fidelity
):
  """The flat garment's mask at the working size.

  At test time the original resizes its mask to 64 x 48, where it matches,
  before it fills holes. So in 'original' a mask that is derived from the photo
  is made at that size and every pixel of it repeated: the matching, which
  takes the nearest pixels, gets it back unchanged.

  Args:
    garment: (hg, wg, 3) uint8, the photo.
    mask: (hg, wg) bool, or None: derived from the photo.
    size: (height, width) at work.
    fidelity: 'fixed' or 'original'.

  Returns:
    (h, w) uint8, 0 or 1.

  Raises:
    InputError: no garment found in the photo.
  """
  original = fidelity == 'original'
  if mask is None:
    mask = garment_masks.garment_mask(
      garment,
      fidelity=fidelity,
      size=ORIGINAL_TEST_SIZE if original else None,
    )
  mask = mask.astype(np.uint8)
  if original:
    return images.resize_nearest_tf1(mask, *size)
  return (images.resize_area(mask * 255, *size) > 127).astype(np.uint8)


def shrink(person, garment, parse, *, size, fidelity: choices.Fidelity) -> dict:
  """The images of a working example; see `working_example`.

  Args:
    person: (h, w, 3) uint8, the photo.
    garment: (hg, wg, 3) uint8, the photo.
    parse: (h, w) uint8 LIP-20.
    size: (height, width) at work.
    fidelity: 'fixed': with antialiasing, uint8. 'original': as TensorFlow 1
      resizes; person, garment and head_mask are float32 in 0..255.

  Returns:
    a dict: person, garment, head_mask, parse, body.
  """
  if fidelity == 'original':
    smooth, exact = images.resize_bilinear_tf1, images.resize_nearest_tf1
    area = images.resize_area_tf1
  else:
    smooth = area = images.resize_area
    exact = images.resize_labels
  head = _IS_HEAD[parse].astype(np.uint8) * 255
  body = _IS_BODY[parse].astype(np.float32)
  return {
    'person': smooth(person, *size),
    'garment': smooth(garment, *size),
    'head_mask': smooth(head, *size),
    'parse': exact(parse, *size),
    'body': area(body, size[0] // 16, size[1] // 16),
  }


def working_keypoints(keypoints, frame, *, size, fidelity: choices.Fidelity):
  """Scales key points from a photo to the working size.

  The original truncates coordinates and gives a missing joint (-1, -1), which
  it scales and draws unless the truncated x is negative. So in photos wider
  than the working width a missing joint draws a box in the top-left corner,
  cut by a row or more where the photo is lower than the working height.

  Args:
    keypoints: (18, 3) float32, x, y in photo pixels and confidence.
    frame: (height, width) of the photo.
    size: (height, width) at work.
    fidelity: 'fixed' or 'original'.

  Returns:
    (18, 3) float32. Missing joints are all zero; only in 'original', those
    that draw no box lie at `OUTSIDE` and those whose box is cut at (0, y < 0),
    both with confidence 1.
  """
  scale = np.array([size[1] / frame[1], size[0] / frame[0]])
  missing = keypoints[:, 2] <= 0
  scaled = keypoints.astype(np.float64)
  scaled[:, :2] *= scale
  scaled[missing] = 0
  if fidelity == 'original':
    scaled[:, :2] = np.trunc(scaled[:, :2])
    x, y = np.trunc(-scale)
    if x < 0:
      scaled[missing] = OUTSIDE, OUTSIDE, 1
    elif y < 0:
      scaled[missing] = 0, y, 1
  return scaled.astype(np.float32)


def pose_limit(frame, *, size):
  """Where the original cuts pose boxes off: at the photo's own border too.

  Args:
    frame: (height, width) of the photo.
    size: (height, width) at work.

  Returns:
    (2,) float32: x and y, in working pixels, at which boxes end (exclusive).
  """
  return np.minimum(frame, size)[::-1].astype(np.float32)
