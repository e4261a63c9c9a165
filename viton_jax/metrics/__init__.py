"""How near an image is to the true one, and a set of images to another.

Paired figures, one value for each example, (b,), so that sums and counts can be
added up over batches; on the device, float32:

    errors       L1, squared error, PSNR
    structural   SSIM and MS-SSIM, with every window and padding in use
    lpips, dists distances of networks' features
    truth        what the drawn set knows: inside the garment, outlines, flow
    methods      a try-on beside two simpler ways to make one

Figures of two sets, float64 on the host: `frechet`, `kernel_distance` and
`inception_score`, of features that `inception` computes. `resize` has the
resizing of every library that is compared with, `weights` reads the networks.
"""

from viton_jax.metrics.errors import (
  absolute_error,
  mean_inside,
  psnr,
  squared_error,
)
from viton_jax.metrics.methods import METHODS, METRICS, compare_methods
from viton_jax.metrics.structural import ms_ssim, ssim, ssim_map

__all__ = [
  'METHODS',
  'METRICS',
  'absolute_error',
  'compare_methods',
  'mean_inside',
  'ms_ssim',
  'psnr',
  'squared_error',
  'ssim',
  'ssim_map',
]
