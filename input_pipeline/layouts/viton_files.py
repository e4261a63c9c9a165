"""Writes joints and labels as the original VITON's files have them.

And the true flow of drawn try-ons, which VITON has not.
"""

import io

import cv2
import numpy as np
import scipy.io

from viton_jax import flow_levels
from viton_jax.io import images

_SEGMENT_SIZE = 641
_SEGMENT_LONG_SIDE = 640


def pose_file(keypoints) -> bytes:
  """pose/*.mat of one person; see `pose_arrays`."""
  return _mat(pose_arrays(keypoints))


def segment_file(parse) -> bytes:
  """segment/*.mat of one photo; see `segment_array`."""
  return _mat({'segment': segment_array(parse)})


def pose_arrays(keypoints):
  """OpenPose's arrays for one person.

  Args:
    keypoints: float32 (18, 3), confidence 0 for a missing joint.

  Returns:
    dict of 'candidate' float64 (K, 4): x, y, score, id; and 'subset' float64
    (1, 20): an index into candidate or -1 per joint, total score, count.
  """
  found = np.flatnonzero(keypoints[:, 2] > 0)
  candidate = np.column_stack(
    [keypoints[found].astype(np.float64), np.arange(len(found))]
  )
  subset = np.full((1, 20), -1.0)
  subset[0, found] = np.arange(len(found))
  subset[0, 18] = candidate[:, 2].sum() + 0.9 * len(found)
  subset[0, 19] = len(found)
  return {'candidate': candidate, 'subset': subset}


def segment_array(parse):
  """Labels as VITON stores them.

  Args:
    parse: uint8 (h, w).

  Returns:
    float32 (641, 641), indexed [x, y]: the image with its longer side
    scaled to 640 (nearest) in the corner, the rest 0.
  """
  height, width = parse.shape
  scale = _SEGMENT_LONG_SIDE / max(height, width)
  size = (round(width * scale), round(height * scale))
  small = cv2.resize(parse, size, interpolation=cv2.INTER_NEAREST_EXACT)
  square = np.zeros((_SEGMENT_SIZE, _SEGMENT_SIZE), np.float32)
  square[: size[1], : size[0]] = small
  return np.ascontiguousarray(square.T)


def flow_file(flow_px, garment_size: tuple[int, int]) -> bytes:
  """truth/*_flow.png: where the garment's points lie on its photo.

  Args:
    flow_px: float32 (h, w, 2), x, y in pixels of the garment's photo, with
      centres at integers; NaN where the image does not show the garment.
    garment_size: (height, width) of that photo.

  Returns:
    a 16-bit RGB PNG, see `flow_levels`: x and y from the photo's first pixel,
    0, to its last, 65535, and 65535 where the flow is known.
  """
  ends = np.array([garment_size[1] - 1, garment_size[0] - 1], np.float64)
  return images.encode_png(flow_levels.encode(flow_px / ends * 2 - 1))


def decode_flow(data: bytes, name: str):
  """What `flow_file` wrote.

  Args:
    data: the file.
    name: its name in error messages.

  Returns:
    float32 (h, w, 2), x, y in [-1, 1] of the garment's photo, as
    `geometry.warp_tps` has them; NaN where the flow is not known.

  Raises:
    InputError: not such a PNG.
  """
  levels = images.decode_16_bits(
    data, name, remedy='known flows are: draw the data set again'
  )
  flow, known = flow_levels.decode(levels)
  return np.where(known[..., None], flow, np.float32(np.nan))


def _mat(arrays) -> bytes:
  buffer = io.BytesIO()
  scipy.io.savemat(buffer, arrays, do_compression=True)
  # The header's text holds the time of writing; ours must not.
  text = b'MATLAB 5.0 MAT-file, synthetic try-on data'.ljust(116)
  return text + buffer.getvalue()[116:]
