"""How close try-ons come to the truth, against two plainer ways to make them.

    paste    the warped garment pasted wherever the predicted mask is at least
             1/2, on the coarse picture
    coarse   the encoder-decoder's picture alone
    result   the refined picture

L1 is the mean absolute difference in grey levels (0..255). SSIM has a Gaussian
window of 11 x 11 with sigma 1.5 and data range 255, the mean over RGB. Both
over the whole picture and over the garment's region in the true picture.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from viton_jax import metrics
from viton_jax.engine import TryOnBatch
from viton_jax.representation import to_uint8

METHODS = ('paste', 'coarse', 'result')
FIGURES = ('l1', 'ssim', 'garment_l1', 'garment_ssim')
_HEADINGS = ('L1', 'SSIM', 'L1, garment', 'SSIM, garment')


def compare(
  tried: TryOnBatch, truth: np.ndarray, region: np.ndarray
) -> list[dict[str, dict[str, float]]]:
  """Figures of every method for every pair.

  Args:
    tried: b try-ons of h x w.
    truth: (b, h, w, 3) uint8, the true pictures.
    region: (b, h, w) bool, where the true pictures show the garment.

  Returns:
    b times method -> figure -> value; NaN where a region is empty.
  """
  pasted = np.where(tried.mask >= 0.5, tried.warped, tried.coarse)
  pictures = dict(
    zip(METHODS, (pasted, tried.coarse, tried.output), strict=True)
  )
  values = {
    method: {
      name: np.asarray(value)
      for name, value in _compare(picture, truth, region).items()
    }
    for method, picture in pictures.items()
  }
  return [
    {
      method: {name: float(value[i]) for name, value in row.items()}
      for method, row in values.items()
    }
    for i in range(len(truth))
  ]


@jax.jit
def _compare(picture, truth, region):
  levels = to_uint8(picture)
  inside = region.astype(jnp.float32)
  ssim = functools.partial(metrics.ssim, levels, truth, data_range=255.0)
  return {
    'l1': metrics.l1(levels, truth),
    'ssim': ssim(),
    'garment_l1': metrics.l1(levels, truth, region=inside),
    'garment_ssim': ssim(region=inside),
  }


class Mean:
  """The mean over pairs of what `compare` gives, one pair after the other.

  Attributes:
    count: pairs so far.
  """

  def __init__(self):
    self.count = 0
    self._sums = {method: dict.fromkeys(FIGURES, 0.0) for method in METHODS}

  def add(self, pair: dict[str, dict[str, float]]) -> None:
    self.count += 1
    for method, row in self._sums.items():
      for name in row:
        row[name] += pair[method][name]

  def values(self) -> dict[str, dict[str, float]]:
    """Method -> figure -> mean; there must be a pair."""
    return {
      method: {name: total / self.count for name, total in row.items()}
      for method, row in self._sums.items()
    }


def table(means: dict[str, dict[str, float]]) -> str:
  """The means as plain text."""
  lines = [f'{"":8}' + ''.join(f'{heading:>15}' for heading in _HEADINGS)]
  for method, row in means.items():
    cells = (
      f'{row[name]:15.4f}' if 'ssim' in name else f'{row[name]:15.2f}'
      for name in FIGURES
    )
    lines.append(f'{method:8}' + ''.join(cells))
  return '\n'.join(lines)
