"""IS: how sure and how varied the classes of images are, as libraries split it.

The same logits give 7.5 to 10.1: the mean over ten splits is smaller than the
value of all, and each library cuts elsewhere:

    torch-fidelity  ten parts of equal size but for rounding, after a shuffle
                    with seed 2020
    openai          the same parts in order
    sbarratt        parts of n // splits; the rest is dropped
    torchmetrics    parts of ceil(n / splits), the last smaller; after a shuffle
                    without a seed

References:
  Salimans, Goodfellow, Zaremba, Cheung, Radford and Chen, Improved Techniques
  for Training GANs, NeurIPS 2016, section 4.
"""

from typing import Literal

from jaxtyping import Float
import numpy as np
from scipy import special

from viton_jax.errors import InputError

Variant = Literal['torch-fidelity', 'openai', 'sbarratt', 'torchmetrics']


def inception_score(
  logits: Float[np.ndarray, 'n k'],
  *,
  variant: Variant = 'torch-fidelity',
  splits: int = 10,
  shuffle_seed: int | None = None,
) -> tuple[float, float]:
  """Mean and standard deviation over splits, float64.

  Args:
    logits: (n, k), of which image does not matter.
    variant: how they are cut.
    splits: how many parts.
    shuffle_seed: shuffle the rows before, as torch-fidelity does with 2020.

  Returns:
    the mean, and the standard deviation; torchmetrics' has n - 1 in its
    denominator, and is NaN of one part.

  Raises:
    InputError: fewer rows than splits.
  """
  count = len(logits)
  if not 1 <= splits <= count:
    raise InputError(
      f'{count} pictures cannot be cut into {splits} parts for IS; give fewer '
      'splits'
    )
  rows = np.asarray(logits, np.float64)
  if shuffle_seed is not None:
    rows = rows[np.random.RandomState(shuffle_seed).permutation(count)]
  scores = [_score(rows[part]) for part in _parts(count, splits, variant)]
  if variant != 'torchmetrics':
    return float(np.mean(scores)), float(np.std(scores))
  spread = np.std(scores, ddof=1) if len(scores) > 1 else np.nan
  return float(np.mean(scores)), float(spread)


def _parts(count: int, splits: int, variant: Variant) -> list[slice]:
  if variant in ('torch-fidelity', 'openai'):
    bounds = [i * count // splits for i in range(splits + 1)]
  elif variant == 'sbarratt':
    bounds = [i * (count // splits) for i in range(splits + 1)]
  else:
    bounds = [*range(0, count, -(-count // splits)), count]
  return [slice(*x) for x in zip(bounds, bounds[1:], strict=False)]


def _score(rows: np.ndarray) -> float:
  log_p = special.log_softmax(rows, axis=1)
  log_mean = special.logsumexp(log_p, axis=0) - np.log(len(rows))
  divergence = (np.exp(log_p) * (log_p - log_mean)).sum(axis=1)
  return float(np.exp(divergence.mean()))
