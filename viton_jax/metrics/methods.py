"""A try-on beside two simpler ways to make one, measured against the truth.

paste    the warped garment pasted wherever the predicted mask is at least
         1/2, on the coarse image
coarse   the encoder-decoder's image alone
whole    VITON's image: coarse and warped garment, mixed by the refinement
result   what is shown: unless composed whole, the photo where nothing
         changes
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8
import numpy as np

from viton_jax.metrics.errors import absolute_error
from viton_jax.metrics.structural import ssim
from viton_jax.representation import to_uint8

METHODS = ('paste', 'coarse', 'whole', 'result')
METRICS = ('l1', 'ssim', 'garment_l1', 'garment_ssim')


def compare_methods(
  *,
  output: Float[np.ndarray, 'b h w 3'],
  coarse: Float[np.ndarray, 'b h w 3'],
  warped: Float[np.ndarray, 'b h w 3'],
  mask: Float[np.ndarray, 'b h w 1'],
  alpha: Float[np.ndarray, 'b h w 1'],
  truth: UInt8[np.ndarray, 'b h w 3'],
  region: Bool[np.ndarray, 'b h w'],
) -> list[dict[str, dict[str, float]]]:
  """Metrics of every method for every pair.

  L1 is in grey levels (0..255), SSIM has data range 255; both over the whole
  image and over the garment's region in the true image.

  Args:
    output: (b, h, w, 3) in [-1, 1], the try-on.
    coarse: (b, h, w, 3) in [-1, 1].
    warped: (b, h, w, 3) in [-1, 1].
    mask: (b, h, w, 1) in [0, 1].
    alpha: (b, h, w, 1), how much of `warped` the refinement shows.
    truth: (b, h, w, 3) uint8, the true images.
    region: (b, h, w) bool, where the true images show the garment.

  Returns:
    b times method -> metric -> value; NaN where a region is empty.
  """
  pasted = np.where(mask >= 0.5, warped, coarse)
  whole = coarse + alpha * (warped - coarse)
  tried = pasted, coarse, whole, output
  values = {
    method: jax.tree.map(np.asarray, _compare(images, truth, region))
    for method, images in zip(METHODS, tried, strict=True)
  }
  return [
    {
      method: {name: float(value[i]) for name, value in row.items()}
      for method, row in values.items()
    }
    for i in range(len(truth))
  ]


@jax.jit
def _compare(images: Array, truth: Array, region: Array):
  levels = to_uint8(images)
  inside = region.astype(jnp.float32)
  of_ssim = functools.partial(ssim, levels, truth, data_range=255.0)
  return {
    'l1': absolute_error(levels, truth),
    'ssim': of_ssim(),
    'garment_l1': absolute_error(levels, truth, region=inside),
    'garment_ssim': of_ssim(region=inside),
  }
