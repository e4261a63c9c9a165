"""What an appearance flow network adds to a warp, as the file of a step.

A 16-bit PNG of h / 4 x w / 4 pixels, see `TryOnBatch.correction`: red is x and
green y, from -1, 0, over 0, 32767, to 1, 65534.
"""

import numpy as np

from viton_jax.io import images

_HALF = 32767


def encode(correction: np.ndarray) -> bytes:
  """(h', w', 2) float32 as a file; what is beyond [-1, 1] is clipped."""
  levels = np.rint((np.clip(correction, -1, 1) + 1) * _HALF)
  blue = np.zeros((*levels.shape[:2], 1))
  return images.encode_png(np.dstack([levels, blue]).astype(np.uint16))


def decode(data: bytes, name: str) -> np.ndarray:
  """What `encode` wrote.

  Raises:
    InputError: not such a PNG; `name` is the file.
  """
  levels = images.decode_16_bits(
    data, name, remedy='corrections of warps are: run infer again'
  )
  return levels[..., :2].astype(np.float32) / _HALF - 1
