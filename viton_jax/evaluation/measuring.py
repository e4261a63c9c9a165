"""Measures batches of pairs on the devices: figures, and features of pictures.

A pair's values must not depend on which pairs it is measured with, or a job in
other batches or shards would give other figures. So a batch goes through the
networks in parts of a fixed size, whatever --batch_size is: one pair on a CPU,
where matrix products round by their place in a batch.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8
import numpy as np

from viton_jax import metrics
from viton_jax.evaluation.networks import Networks, needed_by
from viton_jax.evaluation.protocols import Figure
from viton_jax.geometry import sampling_grid
from viton_jax.metrics import dists, inception, lpips, resize, structural, truth
from viton_jax.runtime import parallel

_PART = {'cpu': 1}  # Pairs that go through a network at once; others: 16.
_EQUAL_DB = 100.0  # PSNR of equal pictures, which is infinite.
# Classes.
_LOGITS = {'fid_inception': 1008, 'torchvision_inception': 1000}
_SMALLEST_MS_SSIM = 161  # Pixels a side, for five scales.

# Of pairs whose truth is known (drawn ones): what each is, and whether a higher
# value is better; None: 1 is right.
KNOWN_FIGURES: dict[str, tuple[str, bool | None]] = {
  'garment_l1': ('L1 inside the garment', False),
  'garment_ssim': ('SSIM inside the garment', True),
  'garment_lpips': ('LPIPS (alex) inside the garment', False),
  'inner_l1': ('L1 inside the garment eroded by 5 px: its texture', False),
  'inner_ssim': ('SSIM inside the garment eroded by 5 px', True),
  'inner_gradient_correlation': (
    'correlation of gradients there: is the pattern in its place?',
    True,
  ),
  'inner_energy_ratio': (
    'high-frequency energy there over the truth: below 1 is blurred',
    None,
  ),
  'colour_shift': ('distance of mean colours there, CIE Lab', False),
  'arms_l1': ('L1 of bare arms', False),
  'head_l1': ('L1 of the head', False),
  'kept_changed': ('share of pixels that should stay and do not', False),
  'kept_l1': ('L1 of pixels that should stay, against the photo', False),
  'mask_iou': ('intersection over union of the predicted mask', True),
  'boundary_f': ('F score of its boundary, within 2 px', True),
  'warped_lpips': ('LPIPS (alex) of the garment and its warp', False),
  'epe_mean': ('end-point error of the warp, mean in px', False),
  'epe_p95': ('end-point error of the warp, 95th percentile in px', False),
}


@dataclasses.dataclass(frozen=True)
class Column:
  """Features of one kind.

  Attributes:
    extractor: the network.
    prepared: how pictures are brought to it.
    tap: its layer; '' where it has one output.
    both: whether the truth's are needed too.
  """

  extractor: str
  prepared: Any
  tap: str
  both: bool


def columns_of(figures: Sequence[Figure]) -> tuple[Column, ...]:
  """The features that figures of sets need, each once."""
  needed = {}
  for figure in figures:
    if figure.extractor:
      key = (figure.extractor, figure.prepared, figure.tap)
      needed[key] = needed.get(key, False) or figure.kind != 'is'
  return tuple(
    Column(extractor, prepared, tap, both)
    for (extractor, prepared, tap), both in needed.items()
  )


def widths(columns: Sequence[Column]) -> list[int]:
  """How many features each column has."""
  return [
    _LOGITS[x.extractor] if not x.tap.isdecimal() else int(x.tap)
    for x in columns
  ]


def known_names(known: Sequence[str], networks: Networks) -> tuple[str, ...]:
  """Which of KNOWN_FIGURES what is known of pairs allows."""
  names = []
  if 'regions' in known:
    names += [
      name
      for name in KNOWN_FIGURES
      if name.startswith(('garment_', 'inner_', 'kept_'))
    ] + ['colour_shift', 'arms_l1', 'head_l1']
  if 'mask' in known:
    names += ['mask_iou', 'boundary_f', 'warped_lpips']
  if 'flow' in known:
    names += ['epe_mean', 'epe_p95']
  # Not `params`, which are given back before the report is written.
  if 'alex' not in networks.files:
    names = [name for name in names if 'lpips' not in name]
  return tuple(name for name in KNOWN_FIGURES if name in names)


def make_pairs_step(
  figures: Sequence[Figure], known: Sequence[str], networks: Networks
) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
  """A function of a batch that gives the figures of its pairs.

  Args:
    figures: of a protocol; those of sets are left out.
    known: see `reading.known_of`; () where only the protocol's count.
    networks: with the weights.

  Returns:
    takes result and truth (b, h, w, 3) uint8 and what is `known`; gives
    name -> (b,) float64, NaN where a pair has no such figure. It compiles for
    each (h, w).
  """
  of_pairs = [figure for figure in figures if figure.of_pairs]
  wanted = known_names(known, networks)
  nets = {needed_by(figure) for figure in of_pairs} | {'alex'}
  params = {x: networks.params[x] for x in nets if x in networks.params}

  def measure(params, part):
    values = {
      figure.name: _figure(figure, params, part['result'], part['truth'])
      for figure in of_pairs
    }
    if known:
      found = _known_figures(params, part, known)
      values |= {name: found[name] for name in wanted}
    return values

  return _in_parts(measure, params)


def make_features_step(
  columns: Sequence[Column], networks: Networks
) -> Callable[[UInt8[np.ndarray, 'b h w 3']], Float[np.ndarray, 'b d']]:
  """A function of pictures that gives their features, columns side by side."""
  params = {x: networks.params[x] for x in {y.extractor for y in columns}}
  prepared = dict.fromkeys((x.extractor, x.prepared) for x in columns)

  def extract(params, part):
    pictures = part['pictures']
    found = {}
    for extractor, how in prepared:
      taps = tuple(
        x.tap for x in columns if (x.extractor, x.prepared) == (extractor, how)
      )
      if extractor == 'torchvision_inception':
        logits = inception.torchvision_logits(
          params[extractor], pictures, protocol=how
        )
        found[extractor, how, ''] = logits
        continue
      each = inception.features(
        params[extractor], pictures, protocol=how, taps=taps
      )
      found |= {(extractor, how, tap): each[tap] for tap in taps}
    return [found[x.extractor, x.prepared, x.tap] for x in columns]

  step = _in_parts(extract, params)

  def run(pictures):
    return np.concatenate(step({'pictures': pictures}), axis=1)

  return run


def _in_parts(step: Callable, params: Any) -> Callable:
  """Compiles a step; batches go through it in parts of a fixed size."""
  size = _PART.get(jax.default_backend(), 16)
  params = jax.device_put(params)
  run = jax.jit(step)

  def call(batch):
    count = len(next(iter(batch.values())))
    batch = parallel.pad(batch, count + -count % size)
    # Nothing waits before the last part is handed over.
    parts = [
      run(params, {name: x[i : i + size] for name, x in batch.items()})
      for i in range(0, count, size)
    ]
    return jax.tree.map(
      lambda *x: np.concatenate([np.asarray(y) for y in x])[:count], *parts
    )

  return call


def _figure(figure: Figure, params, predictions, targets) -> Array:
  if figure.resize:
    predictions, targets = (
      resize.pillow(x, figure.resize, filter='bilinear')
      for x in (predictions, targets)
    )
  match figure.kind:
    case 'l1':
      return metrics.absolute_error(predictions, targets)
    case 'mse':
      return metrics.squared_error(predictions, targets, data_range=255)
    case 'psnr':
      found = metrics.psnr(predictions, targets, data_range=255)
      return jnp.minimum(found, _EQUAL_DB)
    case 'ssim':
      return structural.ssim(
        predictions,
        targets,
        data_range=255,
        options=structural.SSIM[figure.variant],
      )
    case 'ms_ssim':
      if min(predictions.shape[1:3]) < _SMALLEST_MS_SSIM:
        return jnp.full(predictions.shape[:1], jnp.nan)
      return structural.ms_ssim(
        predictions, targets, data_range=255, variant=figure.variant
      )
    case 'lpips':
      return lpips.lpips(
        params[figure.variant], predictions, targets, net=figure.variant
      )
    case 'dists':
      return dists.dists(params['dists'], predictions, targets)
  raise AssertionError(f'{figure.kind} is of no pair')


def _known_figures(params, part, known) -> dict[str, Float[Array, ' b']]:
  """All of KNOWN_FIGURES that there is something for."""
  result, true = part['result'], part['truth']
  garment = part['garment']
  found = truth.garment_figures(result, true, garment)
  found |= truth.outside_figures(result, part['person'], part['kept'])
  for name in ('arms', 'head'):
    found[f'{name}_l1'] = metrics.absolute_error(
      result, true, region=part[name].astype(jnp.float32)
    )
  has_alex = 'alex' in params
  if has_alex:
    found['garment_lpips'] = lpips.lpips(
      params['alex'], result, true, net='alex', region=garment
    )
  if 'mask' in known:
    found |= truth.mask_figures(part['mask'], garment)
    if has_alex:
      found['warped_lpips'] = lpips.lpips(
        params['alex'],
        result,
        part['warped'],
        net='alex',
        region=part['mask'],
      )
  if 'flow' in known:
    found |= _warp_errors(part, result.shape[1:3])
  return found


def _warp_errors(part, size) -> dict[str, Float[Array, ' b']]:
  # From the middle of the first pixel to that of the last.
  scale = jnp.asarray([(size[1] - 1) / 2, (size[0] - 1) / 2], jnp.float32)
  points = part['control_points']
  there = jnp.isfinite(points).all((1, 2))
  predicted = sampling_grid(
    jnp.where(there[:, None, None], points, 0.0),
    tuple(size),
    correction=part['correction'],
  )
  true = part['true_flow']
  region = jnp.isfinite(true).all(-1) & there[:, None, None]
  true = jnp.where(region[..., None], true, 0.0)
  # Only differences count, so where 0 lies is of no concern.
  return truth.flow_errors(
    predicted * scale[None, None, None],
    true * scale[None, None, None],
    region,
  )
