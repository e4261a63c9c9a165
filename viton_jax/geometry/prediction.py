"""Control points from the masks of a flat garment and of its predicted place.

The step between the two networks, on the host, with NumPy and SciPy alone: an
exported try-on, which has no OpenCV, matches by it too.
"""

from jaxtyping import Float, Shaped
import numpy as np

from viton_jax import choices
from viton_jax.geometry import contour, tps
from viton_jax.geometry.matching import (
  ORIGINAL_TEST_SIZE,
  MatchingError,
  fit_control_points,
)


def match(
  garment_mask: Shaped[np.ndarray, 'h w'],
  predicted_mask: Float[np.ndarray, 'h w'],
  *,
  fidelity: choices.Fidelity,
) -> tuple[Float[np.ndarray, '100 2'], str | None]:
  """Control points for one pair, or the regular grid and the reason why not.

  Args:
    garment_mask: (h, w) 0 or 1, of the flat garment.
    predicted_mask: (h, w) float32, as the encoder-decoder gives it.
    fidelity: 'fixed' or 'original'.

  Returns:
    (100, 2) float32, see `tps.warp_tps`, and None or a sentence.
  """
  options = {}
  if fidelity == 'original':
    # VITON matches smaller pictures here than when it prepares data. It takes
    # the nearest pixels of the garment's mask, but not of the predicted one.
    options['size'] = ORIGINAL_TEST_SIZE
    garment_mask = contour.resize_nearest(garment_mask, ORIGINAL_TEST_SIZE)
    predicted_mask = contour.resize_cubic(predicted_mask, ORIGINAL_TEST_SIZE)
  try:
    found = fit_control_points(
      garment_mask > 0, predicted_mask, fidelity=fidelity, **options
    )
    return found.points_norm, None
  except MatchingError as error:
    return no_points(), str(error)


def no_points() -> Float[np.ndarray, '100 2']:
  """(100, 2) float32: control points that leave the garment as it is."""
  return tps.regular_grid(10).astype(np.float32)
