"""A garment's photo laid flat over the clothes: the real-time demo's `attach`.

No matching and no networks: it shows at once which garment is meant. The demo
of 2018 stretches the whole photo into the box of the worn clothes and paints
what is garment and not white.
"""

import cv2
import numpy as np

from viton_jax.errors import InputError
from viton_jax.io import images
from viton_jax.labels import DRESS_AND_COAT_LABELS, GARMENT_LABEL

_CLOTHES = (GARMENT_LABEL, *DRESS_AND_COAT_LABELS)


def attach(
  photo: np.ndarray,
  parse: np.ndarray,
  *,
  garment: np.ndarray,
  garment_mask: np.ndarray,
) -> np.ndarray:
  """Lays a garment over the box of what the person wears.

  Args:
    photo: (h, w, 3) uint8 RGB.
    parse: (h, w) uint8 LIP-20 labels of it; the box is that of the labels 5
      (upper clothes), 6 (dress) and 7 (coat).
    garment: (hg, wg, 3) uint8 RGB.
    garment_mask: (hg, wg) bool.

  Returns:
    (h, w, 3) uint8 RGB, a new array.

  Raises:
    InputError: the person wears none of these.
  """
  rows, columns = np.nonzero(np.isin(parse, _CLOTHES))
  if not len(rows):
    raise InputError(
      'no upper garment was found on the person; give another photo, or the '
      'labels with --parse FILE'
    )
  top, bottom = rows.min(), rows.max() + 1
  left, right = columns.min(), columns.max() + 1
  size = int(bottom - top), int(right - left)
  painted = garment_mask & (garment < 255).any(axis=-1)
  share = images.resize_area(painted.astype(np.float32), *size)[..., None]
  # Weighted by the mask, so that no background comes in at the rim.
  weighted = garment * painted[..., None].astype(np.float32)
  cloth = images.resize_area(weighted, *size) / np.maximum(share, 1e-3)
  result = photo.copy()
  box = result[top:bottom, left:right]
  mixed = box + share * (cloth - box)
  result[top:bottom, left:right] = cv2.convertScaleAbs(np.rint(mixed))
  return result
