"""People by BlazePose [1]: a detector, then landmarks and a mask for each.

The detector says where the middle of a body is and how the body is turned. The
landmark network sees that region, turned upright, and says it better; a second
pass sees the better region. Landmarks are refined where their heat maps are
sure [2].

The detector is made for one prominent person. So each person found is
painted over, and it looks again until it finds nobody. People who are small in
the photo are searched again in the part around them.

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
from viton_jax.perception import fitting, model_files
from viton_jax.perception.pose import anchors, landmarks, regions
from viton_jax.perception.pose.estimator import (
  Person,
  Photos,
  PoseEstimator,
  largest_first,
)
from viton_jax.perception.pose.landmarks import Body
from viton_jax.perception.runners import tflite_model
from viton_jax.perception.runners.tflite_model import TfliteModel
from viton_jax.perception.spec_types import Landmarks, Spec, fixed_size

# The two landmarks that say where the body's region is.
_HIPS, _END = 33, 34
_MAX_PEOPLE = 8
# Two regions whose centres are nearer than this part of their sides, or whose
# masks overlap more, show one person.
_SAME_CENTRE = 0.08
_SAME_MASK = 0.5
# A person is small whose box, with a margin, is below this part of the photo.
_SMALL, _MARGIN = 0.85, 0.15
# How sure the detector and the landmark network must be of a person whom they
# see once others are painted over: what is left looks a little like people.
_LATER_SCORES = 0.5, 0.9
# Of a photo in which nobody is found, parts of these shares of the longer side
# are searched, for a person of whom the detector and the landmark network are
# this sure; cats and cups are not far below.
_PARTS, _PART_SCORES = (0.5, 0.3), (0.75, 0.95)
_SLIM = 0.25
_WORK_PX = 2048  # The longer side of larger photos, for this.
_BLANK = 127  # What people are painted over with.


def open_network(
  path: pathlib.Path, spec: Spec, runner: tflite_model.Runner | None = None
) -> PoseEstimator:
  """What finds people by BlazePose.

  Args:
    path: the landmark network's file; the detector's lies beside it.
    spec: of the kind 'landmarks'.
    runner: see `tflite_model.load`.

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
  network = tflite_model.load(
    path, spec, outputs=landmarks.output_shapes(spec), runner=runner
  )
  detector = tflite_model.load(
    beside, detector_spec, outputs=anchors.output_shapes(), runner=runner
  )
  return PoseEstimator(
    f'{spec.name} ({path}, {network.runner})',
    lambda photos: find_people(photos, network, detector),
    lambda photo, person: follow(photo, person, network),
  )


class _Search:
  """One photo: what the detector is shown of it, and whom it has found.

  Attributes:
    shape: (height, width) of the photo.
    zoom: by which it was reduced.
    photo: (h, w, 3) uint8 RGB, reduced; all places are in its pixels.
    bodies: those who were found.
    view: what the detector is shown.
    place: where the photo lies in it.
  """

  def __init__(self, photo: np.ndarray, spec: Spec):
    self.shape = photo.shape[:2]
    self.zoom = min(1.0, _WORK_PX / max(self.shape))
    if self.zoom < 1:
      size = [max(round(n * self.zoom), 1) for n in self.shape[::-1]]
      photo = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    self.photo = photo
    self.bodies: list[Body] = []
    self._masks: list[np.ndarray] = []  # In the detector's frame.
    self._covered = photo
    self.view, self.place = fitting.fit_photo(photo, spec.input)

  def covered(self) -> np.ndarray:
    """The photo with those who were found painted over."""
    if self.bodies and self._covered is self.photo:
      self._covered = self.photo.copy()
      for body in self.bodies:
        grown = _grown(body.mask, 5).astype(np.float32)
        there = regions.paste(grown, body.region, self.photo.shape[:2]) > 0.5
        self._covered[there] = _BLANK
    return self._covered

  def small_mask(self, body: Body) -> np.ndarray:
    """A body's mask in the detector's frame."""
    return regions.paste(
      body.mask, body.region, self.view.shape[:2], self.place
    )

  def box(self, body: Body) -> tuple[int, int, int, int] | None:
    """x0, y0, x1, y1 around a body that is small in the photo."""
    y, x = np.nonzero(self.small_mask(body) > 0.5)
    if not len(x):
      return None
    corners = np.array([[x.min(), y.min()], [x.max() + 1, y.max() + 1]])
    low, high = self.place.to_photo(corners - 0.5)
    margin = _MARGIN * (high - low).max()
    h, w = self.photo.shape[:2]
    x0, y0 = np.clip(low - margin, 0, (w, h)).astype(int).tolist()
    x1, y1 = np.clip(high + margin, 0, (w, h)).astype(int).tolist()
    side = max(x1 - x0, y1 - y0)
    if min(x1 - x0, y1 - y0) < 16 or side > _SMALL * max(h, w):
      return None
    return x0, y0, x1, y1

  def add(self, body: Body) -> bool:
    """Adds a person, unless the same one was found before."""
    mask = self.small_mask(body)
    mine = mask > 0.5
    if len(self.bodies) >= _MAX_PEOPLE or not mine.any():
      return False
    for other, its in zip(self.bodies, self._masks, strict=True):
      apart = np.hypot(*(body.region.centre - other.region.centre))
      sides = body.region.side, other.region.side
      if _overlap(mine, its) > _SAME_MASK or apart < _SAME_CENTRE * max(sides):
        return False
    self.bodies.append(body)
    self._masks.append(mine)
    self._covered = self.photo
    self.view = self.view.copy()
    self.view[_grown(mask, 4)] = _BLANK
    return True


@dataclasses.dataclass(frozen=True, eq=False)
class _Candidate:
  """A person who may be there.

  Attributes:
    search: of the photo.
    region: where.
    score: of the detector, 0..1.
    least: that the landmark network's score must be.
    body: what the landmark network sees there.
  """

  search: _Search
  region: regions.Region
  score: float
  least: float = 0.0
  body: Body | None = None

  def same(self, other: '_Candidate') -> bool:
    """Whether both are one person, by their masks."""
    mine, its = (
      self.search.small_mask(x.body) > 0.5 if x.body else np.zeros((1, 1), bool)
      for x in (self, other)
    )
    return _overlap(mine, its) > _SAME_MASK


def find_people(
  photos: Photos, network: TfliteModel, detector: TfliteModel
) -> list[list[Person]]:
  """Finds the people in photos, at most 8 in each.

  Args:
    photos: (h, w, 3) uint8 RGB, of any sizes.
    network: of the kind 'landmarks'.
    detector: of the kind 'anchors'.

  Returns:
    for each photo its people with their masks, largest first.
  """
  searches = [_Search(photo, detector.spec) for photo in photos]
  active = searches
  while active:
    found = anchors.detect([(x.view, x.place) for x in active], detector)
    seen = [
      _Candidate(search, region, score, _LATER_SCORES[1] * bool(search.bodies))
      for search, its in zip(active, found, strict=True)
      for region, score in zip(its.regions, its.scores, strict=True)
      if not search.bodies or score >= _LATER_SCORES[0]
    ]
    for search, its in zip(active, found, strict=True):
      if not search.bodies and not its.regions:
        seen += _search_parts(search, detector)
    seen = _look_closer(_look(seen, network), network, detector)
    # Searches that found a person look again.
    again = [x.search for x in seen if x.body and x.search.add(x.body)]
    active = list(dict.fromkeys(again))
  return [_people(search, network.spec) for search in searches]


def follow(
  photo: np.ndarray, person: Person, network: TfliteModel
) -> Person | None:
  """The same person in the next frame of a video, by one look of the network.

  Args:
    photo: (h, w, 3) uint8 RGB, the next frame.
    person: as found or followed in the last one, with a region.
    network: of the kind 'landmarks'.

  Returns:
    the person; None: nobody is there any more.
  """
  if person.region is None or not person.region.usable:
    return None
  content = network.spec.output.content
  assert isinstance(content, Landmarks)  # The spec was checked.
  (body,) = landmarks.look([(photo, person.region)], network)
  if body.score < content.min_score:
    return None
  return _person(body, network.spec, photo.shape[:2])


def _search_parts(search: _Search, detector: TfliteModel) -> list[_Candidate]:
  """Searches the parts of a photo in which people may be too small."""
  h, w = search.photo.shape[:2]
  if min(h, w) < _SLIM * max(h, w):  # It would have thousands of parts.
    return []
  views, corners = [], []
  for share in _PARTS:
    side = min(max(round(share * max(h, w)), 16), h, w)
    tops, lefts = (
      np.linspace(0, n - side, max(int(np.ceil(2 * n / side)) - 1, 1))
      for n in (h, w)
    )
    for top, left in ((int(y), int(x)) for y in tops for x in lefts):
      part = search.photo[top : top + side, left : left + side]
      part = np.ascontiguousarray(part)
      views.append(fitting.fit_photo(part, detector.spec.input))
      corners.append(np.array([left, top]))
  return [
    _Candidate(
      search,
      dataclasses.replace(region, centre=region.centre + corner),
      score,
      _PART_SCORES[1],
    )
    for its, corner in zip(
      anchors.detect(views, detector), corners, strict=True
    )
    for region, score in zip(its.regions, its.scores, strict=True)
    if score >= _PART_SCORES[0]
  ]


def _look(seen: list[_Candidate], network: TfliteModel) -> list[_Candidate]:
  """Those who are there; a second look sees the region of the first."""
  content = network.spec.output.content
  assert isinstance(content, Landmarks)  # The spec was checked.
  padding = fixed_size(network.spec).box_padding
  for _ in range(2):
    seen = [x for x in seen if x.region.usable]
    bodies = landmarks.look(
      [(x.search.covered(), x.region) for x in seen], network
    )
    seen = [
      dataclasses.replace(
        one,
        region=regions.around(body.points[_HIPS], body.points[_END], padding),
        body=body,
      )
      for one, body in zip(seen, bodies, strict=True)
    ]
  least = content.min_score
  return [x for x in seen if x.body and x.body.score >= max(least, x.least)]


def _look_closer(
  seen: list[_Candidate], network: TfliteModel, detector: TfliteModel
) -> list[_Candidate]:
  """Searches again around those who are small in their photo.

  Of a person who is cut off by the photo's border and small in it, the detector
  misjudges where the body ends; it sees that where the body fills its view.
  """
  small = [
    (one, box) for one in seen if one.body and (box := one.search.box(one.body))
  ]
  if not small:
    return seen
  views = []
  for one, (x0, y0, x1, y1) in small:
    part = np.ascontiguousarray(one.search.covered()[y0:y1, x0:x1])
    views.append(fitting.fit_photo(part, detector.spec.input))
  closer = []
  for (one, box), its in zip(
    small, anchors.detect(views, detector), strict=True
  ):
    for region in its.regions[:1]:
      moved = dataclasses.replace(region, centre=region.centre + box[:2])
      closer.append(dataclasses.replace(one, region=moved))
  result = list(seen)
  for better in _look(closer, network):
    for k, one in enumerate(result):
      if one.search is better.search and one.same(better):
        result[k] = better
  return result


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
  return float(np.sum(a & b) / max(np.sum(a | b), 1))


def _people(search: _Search, spec: Spec) -> list[Person]:
  people = []
  for body in search.bodies:
    body = landmarks.enlarge(body, search.zoom)
    people.append((_person(body, spec, search.shape), body.score))
  return largest_first(people)


def _person(body: Body, spec: Spec, shape: tuple[int, int]) -> Person:
  """A body that was seen, in a photo of `shape`."""
  mask = regions.paste(body.mask, body.region, shape)
  region = regions.around(
    body.points[_HIPS], body.points[_END], fixed_size(spec).box_padding
  )
  joints = landmarks.coco18(body, spec, shape)
  return Person(joints, np.clip(mask, 0, 1), region)


def _grown(mask: np.ndarray, reach: int) -> np.ndarray:
  kernel = np.ones((2 * reach + 1,) * 2, np.uint8)
  return cv2.dilate((mask > 0.3).astype(np.uint8), kernel) > 0
