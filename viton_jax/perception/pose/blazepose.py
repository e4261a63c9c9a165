"""People by BlazePose [1]: a detector, then landmarks and a mask for each.

The detector says where the middle of a body is and how the body is turned. The
landmark network sees that region, turned upright, and says it better; a second
pass sees the better region. Landmarks are refined where their heat maps are
sure [2].

The detector is made for one prominent person. So whoever was found is painted
over, and it looks again until it finds nobody.

References:
  [1] Bazarevsky et al.: "BlazePose: on-device real-time body pose tracking",
      arXiv:2006.10204; Grishchenko et al.: "BlazePose GHUM Holistic",
      arXiv:2206.11678.
  [2] https://github.com/google-ai-edge/mediapipe, modules/pose_landmark and
      modules/pose_detection: anchors and what the outputs mean.
"""

import dataclasses
import pathlib

import cv2
import numpy as np

from viton_jax.errors import InputError
from viton_jax.labels import NUM_KEYPOINTS
from viton_jax.perception import fitting, model_files
from viton_jax.perception.pose import regions
from viton_jax.perception.pose.estimator import (
  Person,
  Photos,
  PoseEstimator,
  largest_first,
)
from viton_jax.perception.runners import tflite_model
from viton_jax.perception.runners.tflite_model import TfliteModel
from viton_jax.perception.spec_types import (
  Anchors,
  FixedSize,
  Landmarks,
  Spec,
)

# Cells a side and anchors a cell of the detector's three grids.
_GRIDS = ((28, 2), (14, 2), (7, 6))
_POINTS = 4  # Of a detected person: middle of the hips, circle's end; others.
_MAX_OVERLAP = 0.3
# The two landmarks that say where the body's region is.
_HIPS, _END = 33, 34
_VALUES = 5  # Of a landmark: x, y, z; logits of visibility and presence.
_WINDOW = 7
_SURE = 0.5  # From this heat on a heat map refines its landmark.
_LEAST_VISIBILITY = 0.3
_LEAST_PRESENCE = 0.2
_MAX_PEOPLE = 8
# Two regions whose centres are nearer than this part of their sides, or whose
# masks overlap more, show one person.
_SAME_CENTRE = 0.08
_SAME_MASK = 0.5
_PADDING = 1.25  # Of a detected body's region; the network saw such.
_BLANK = 127  # What people are painted over with.


@dataclasses.dataclass(frozen=True, eq=False)
class Body:
  """What the landmark network says of a region.

  Attributes:
    region: of the photo.
    points: (39, 2) float64 x, y in pixels of the photo.
    visibility: (39,) whether each is seen, 0..1; also high outside the photo.
    presence: (39,) whether each is within the region, 0..1.
    score: whether there is a person, 0..1.
    mask: (size, size) float32, how surely a pixel of the region is the person.
  """

  region: regions.Region
  points: np.ndarray
  visibility: np.ndarray
  presence: np.ndarray
  score: float
  mask: np.ndarray


def open_network(path: pathlib.Path, spec: Spec) -> PoseEstimator:
  """What finds people by BlazePose.

  Args:
    path: the landmark network's file; the detector's lies beside it.
    spec: of the kind 'landmarks'.

  Raises:
    InputError: see `tflite_model.load`.
  """
  detector_spec = model_files.detector_of(spec)
  if detector_spec is None:
    raise InputError(
      f"the spec '{spec.name}' names no known detector; name one"
    )
  beside = path.with_name(pathlib.PurePath(detector_spec.file).name)
  if not beside.is_file():
    raise InputError(
      f'{beside}: the detector of {spec.name} is missing; it comes with it: '
      f'get both again, {detector_spec.source}'
    )
  landmarks = tflite_model.load(path, spec)
  detector = tflite_model.load(beside, detector_spec)
  return PoseEstimator(
    f'{spec.name} ({path}, {landmarks.runner})',
    lambda photos: find_people(photos, landmarks, detector),
  )


class _Search:
  """One photo: what the detector is shown of it, and whom it has found."""

  def __init__(self, photo: np.ndarray, detector: TfliteModel):
    self.photo = photo
    self.bodies: list[Body] = []
    self._masks: list[np.ndarray] = []  # In the detector's frame.
    self._covered = photo
    self.view, self.place = fitting.fit_photo(photo, detector.spec.input)

  def covered(self) -> np.ndarray:
    """The photo with those who were found painted over."""
    if self.bodies and self._covered is self.photo:
      self._covered = self.photo.copy()
      for body in self.bodies:
        mask = regions.paste(body.mask, body.region, self.photo.shape[:2])
        self._covered[_grown(mask, 0.02 * body.region.side)] = _BLANK
    return self._covered

  def add(self, body: Body) -> bool:
    """Takes somebody in who is there and was not found before."""
    mask = regions.paste(
      body.mask, body.region, self.view.shape[:2], self.place
    )
    mine = mask > 0.5
    if len(self.bodies) >= _MAX_PEOPLE or not mine.any():
      return False
    for other, its in zip(self.bodies, self._masks, strict=True):
      both, either = np.sum(mine & its), np.sum(mine | its)
      apart = np.hypot(*(body.region.centre - other.region.centre))
      if both > _SAME_MASK * either or apart < _SAME_CENTRE * max(
        body.region.side, other.region.side
      ):
        return False
    self.bodies.append(body)
    self._masks.append(mine)
    self._covered = self.photo
    self.view = self.view.copy()
    self.view[_grown(mask, 4)] = _BLANK
    return True


def find_people(
  photos: Photos, landmarks: TfliteModel, detector: TfliteModel
) -> list[list[Person]]:
  """Finds the people in photos, at most 8 in each.

  Args:
    photos: (h, w, 3) uint8 RGB, of any sizes.
    landmarks: of the kind 'landmarks'.
    detector: of the kind 'anchors'.

  Returns:
    for each photo its people with their masks, largest first.
  """
  content = landmarks.spec.output.content
  assert isinstance(content, Landmarks)  # The spec was checked.
  searches = [_Search(photo, detector) for photo in photos]
  active = searches
  while active:
    where = [
      (search, region)
      for search, found in zip(active, detect(active, detector), strict=True)
      for region in found
    ]
    bodies = []
    for _ in range(2):  # The second pass sees the region that the first gave.
      bodies = look(
        [(search.covered(), region) for search, region in where], landmarks
      )
      fit = _fit(landmarks.spec)
      where = [
        (
          search,
          regions.around(
            body.points[_HIPS], body.points[_END], fit.box_padding
          ),
        )
        for (search, _), body in zip(where, bodies, strict=True)
      ]
      kept = [k for k, (_, region) in enumerate(where) if region.usable]
      where, bodies = [where[k] for k in kept], [bodies[k] for k in kept]
    again = []
    for (search, _), body in zip(where, bodies, strict=True):
      if body.score >= content.min_score and search.add(body):
        again.append(search)
    active = list(dict.fromkeys(again))
  return [_people(search, landmarks.spec) for search in searches]


def _people(search: _Search, spec: Spec) -> list[Person]:
  shape = search.photo.shape[:2]
  return largest_first(
    (
      Person(
        coco18(body, spec, shape),
        np.clip(regions.paste(body.mask, body.region, shape), 0, 1),
      ),
      body.score,
    )
    for body in search.bodies
  )


def _grown(mask: np.ndarray, reach: float) -> np.ndarray:
  kernel = np.ones((2 * round(reach) + 1,) * 2, np.uint8)
  return cv2.dilate((mask > 0.3).astype(np.uint8), kernel) > 0


def _fit(spec: Spec) -> FixedSize:
  assert isinstance(spec.input.fit, FixedSize)  # The spec was checked.
  return spec.input.fit


# ----------------------------------------------------------------- the detector


def detect(
  searches: list[_Search], detector: TfliteModel
) -> list[list[regions.Region]]:
  """Where bodies seem to be, surest first."""
  spec = detector.spec
  content = spec.output.content
  assert isinstance(content, Anchors)  # The spec was checked.
  tensors = np.concatenate(
    [fitting.to_tensor(x.view, spec.input) for x in searches]
  )
  outputs = detector.run(tensors)
  values, logits = (outputs[k] for k in spec.output.tensors)
  size = _fit(spec).size[0]
  found = []
  for search, row, logit in zip(searches, values, logits, strict=True):
    points = decode_anchors(
      row, logit[:, 0], size=size, min_score=content.min_score
    )
    in_photo = search.place.to_photo(points - 0.5)
    around = [regions.around(x[0], x[1], _PADDING) for x in in_photo]
    found.append([x for x in around if x.usable])
  return found


def anchors() -> np.ndarray:
  """(2254, 2) x, y in 0..1: the centres of the cells, for each anchor."""
  rows = []
  for cells, count in _GRIDS:
    at = (np.arange(cells) + 0.5) / cells
    x, y = np.meshgrid(at, at)
    grid = np.stack([x.ravel(), y.ravel()], axis=-1)
    rows.append(np.repeat(grid, count, axis=0))
  return np.concatenate(rows)


def decode_anchors(
  values: np.ndarray, logits: np.ndarray, *, size: int, min_score: float
) -> np.ndarray:
  """The points of the people that a detector has found.

  Boxes that overlap are one person, whose points are their mean, weighted by
  the scores.

  Args:
    values: (2254, 12) float32: centre, width and height of a box and four
      points, in pixels relative to the anchor.
    logits: (2254,) float32 of the scores.
    size: of the input, in pixels.
    min_score: what is less sure is dropped.

  Returns:
    (n, 4, 2) float64 x, y in the input, whose left border is 0 and whose right
    one is `size`; surest first.
  """
  scores = sigmoid(logits)
  sure = np.flatnonzero(scores >= min_score)
  sure = sure[np.argsort(-scores[sure], kind='stable')]
  pairs = values[sure].astype(np.float64).reshape(-1, 2 + _POINTS, 2)
  anchor = anchors()[sure] * size
  centres, sides = pairs[:, 0] + anchor, np.maximum(pairs[:, 1], 0)
  points = pairs[:, 2:] + anchor[:, None]
  low, high = centres - sides / 2, centres + sides / 2
  free, found = np.ones(len(sure), bool), []
  for k in range(len(sure)):
    if not free[k]:
      continue
    common = np.minimum(high[k], high) - np.maximum(low[k], low)
    inner = np.prod(np.maximum(common, 0), axis=-1)
    union = np.prod(sides[k]) + np.prod(sides, axis=-1) - inner
    same = free & (inner > _MAX_OVERLAP * union)
    same[k] = True
    free &= ~same
    found.append(np.average(points[same], axis=0, weights=scores[sure][same]))
  return np.array(found).reshape(-1, _POINTS, 2)


def sigmoid(logits: np.ndarray) -> np.ndarray:
  return 1 / (1 + np.exp(-np.clip(logits, -80, 80)))


# ---------------------------------------------------------------- the landmarks


def look(
  where: list[tuple[np.ndarray, regions.Region]], landmarks: TfliteModel
) -> list[Body]:
  """Runs the landmark network on regions of photos."""
  if not where:
    return []
  spec = landmarks.spec
  size = _fit(spec).size[0]
  tensors = np.concatenate(
    [
      fitting.to_tensor(regions.cut(photo, region, size), spec.input)
      for photo, region in where
    ]
  )
  outputs = landmarks.run(tensors)
  values, flags, masks, heat = (outputs[k] for k in spec.output.tensors)
  values = values.reshape(len(where), -1, _VALUES)
  points = refine(values[..., :2], heat, size)
  return [
    Body(
      region=region,
      points=regions.to_photo(points[k] - 0.5, region, size),
      visibility=sigmoid(values[k, :, 3]),
      presence=sigmoid(values[k, :, 4]),
      score=float(flags[k].item()),
      mask=sigmoid(masks[k, ..., 0]).astype(np.float32),
    )
    for k, (_, region) in enumerate(where)
  ]


def refine(points: np.ndarray, heat: np.ndarray, size: int) -> np.ndarray:
  """Moves landmarks to the mean of the heat around them, where it is sure.

  Args:
    points: (b, n, 2) float32 x, y in 0..size.
    heat: (b, h, h, n) float32 logits.
    size: of the input, in pixels.

  Returns:
    (b, n, 2) float64.
  """
  b, cells, _, n = heat.shape
  half = _WINDOW // 2
  cell = np.floor(points * (cells / size))
  inside = ((cell >= 0) & (cell < cells)).all(axis=-1)
  start = np.where(inside[..., None], cell, 0).astype(int)
  padded = np.pad(
    heat, ((0, 0), (half, half), (half, half), (0, 0)), constant_values=-80
  )
  step = np.arange(_WINDOW)
  rows = start[..., 1, None, None] + step[:, None]
  columns = start[..., 0, None, None] + step[None]
  image, joint = np.ogrid[:b, :n]
  window = sigmoid(
    padded[image[..., None, None], rows, columns, joint[..., None, None]]
  ).astype(np.float64)
  total = window.sum(axis=(-2, -1))
  mean = np.stack(
    [
      (window * (at - half)).sum(axis=(-2, -1)) / total
      for at in (columns, rows)
    ],
    axis=-1,
  )
  sure = inside & (window.max(axis=(-2, -1)) >= _SURE)
  return np.where(sure[..., None], mean * (size / cells), points)


def coco18(body: Body, spec: Spec, shape: tuple[int, int]) -> np.ndarray:
  """The joints of a body that are in the photo.

  Args:
    body: as found.
    spec: says which landmarks a joint is the mean of.
    shape: (height, width) of the photo.

  Returns:
    (18, 3) float32: x, y in pixels, visibility; zeros where a joint is hidden
    or outside the photo.
  """
  joints = np.zeros((NUM_KEYPOINTS, 3), np.float32)
  for k, members in enumerate(spec.to_coco18):
    members = list(members)
    x, y = body.points[members].mean(axis=0)
    visible = body.visibility[members].min()
    if (
      visible >= _LEAST_VISIBILITY
      and body.presence[members].min() >= _LEAST_PRESENCE
      and -0.5 <= x < shape[1] - 0.5
      and -0.5 <= y < shape[0] - 0.5
    ):
      joints[k] = x, y, visible
  return joints
