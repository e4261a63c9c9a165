"""The try-on at the size of the photos, where the networks see 256 x 192.

The networks say where the garment goes and how it blends; its pixels come from
the garment's photo itself, so that its pattern stays sharp however large the
photos are.
"""

import cv2
import numpy as np
from scipy import ndimage

from viton_jax import geometry


def warp_photo(
    photo: np.ndarray,
    control_points: np.ndarray,
    *,
    working_size: tuple[int, int],
    out_size: tuple[int, int],
) -> np.ndarray:
  """Warps a garment's photo into a person's frame of any size.

  The same map as `geometry.warp_tps` at the working size, whose pixels are
  parts of the photos' area: pixel centres lie at half-integers on both sides.

  Args:
    photo: (hg, wg, 3) uint8.
    control_points: (n * n, 2) x, y in [-1, 1], between the centres of the
      border pixels at the working size.
    working_size: (h, w) of both pictures for which those were made.
    out_size: (H, W).

  Returns:
    (H, W, 3) uint8; beyond the photo, its border repeated.
  """
  grid = np.asarray(
      geometry.sampling_grid(control_points[None], tuple(working_size))
  )[0]
  positions = cv2.resize(grid, out_size[::-1], interpolation=cv2.INTER_LINEAR)
  shrink = min(photo.shape[i] / out_size[i] for i in (0, 1))
  if shrink > 1.5:
    # Averaged down first: the warp reads 4 x 4 pixels and would skip others.
    photo = cv2.resize(
        photo, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA
    )
  source = []
  for i, (side, small) in enumerate(
      zip(photo.shape[1::-1], working_size[::-1], strict=True)
  ):
    small_px = (positions[..., i] + 1) * (small - 1) / 2
    source.append(((small_px + 0.5) * side / small - 0.5).astype(np.float32))
  return cv2.remap(
      photo, *source, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
  )


def spread_garment(photo: np.ndarray, garment_mask: np.ndarray) -> np.ndarray:
  """Gives the background of a garment's photo the nearest garment colours.

  A warp that reaches a little beyond the garment's outline then still finds
  cloth, and no light rim.

  Args:
    photo: (h, w, 3) uint8.
    garment_mask: (h, w) bool.
  """
  # Outlines are mixed with the background: colours come from further in.
  inner = cv2.erode(
      garment_mask.astype(np.uint8), np.ones((3, 3)), iterations=2
  ).astype(bool)
  if not inner.any():
    inner = garment_mask
  rows, columns = ndimage.distance_transform_edt(
      ~inner, return_distances=False, return_indices=True
  )
  return np.where(garment_mask[..., None], photo, photo[rows, columns])


def enlarge(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """(h, w) or (h, w, c) float32 -> (H, W[, c]), cubic, pixel centres kept."""
  return cv2.resize(
      np.asarray(values, np.float32), size[::-1], interpolation=cv2.INTER_CUBIC
  )


def smooth_region(labels: np.ndarray, wanted: tuple[int, ...]) -> np.ndarray:
  """(h, w) labels -> (h, w) float32 in [0, 1], soft over about a pixel."""
  region = np.isin(labels, wanted).astype(np.float32)
  return cv2.GaussianBlur(region, (0, 0), max(labels.shape[0] / 400, 0.6))
