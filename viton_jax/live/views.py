"""The six views of a live try-on: what it sees, knows and makes."""

import numpy as np

from viton_jax.errors import InputError
from viton_jax.io import images
from viton_jax.live import step
from viton_jax.live.engine import Shown
from viton_jax.live.garments import Garment
from viton_jax.perception.parsing import parsers
from viton_jax.perception.pose.keypoints import draw_people
from viton_jax.photo.attach import attach

VIEWS = ('input', 'pose', 'segmentation', 'try-on', 'attached', 'garment')
# Sides of the garment's photo are these of the frame.
_WHITE = 255


def draw(name: str, shown: Shown, garment: Garment | None) -> np.ndarray:
  """One of `VIEWS`, (H, W, 3) uint8 RGB of the frame's size.

  Where nothing is known of the person, or nothing is worn, it is the frame.

  Args:
    name: of the view.
    shown: a frame and what has become of it.
    garment: that is chosen, or None.
  """
  state, frame = shown.state, shown.frame
  if name == 'try-on':
    return shown.picture
  if name == 'pose' and (person := state.smoothed) is not None:
    return draw_people(frame, [person.keypoints])
  if name == 'garment':
    return _on_white(garment, frame.shape)
  if name in ('segmentation', 'attached') and state.key is not None:
    labels = step.labels_of(state, frame.shape[:2])
    if name == 'segmentation':
      return parsers.colour_labels(frame, labels)
    worn = state.key.garment
    try:
      return attach(frame, labels, garment=worn.photo, garment_mask=worn.mask)
    except InputError:  # Nothing that it could be laid over.
      return frame
  return frame


def _on_white(garment: Garment | None, shape: tuple[int, ...]) -> np.ndarray:
  """A garment's photo in the middle of a white image."""
  sheet = np.full(shape, _WHITE, np.uint8)
  if garment is None:
    return sheet
  photo = garment.photo
  zoom = min(shape[0] / photo.shape[0], shape[1] / photo.shape[1])
  height, width = (max(int(n * zoom), 1) for n in photo.shape[:2])
  top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
  sheet[top : top + height, left : left + width] = images.resize_area(
    photo, height, width
  )
  return sheet
