"""Figures that only somebody who knows the truth can measure.

Inside the garment, and inside it eroded by 5 pixels, where no outline is: L1
and SSIM reward blur there, which the gradients and the high frequencies show.
Outside of what may change, outlines, and where the garment was bent to.

Everything is (b,) float32, and NaN where a region is empty.
"""

import functools

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8
import numpy as np

from viton_jax.metrics.errors import absolute_error, mean_inside
from viton_jax.metrics.structural import ssim_map

_Array = Array | np.ndarray
EROSION_PX = 5
# Rec. 709, of sRGB as it is stored.
_LUMA = (0.2126, 0.7152, 0.0722)
_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
# IEC 61966-2-1, over the white of D65.
_XYZ = (
  (0.412453, 0.357580, 0.180423),
  (0.212671, 0.715160, 0.072169),
  (0.019334, 0.119193, 0.950227),
)
_WHITE = (0.95047, 1.0, 1.08883)


@jax.jit
def garment_figures(
  predictions: UInt8[_Array, 'b h w 3'],
  targets: UInt8[_Array, 'b h w 3'],
  garment: Bool[_Array, 'b h w'],
) -> dict[str, Float[Array, ' b']]:
  """How near the garment is to the true one.

  Args:
    predictions: (b, h, w, 3) RGB.
    targets: the same shape.
    garment: where the true images show the garment.

  Returns:
    'garment_l1', 'garment_ssim': over the region; L1 in grey levels;
    'inner_l1', 'inner_ssim': over it eroded by EROSION_PX, in both axes;
    'inner_gradient_correlation': of the luma's gradients there, in [-1, 1];
      NaN where the truth or the prediction is flat;
    'inner_energy_ratio': of high frequencies there, prediction over truth: 1
      is right, less is blurred;
    'colour_shift': CIE76 distance of the region's mean colours in Lab.
  """
  region = jnp.asarray(garment)
  inner = ~_dilated(~region, EROSION_PX)
  error = jnp.abs(_floats(predictions) - _floats(targets)).mean(axis=-1)
  similarity = ssim_map(predictions, targets, data_range=255)
  ours, theirs = _luma(predictions), _luma(targets)
  return {
    'garment_l1': mean_inside(error, region),
    'garment_ssim': mean_inside(similarity, region),
    'inner_l1': mean_inside(error, inner),
    'inner_ssim': mean_inside(similarity, inner),
    'inner_gradient_correlation': _gradient_correlation(ours, theirs, inner),
    'inner_energy_ratio': _energy(ours, inner) / _energy(theirs, inner),
    'colour_shift': _distance(
      _mean_colour(predictions, region) - _mean_colour(targets, region)
    ),
  }


@jax.jit
def outside_figures(
  predictions: UInt8[_Array, 'b h w 3'],
  photos: UInt8[_Array, 'b h w 3'],
  kept: Bool[_Array, 'b h w'],
) -> dict[str, Float[Array, ' b']]:
  """How much pixels changed that should have stayed.

  Args:
    predictions: (b, h, w, 3) RGB.
    photos: of the persons, the same shape.
    kept: which pixels should stay.

  Returns:
    'kept_changed': the share of them that differ at all; 'kept_l1': their mean
    absolute difference in grey levels.
  """
  region = jnp.asarray(kept)
  differs = (jnp.asarray(predictions) != jnp.asarray(photos)).any(axis=-1)
  return {
    'kept_changed': mean_inside(differs.astype(jnp.float32), region),
    'kept_l1': absolute_error(predictions, photos, region=region),
  }


@functools.partial(jax.jit, static_argnames='tolerance_px')
def mask_figures(
  predicted: Bool[_Array, 'b h w'],
  true: Bool[_Array, 'b h w'],
  *,
  tolerance_px: int = 2,
) -> dict[str, Float[Array, ' b']]:
  """How well a mask and its outline fit.

  Args:
    predicted: (b, h, w).
    true: the same shape.
    tolerance_px: how far apart two outlines may lie to count as one.

  Returns:
    'mask_iou': intersection over union; 'boundary_f': harmonic mean of the
    shares of each outline that lies near the other.

  References:
    Martin, Fowlkes and Malik, Learning to Detect Natural Image Boundaries,
    PAMI 26, 2004: boundary F.
  """
  masks = tuple(jnp.asarray(x) for x in (predicted, true))
  both = (masks[0] & masks[1]).sum(axis=(1, 2)).astype(jnp.float32)
  either = (masks[0] | masks[1]).sum(axis=(1, 2)).astype(jnp.float32)
  # The outline is of the mask and beside what is none.
  outlines = [x & _disk(~x, 1) for x in masks]
  near = [_disk(x, tolerance_px) for x in outlines]
  precision = mean_inside(near[1].astype(jnp.float32), outlines[0])
  recall = mean_inside(near[0].astype(jnp.float32), outlines[1])
  harmonic = 2 * precision * recall / (precision + recall)
  # Outlines that nowhere meet have 0, not 0 / 0, and a missing one too.
  apart = precision + recall == 0
  apart = apart | (jnp.isnan(precision) != jnp.isnan(recall))
  return {
    'mask_iou': both / either,
    'boundary_f': jnp.where(apart, 0.0, harmonic),
  }


@jax.jit
def flow_errors(
  predicted: Float[_Array, 'b h w 2'],
  true: Float[_Array, 'b h w 2'],
  region: Bool[_Array, 'b h w'],
) -> dict[str, Float[Array, ' b']]:
  """How far from its place the garment was taken, pixel by pixel.

  Args:
    predicted: x, y in the flat garment that each pixel shows, in pixels.
    true: the same.
    region: where both are known.

  Returns:
    'epe_mean' and 'epe_p95', the mean and 95th percentile of the end-point
    error over the region, in pixels.
  """
  inside = jnp.asarray(region)
  apart = _distance(_floats(predicted) - _floats(true))
  apart = jnp.where(inside, apart, 0.0)
  known = jnp.where(inside, apart, jnp.nan).reshape(len(apart), -1)
  return {
    'epe_mean': mean_inside(apart, inside),
    'epe_p95': jnp.nanpercentile(known, 95, axis=1),
  }


def _floats(x: _Array) -> Array:
  return jnp.asarray(x).astype(jnp.float32)


def _distance(difference: Array) -> Array:
  return jnp.sqrt(jnp.square(difference).sum(axis=-1))


def _luma(images: _Array) -> Array:
  return jnp.einsum(
    'bhwc,c->bhw',
    _floats(images),
    jnp.asarray(_LUMA, jnp.float32),
    precision=lax.Precision.HIGHEST,
  )


def _gradient_correlation(ours: Array, theirs: Array, region: Array) -> Array:
  x, y = (jnp.stack(_gradient(z), axis=-1) for z in (ours, theirs))
  product, own, other = (
    mean_inside((p * q).sum(axis=-1), region)
    for p, q in ((x, y), (x, x), (y, y))
  )
  return product / jnp.sqrt(own * other)


def _gradient(x: Array) -> tuple[Array, Array]:
  """Half the difference of both neighbours, 0 at the border."""
  inner = ((0, 0), (1, 1), (1, 1))
  right = (x[:, 1:-1, 2:] - x[:, 1:-1, :-2]) / 2
  down = (x[:, 2:, 1:-1] - x[:, :-2, 1:-1]) / 2
  return jnp.pad(right, inner), jnp.pad(down, inner)


def _energy(x: Array, region: Array) -> Array:
  """Mean square of what a binomial blur of 5 x 5 takes away."""
  radius = len(_BINOMIAL) // 2
  blurred = jnp.pad(
    x, ((0, 0), (radius, radius), (radius, radius)), mode='reflect'
  )
  for axis in (1, 2):
    size = blurred.shape[axis] - 2 * radius
    parts = [
      weight * lax.slice_in_dim(blurred, i, i + size, axis=axis)
      for i, weight in enumerate(_BINOMIAL)
    ]
    blurred = jnp.asarray(sum(parts))
  return mean_inside(jnp.square(x - blurred), region)


def _mean_colour(images: _Array, region: Array) -> Float[Array, 'b 3']:
  """The mean over a region of sRGB in CIE Lab."""
  level = _floats(images) / 255.0
  linear = jnp.where(
    level > 0.04045, ((level + 0.055) / 1.055) ** 2.4, level / 12.92
  )
  matrix = np.asarray(_XYZ) / np.asarray(_WHITE)[:, None]
  xyz = jnp.einsum(
    'bhwc,xc->bhwx',
    linear,
    jnp.asarray(matrix, jnp.float32),
    precision=lax.Precision.HIGHEST,
  )
  f = jnp.where(xyz > 0.008856, jnp.cbrt(xyz), 7.787 * xyz + 16 / 116)
  x, y, z = (mean_inside(f[..., i], region) for i in range(3))
  return jnp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _dilated(mask: Array, radius: int) -> Array:
  """Where any pixel of the square around is set."""
  size = 2 * radius + 1
  return lax.reduce_window(
    mask, np.False_, lax.bitwise_or, (1, size, size), (1, 1, 1), 'SAME'
  )


def _disk(mask: Array, radius: int) -> Array:
  """Where any pixel of the disk around is set."""
  padded = jnp.pad(mask, ((0, 0), (radius, radius), (radius, radius)))
  _, h, w = mask.shape
  found = jnp.zeros_like(mask)
  steps = range(-radius, radius + 1)
  for dy in steps:
    for dx in steps:
      if dx * dx + dy * dy <= radius * radius:
        top, left = radius + dy, radius + dx
        found = found | padded[:, top : top + h, left : left + w]
  return found
