"""Weighs where the body parser expects a part against the part's colours.

The network knows where hems and cuffs usually are; a photo's colours tell where
they really are. Each kind of part learns its colours from the pixels that the
network gives it, and takes pixels of those colours from its neighbours, as in
GrabCut, but with the network's probabilities in place of seeds.

References:
  Rother, Kolmogorov, Blake: "GrabCut", SIGGRAPH 2004.
"""

import cv2
from jaxtyping import Float, UInt8
import numpy as np
from scipy import ndimage

from viton_jax.perception.parsing.body_classes import CLASS_LABELS

# What shares its colours: hair, all skin, trousers and skirt, both shoes.
_BACKGROUND, _HAIR, _SKIN, _UPPER, _LOWER, _SHOES = range(6)
_KIND_OF_LABEL = {0: _BACKGROUND, 2: _HAIR, 5: _UPPER, 9: _LOWER, 12: _LOWER,
                  18: _SHOES, 19: _SHOES}  # fmt: skip
_KIND = np.array([_KIND_OF_LABEL.get(label, _SKIN) for label in CLASS_LABELS])
_KINDS, _FACE = 6, CLASS_LABELS.index(13)
# Of a histogram of L*a*b*: 16 steps a channel, blurred by this many steps.
_BINS, _BLUR = 16, 0.7
# A kind with fewer cells has no colours of its own.
_LEAST_CELLS = 25
# Colours count no more than this against the place, in nats; the network's
# probabilities, which are too sure of themselves, are taken to this power.
_MOST, _POWER = 3.0, 0.6
# Backgrounds hold many colours, also those of the person.
_BACKGROUND_WEIGHT = 0.5
_ROUNDS = 3


def weigh_colours(
  shares: Float[np.ndarray, 'h w c'], image: UInt8[np.ndarray, 'h w 3']
) -> Float[np.ndarray, 'h w c']:
  """Probabilities by place and colour.

  Args:
    shares: the network's probabilities of its classes.
    image: RGB, the photo at the size of `shares`.

  Returns:
    float32, adding up to 1; between classes of one kind (skin of arms and face)
    the network alone decides.
  """
  bins = _colour_bins(image)
  kinds = np.stack(
    [shares[..., k == _KIND].sum(axis=-1).ravel() for k in range(_KINDS)]
  )
  prior = (kinds + 1e-6) ** _POWER
  prior /= prior.sum(axis=0)
  # Skin is learnt from the face, where there is enough of it: sleeves that the
  # network takes for bare arms would else teach it their colour.
  seen = np.ones_like(kinds)
  face = shares[..., _FACE].ravel()
  if face.sum() >= _LEAST_CELLS:
    seen[_SKIN] = face / (kinds[_SKIN] + 1e-9)
  belief = prior
  for _ in range(_ROUNDS):
    belief = prior * np.exp(_evidence(belief * seen, bins))
    belief /= belief.sum(axis=0)
  within = shares / (kinds + 1e-9).T.reshape(*shares.shape[:2], -1)[..., _KIND]
  belief = belief.T.reshape(*shares.shape[:2], -1)
  return (within * belief[..., _KIND]).astype(np.float32)


def _colour_bins(image: np.ndarray) -> np.ndarray:
  """The histogram's cell of each pixel, (h w,) int."""
  lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(int)
  # OpenCV's 8-bit a and b lie around 128; few colours are 64 from it.
  light = lab[..., 0] * _BINS // 256
  first, second = (
    ((lab[..., 1:] - 64) * _BINS // 128).clip(0, _BINS - 1).transpose(2, 0, 1)
  )
  return ((light * _BINS + first) * _BINS + second).ravel()


def _evidence(belief: np.ndarray, bins: np.ndarray) -> np.ndarray:
  """How much a pixel's colour speaks for each kind, in nats.

  Args:
    belief: (kinds, h w), how much each pixel teaches each kind.
    bins: see `_colour_bins`.

  Returns:
    (kinds, h w).
  """
  evidence = np.zeros_like(belief)
  known, densities = [], []
  for kind, weights in enumerate(belief):
    total = weights.sum()
    if total < _LEAST_CELLS:
      continue
    counts = np.bincount(bins, weights, minlength=_BINS**3)
    smooth = ndimage.gaussian_filter(
      counts.reshape((_BINS,) * 3), _BLUR, mode='constant'
    )
    # As if every colour had been seen a thousandth of a time.
    density = (smooth + 1e-3) / (total + 1e-3 * _BINS**3)
    known.append(kind)
    densities.append(density.ravel()[bins])
  if known:
    found = np.log(densities) - np.log(np.mean(densities, axis=0))
    evidence[known] = found.clip(-_MOST, _MOST)
  evidence[_BACKGROUND] *= _BACKGROUND_WEIGHT
  return evidence
