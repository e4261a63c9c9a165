"""The try-on at the size of the photos, where the networks see 256 x 192.

The networks say where the garment goes and how it blends; its pixels come from
the garment's photo itself, so that its pattern stays sharp however large the
photos are.
"""

from collections.abc import Callable
import dataclasses
import functools
import os
import pathlib

import cv2
import numpy as np
from scipy import ndimage

from input_pipeline.sample import Sample, working_example
from viton_jax import geometry
from viton_jax.errors import InputError
from viton_jax.geometry import prediction
from viton_jax.io import contact_sheets
from viton_jax.labels import GARMENT_LABEL
from viton_jax.serving import artifact

PASTE_SIZE = (256, 192)
# Grey levels within which a colour may be the background's, and how far from
# the outline, as a part of the photo's shorter side, it is taken for that.
_LIKE_PAPER = 25
_GAP = 0.06


@dataclasses.dataclass(frozen=True)
class Dressed:
  """A person at the size of the photo.

  Attributes:
    picture: (h, w, 3) uint8.
    changed: (h, w) bool, where it is dressed or undressed.
    steps: pictures on the way to it, (h', w', 3) uint8, by name.
  """

  picture: np.ndarray
  changed: np.ndarray
  steps: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Networks:
  """Both networks, ready to dress one person.

  Attributes:
    size: (h, w) at work.
    dress: Sample -> Dressed; raises InputError where it cannot be matched.
  """

  size: tuple[int, int]
  dress: Callable[[Sample], Dressed]


def load_networks(
  checkpoint: str | os.PathLike,
  refine_checkpoint: str | os.PathLike | None = None,
) -> Networks:
  """Loads both networks from any of the places where they lie together.

  Args:
    checkpoint: a folder with workdirs stage1/ and stage2/, as the demo leaves
      it; a folder that `viton_jax.convert` or `viton_jax.export` wrote; or an
      encoder-decoder.
    refine_checkpoint: the refinement network where it lies elsewhere.

  Raises:
    InputError: see `try_on_batch.make_try_on`.
  """
  from viton_jax import engine  # Not for those who only paste.

  folder = pathlib.Path(checkpoint)
  if (folder / artifact.MANIFEST).is_file():
    exported = artifact.load(folder, max_batch=1)
    return _networks(functools.partial(_run_exported, exported), exported)
  if refine_checkpoint is None and (folder / 'stage2').is_dir():
    checkpoint, refine_checkpoint = folder / 'stage1', folder / 'stage2'
  first, run = engine.make_try_on(
    checkpoint, refine_checkpoint or checkpoint, workers=1
  )
  return _networks(run, first)


def _networks(run, trained) -> Networks:
  dress = functools.partial(
    _dress, run=run, working=trained.size, fidelity=trained.fidelity
  )
  return Networks(trained.size, dress)


def _run_exported(exported, batch):
  """As `make_try_on`, of an exported try-on, whose pictures are uint8."""
  tried = exported({name: batch[name] for name in exported.manifest['inputs']})
  as_norm = {
    name: getattr(tried, name) / np.float32(127.5) - 1
    for name in ('coarse', 'warped', 'output')
  }
  as_share = {
    name: getattr(tried, name) / np.float32(255) for name in ('mask', 'alpha')
  }
  return dataclasses.replace(tried, **as_norm, **as_share)


def _dress(sample: Sample, *, run, working, fidelity) -> Dressed:
  """The networks' try-on, enlarged, with the garment at its own sharpness."""
  height, width = working
  example = working_example(
    sample, height=height, width=width, fidelity=fidelity
  )
  batch = {
    name: value[None]
    for name, value in example.items()
    if isinstance(value, np.ndarray)
  }
  tried = run(batch)
  if tried.failures[0]:
    raise InputError(f'{sample.name}: {tried.failures[0]}')
  size = sample.parse.shape
  warped = warp_photo(
    spread_garment(sample.garment, sample.garment_mask),
    tried.control_points[0],
    working_size=working,
    out_size=size,
  )
  coarse = enlarge((tried.coarse[0] + 1) * 127.5, size).clip(0, 255)
  alpha = enlarge(tried.alpha[0][..., 0], size).clip(0, 1)
  mask = enlarge(tried.mask[0][..., 0], size)
  picture = coarse + alpha[..., None] * (warped - coarse)
  return Dressed(
    picture=np.rint(picture).astype(np.uint8),
    changed=(sample.parse == GARMENT_LABEL) | (mask > 0.5),
    steps={
      'coarse': contact_sheets.to_rgb(tried.coarse[0], (-1, 1)),
      'mask': contact_sheets.to_rgb(tried.mask[0], (0, 1)),
      'warped': warped,
      'alpha': contact_sheets.to_rgb(tried.alpha[0], (0, 1)),
      'composed': np.rint(picture).astype(np.uint8),
    },
  )


def paste(sample: Sample) -> Dressed:
  """The garment, bent onto the one that the person wears."""
  height, width = PASTE_SIZE
  example = working_example(
    sample, height=height, width=width, fidelity='fixed'
  )
  worn = (example['parse'] == GARMENT_LABEL).astype(np.float32)
  points, reason = prediction.match(
    example['garment_mask'], worn, fidelity='fixed'
  )
  if reason:
    raise InputError(f'{sample.name}: {reason}')
  size = sample.parse.shape
  warped = warp_photo(
    spread_garment(sample.garment, sample.garment_mask),
    points,
    working_size=PASTE_SIZE,
    out_size=size,
  )
  share = smooth_region(sample.parse, (GARMENT_LABEL,))[..., None]
  picture = sample.person + share * (warped.astype(np.float32) - sample.person)
  return Dressed(
    picture=np.rint(picture).astype(np.uint8),
    changed=sample.parse == GARMENT_LABEL,
    steps={'warped': warped},
  )


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
  # Outlines are mixed with the background, and a mask may bridge the gap
  # between a sleeve and the body: colours come from further in.
  inner = _eroded(garment_mask, 2)
  if not garment_mask.all():
    paper = np.median(photo[~garment_mask], axis=0)
    like_paper = np.abs(photo - paper).max(axis=-1) < _LIKE_PAPER
    reach = max(round(_GAP * min(garment_mask.shape)), 1)
    inner &= ~like_paper | _eroded(garment_mask, reach)
  if not inner.any():
    inner = garment_mask
  rows, columns = ndimage.distance_transform_edt(
    ~inner, return_distances=False, return_indices=True
  )
  return photo[rows, columns]


def _eroded(mask: np.ndarray, times: int) -> np.ndarray:
  kernel = np.ones((3, 3), np.uint8)
  return cv2.erode(mask.astype(np.uint8), kernel, iterations=times) > 0


def enlarge(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """(h, w) or (h, w, c) float32 -> (H, W[, c]), cubic, pixel centres kept."""
  return cv2.resize(
    np.asarray(values, np.float32), size[::-1], interpolation=cv2.INTER_CUBIC
  )


def smooth_region(labels: np.ndarray, wanted: tuple[int, ...]) -> np.ndarray:
  """(h, w) labels -> (h, w) float32 in [0, 1], soft over about a pixel."""
  region = np.isin(labels, wanted).astype(np.float32)
  return cv2.GaussianBlur(region, (0, 0), max(labels.shape[0] / 400, 0.6))
