"""Where each pixel of a frame was in an earlier one, by dense optical flow.

Positions are x, y in pixels of the reduced frame, with centres at integers.
"""

from typing import Any

import cv2
from jaxtyping import Float, UInt8
import numpy as np

Positions = Float[np.ndarray, 'h w 2']

# Rows of the frames between which flow is found.
HEIGHT = 256


def reduce(frame: UInt8[np.ndarray, 'H W 3']) -> UInt8[np.ndarray, 'h w']:
  """A frame as flow is found in: grey, at most `HEIGHT` rows."""
  height, width = frame.shape[:2]
  grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
  if height <= HEIGHT:
    return grey
  size = max(round(width * HEIGHT / height), 16), HEIGHT
  return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)


def between(
  now: UInt8[np.ndarray, 'h w'], before: UInt8[np.ndarray, 'h w']
) -> Positions:
  """Where each pixel of `now` was in `before`.

  References:
    Kroeger et al.: "Fast optical flow using dense inverse search", ECCV 2016.
  """
  # A new one each time: it keeps buffers that threads must not share.
  finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
  none: Any = None
  return still(now.shape) + finder.calc(now, before, none)


def still(size: tuple[int, ...]) -> Positions:
  """Positions in a frame of (h, w) that has not moved."""
  y, x = np.mgrid[: size[0], : size[1]]
  return np.stack([x, y], axis=-1).astype(np.float32)


def carry(positions: Positions, moved: Positions) -> Positions:
  """Positions in an earlier frame, one frame on.

  Args:
    positions: where each pixel of the last frame was in the earlier one.
    moved: where each pixel of this frame was in the last one.
  """
  return read(positions, moved)


def read(
  values: np.ndarray,
  where: Positions,
  *,
  how: int = cv2.INTER_LINEAR,
  outside: int = cv2.BORDER_REPLICATE,
) -> np.ndarray:
  """An image at positions.

  Args:
    values: (h', w') or (h', w', c), c <= 4.
    where: (h, w, 2) float32 x, y in its pixels.
    how: OpenCV's interpolation.
    outside: OpenCV's border; with BORDER_CONSTANT it is 0.

  Returns:
    (h, w) or (h, w, c).
  """
  none: Any = None  # OpenCV's types know no second map that is none.
  return cv2.remap(values, where, none, how, borderMode=outside)


def residual(
  now: UInt8[np.ndarray, 'h w'],
  before: UInt8[np.ndarray, 'h w'],
  moved: Positions,
) -> float:
  """Mean difference of a frame from the last one as flow has moved it."""
  return float(cv2.absdiff(now, read(before, moved)).mean())


def enlarge(
  positions: Positions,
  size: tuple[int, int],
  window: tuple[slice, slice],
) -> Positions:
  """Positions in pixels of the whole frame, for a part of it.

  Args:
    positions: in the reduced frame.
    size: (H, W) of the whole frame.
    window: rows and columns of it.
  """
  zoom = np.array(positions.shape[:2]) / size
  rows, columns = window
  shape = columns.stop - columns.start, rows.stop - rows.start
  start = np.array([rows.start, columns.start])
  top, left = (start + 0.5) * zoom - 0.5
  matrix = np.array([[zoom[1], 0, left], [0, zoom[0], top]])
  found = cv2.warpAffine(
    positions,
    matrix,
    shape,
    flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    borderMode=cv2.BORDER_REPLICATE,
  )
  scale = (1 / zoom[::-1]).astype(np.float32)
  return (found + np.float32(0.5)) * scale - np.float32(0.5)
