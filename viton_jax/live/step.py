"""The stages of a frame, as pure functions of a `State`.

    observe   flow from the last frame; where the person is now
    accept    the result of a key frame, some frames later
    picture   what the key frame knows, carried to this frame

What a key frame knows are planes at the working size, see `keys.Key`. A frame
reads them where its own pixels were in the key frame, so nothing is resampled
twice. A new key frame does not replace the planes: they move towards the new
ones over some frames, in the new key frame's place, which smooths masks,
control points and light at once.
"""

import dataclasses

import cv2
import numpy as np

from viton_jax.live import flow, keys, smoothing, tracking
from viton_jax.live.keys import Key
from viton_jax.perception.pose.estimator import Person, PoseEstimator

# Grey levels that are left after the flow where the picture is another one.
_CUT = 30.0
# A person whom one look misses may be there in the next.
_MISSES = 2
# The share of the way to the newest key frame's planes that a frame goes.
_TOWARDS = 0.2
# Another warp is far whose source lies so far from what is shown, in heights of
# the garment's photo, and better if its overlap is so much larger.
_FAR, _BETTER = 0.02, 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class State:
  """What is remembered from frame to frame.

  Attributes:
    number: of the last frame, from 1; 0: there was none.
    since: of the first frame of this scene: what was seen before is void.
    grey: the last frame, see `flow.reduce`.
    person: as seen in the last frame; None: nobody is tracked.
    joints: their smoothed joints.
    misses: frames in a row in which the person was not found.
    key: the newest key frame, or None.
    planes: (h, w, 12) float32, what is shown, in the key frame's place.
    to_key: where each pixel was in the key frame.
    pending: the number of a key frame that is being computed, or 0.
    to_pending: where each pixel was in that.
    from_pending: where each pixel of that was in `key`.
  """

  number: int = 0
  since: int = 0
  grey: np.ndarray | None = None
  person: Person | None = None
  joints: smoothing.Filter | None = None
  misses: int = 0
  key: Key | None = None
  planes: np.ndarray | None = None
  to_key: np.ndarray | None = None
  pending: int = 0
  to_pending: np.ndarray | None = None
  from_pending: np.ndarray | None = None

  @property
  def smoothed(self) -> Person | None:
    """The person with smoothed joints."""
    if self.person is None or self.joints is None:
      return None
    return tracking.with_joints(self.person, self.joints.values)


# ------------------------------------------------------------------- observe
def observe(
  state: State, frame: np.ndarray, *, time: float, pose: PoseEstimator
) -> State:
  """The state with the next frame: its flow, and the person in it.

  Args:
    state: after the last frame.
    frame: (H, W, 3) uint8 RGB; of another size everything begins anew.
    time: of the frame, in seconds.
    pose: finds people.
  """
  grey = flow.reduce(frame)
  number = state.number + 1
  if state.grey is None or state.grey.shape != grey.shape:
    return State(number=number, since=number, grey=grey)
  moved = flow.between(grey, state.grey)
  if flow.residual(grey, state.grey, moved) > _CUT:
    return State(number=number, since=number, grey=grey)
  state = dataclasses.replace(
    state,
    number=number,
    grey=grey,
    **{
      name: flow.carry(positions, moved)
      for name in ('to_key', 'to_pending')
      if (positions := getattr(state, name)) is not None
    },
  )
  if state.person is None:
    return state
  found = tracking.next_of(pose, frame, state.person)
  if found is None:
    misses = state.misses + 1
    if misses >= _MISSES:
      return State(number=number, since=number, grey=grey)
    return dataclasses.replace(state, misses=misses)
  return seen(state, found, time=time)


def seen(state: State, person: Person, *, time: float) -> State:
  """The state with a person who was found in its last frame."""
  joints = smoothing.smooth(
    state.joints,
    person.keypoints[:, :2],
    person.keypoints[:, 2] > 0,
    time=time,
    unit=tracking.torso_of(person),
  )
  return dataclasses.replace(state, person=person, joints=joints, misses=0)


# ---------------------------------------------------------------- key frames
def begin_key(
  state: State, frame: np.ndarray, *, parse: bool
) -> tuple[State, keys.Job]:
  """Makes the last frame a key frame.

  Args:
    state: with a tracked person.
    frame: the last one.
    parse: whether its labels are found anew; else they are carried.

  Returns:
    the state that waits for the key frame, and what is to be computed.
  """
  person = state.smoothed
  assert person is not None and state.grey is not None
  labels = None if parse else labels_of(state, frame.shape[:2])
  job = keys.Job(state.number, frame, person, labels)
  waiting = dataclasses.replace(
    state,
    pending=state.number,
    to_pending=flow.still(state.grey.shape),
    from_pending=state.to_key,
  )
  return waiting, job


def give_up_key(state: State) -> State:
  """The state after a key frame that came to nothing: nothing is shown."""
  return dataclasses.replace(
    state,
    key=None,
    planes=None,
    to_key=None,
    pending=0,
    to_pending=None,
    from_pending=None,
  )


def accept(state: State, key: Key) -> State:
  """The state with a computed key frame, if it still waits for that."""
  if key.number != state.pending:
    return state
  planes = key.planes
  if state.key and state.key.garment.name == key.garment.name:
    planes = _moved(state, key)
    key = _steady(key, planes)
  return dataclasses.replace(
    state,
    key=key,
    planes=planes,
    to_key=state.to_pending,
    pending=0,
    to_pending=None,
    from_pending=None,
  )


def _steady(key: Key, shown: np.ndarray) -> Key:
  """A key frame whose garment does not jump without need.

  The matching may find one of two different warps that fit alike, and another
  in the next key frame. Where the new one is far from what is shown, it is
  taken if it fits better.

  Args:
    key: the new key frame.
    shown: the planes that are shown, in its place.
  """
  inside = key.planes[..., keys.OPACITY] > 0.5
  apart = np.abs(key.planes[..., keys.SOURCE] - shown[..., keys.SOURCE])
  far = _FAR * key.cloth.shape[0]
  if not inside.any() or apart[inside].mean() < far:
    return key
  before, now = (_fit(key, x[..., keys.SOURCE]) for x in (shown, key.planes))
  if now > before + _BETTER:
    return key
  planes = key.planes.copy()
  planes[..., keys.SOURCE] = shown[..., keys.SOURCE]
  return dataclasses.replace(key, planes=planes)


def _fit(key: Key, source: np.ndarray) -> float:
  """How well a warp covers the garment's place: overlap, 0..1."""
  mask = key.garment.mask.astype(np.uint8)
  zoom = np.array(mask.shape[::-1], np.float32) / key.cloth.shape[1::-1]
  where = ((source + 0.5) * zoom - 0.5).astype(np.float32)
  covered = (
    flow.read(mask, where, how=cv2.INTER_NEAREST, outside=cv2.BORDER_CONSTANT)
    > 0
  )
  inside = key.planes[..., keys.OPACITY] > 0.5
  return float((covered & inside).sum() / max((covered | inside).sum(), 1))


def _moved(state: State, key: Key) -> np.ndarray:
  """What is shown, in the place of a new key frame."""
  old, shown, positions = state.key, state.planes, state.from_pending
  assert old is not None and shown is not None and positions is not None
  box, size = key.box, key.planes.shape[:2]
  zoom = np.array(positions.shape[1::-1]) / key.labels.shape[::-1]
  # Cells of the new box -> pixels of its reduced frame -> the old one's ->
  # cells of the old box.
  cells = flow.still(size) + np.float32(0.5)
  scale = np.array([box.width, box.height]) / size[::-1]
  there = (cells * scale + (box.left, box.top)) * zoom - 0.5
  there = flow.read(positions, there.astype(np.float32))
  there = _to_cells((there + 0.5) / zoom.astype(np.float32) - 0.5, old, size)
  moved = _read(shown, there)
  last = np.array(size[::-1]) - 1
  outside = np.any((there < 0) | (there > last), axis=-1)
  moved[outside] = key.planes[outside]
  if old.cloth.shape != key.cloth.shape:
    zoom = np.array(key.cloth.shape[1::-1]) / old.cloth.shape[1::-1]
    source = (moved[..., keys.SOURCE] + 0.5) * zoom - 0.5
    moved[..., keys.SOURCE] = np.where(
      outside[..., None], moved[..., keys.SOURCE], source
    )
  return moved


def _to_cells(
  positions: np.ndarray, key: Key, size: tuple[int, ...]
) -> np.ndarray:
  """Pixels of a key frame -> cells of its planes."""
  box = key.box
  scale = np.array([size[1] / box.width, size[0] / box.height], np.float32)
  corner = np.array([box.left, box.top], np.float32)
  return (positions + np.float32(0.5) - corner) * scale - np.float32(0.5)


def _read(planes: np.ndarray, where: np.ndarray) -> np.ndarray:
  """Planes at cells; OpenCV does four at a time."""
  parts = [
    flow.read(np.ascontiguousarray(planes[..., i : i + 4]), where)
    for i in range(0, planes.shape[-1], 4)
  ]
  return np.concatenate(parts, axis=-1)


def labels_of(state: State, size: tuple[int, ...]) -> np.ndarray:
  """(H, W) uint8 LIP-20 labels of the last frame, carried from the key frame.

  Args:
    state: with a key frame.
    size: (H, W) of the frame.
  """
  assert state.key is not None and state.to_key is not None
  whole = slice(0, size[0]), slice(0, size[1])
  return flow.read(
    state.key.labels,
    flow.enlarge(state.to_key, (size[0], size[1]), whole),
    how=cv2.INTER_NEAREST,
    outside=cv2.BORDER_CONSTANT,
  )


# ------------------------------------------------------------------- picture
def approach(state: State) -> State:
  """The state with its planes a step nearer to the key frame's."""
  if state.key is None or state.planes is state.key.planes:
    return state
  assert state.planes is not None
  step = _TOWARDS * (state.key.planes - state.planes)
  return dataclasses.replace(state, planes=state.planes + step)


def picture(state: State, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The last frame with the garment on.

  Args:
    state: after `observe` of this frame.
    frame: (H, W, 3) uint8 RGB.

  Returns:
    (H, W, 3) uint8, a new array; the frame itself where nothing changes. And
    (H, W) float32 in 0..1, where the new garment lies.
  """
  result, garment = frame.copy(), np.zeros(frame.shape[:2], np.float32)
  if state.key is None:
    return result, garment
  key, planes, positions = state.key, state.planes, state.to_key
  assert planes is not None and positions is not None
  size = frame.shape[0], frame.shape[1]
  window = _changed_window(planes, key, positions, size)
  if window is None:
    return result, garment
  cells = _to_cells(
    flow.enlarge(positions, size, window), key, planes.shape[:2]
  )
  masks = flow.read(
    np.ascontiguousarray(planes[..., :4]), cells, outside=cv2.BORDER_CONSTANT
  )
  free = 1 - flow.read(key.front, 2 * cells + np.float32(0.5)) / np.float32(255)
  steepness = 1.5 * key.box.height / planes.shape[0]
  hidden, opacity = (
    free * np.clip((masks[..., i] - 0.5) * steepness + 0.5, 0, 1)
    for i in (keys.HIDDEN, keys.OPACITY)
  )
  uncovered, coarse = (
    flow.read(np.rint(planes[..., part]).astype(np.uint8), cells)
    for part in (keys.UNCOVERED, keys.COARSE)
  )
  source = flow.read(np.ascontiguousarray(planes[..., keys.SOURCE]), cells)
  cloth = flow.read(key.cloth, source, how=cv2.INTER_CUBIC)
  texture, shading = masks[..., keys.TEXTURE], masks[..., keys.SHADING]
  lit = cv2.multiply(cloth, cv2.merge([shading] * 3), dtype=cv2.CV_8U)
  cloth = cv2.blendLinear(lit, coarse, texture, 1 - texture)
  part = np.ascontiguousarray(frame[window])
  behind = cv2.blendLinear(uncovered, part, hidden, 1 - hidden)
  made = cv2.blendLinear(cloth, behind, opacity, 1 - opacity)
  changed = (hidden > 0) | (opacity > 0)
  result[window] = np.where(changed[..., None], made, part)
  garment[window] = opacity
  return result, garment


def _changed_window(
  planes: np.ndarray,
  key: Key,
  positions: np.ndarray,
  size: tuple[int, int],
) -> tuple[slice, slice] | None:
  """Rows and columns of the frame in which anything changes."""
  height, width = positions.shape[:2]
  zoom = np.array([size[1] / width, size[0] / height], np.float32)
  cells = _to_cells(
    (positions + np.float32(0.5)) * zoom - np.float32(0.5),
    key,
    planes.shape[:2],
  )
  weight = np.maximum(planes[..., keys.HIDDEN], planes[..., keys.OPACITY])
  there = flow.read(weight, cells, outside=cv2.BORDER_CONSTANT)
  changed = there > 0.05
  spans = []
  for axis, scale, end in ((1, zoom[1], size[0]), (0, zoom[0], size[1])):
    at = np.flatnonzero(changed.any(axis=axis))
    if not len(at):
      return None
    first, last = int((at[0] - 1) * scale), int((at[-1] + 2) * scale) + 1
    spans.append(slice(max(first, 0), min(last, end)))
  return spans[0], spans[1]
