"""The try-on at the size of the photos, where the networks see 256 x 192.

The networks say where the garment goes and how it blends; its pixels come from
the garment's photo itself, so that its pattern stays sharp however large the
photos are.
"""

import dataclasses

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from input_pipeline.sample import Sample, working_example
from viton_jax import composition, engine, geometry, networks
from viton_jax.errors import InputError
from viton_jax.geometry import prediction
from viton_jax.labels import FACE, GARMENT_LABEL, HEAD_LABELS
from viton_jax.representation import to_uint8

PASTE_SIZE = (256, 192)
# Of masks at the working size, before they are enlarged.
_SMOOTH_PX = 1.2
LAYERS = tuple(field.name for field in dataclasses.fields(composition.Layers))
# Grey levels within which a colour may be the background's, at the ends of gaps
# beside sleeves and elsewhere; and as parts of a photo's shorter side how wide
# such gaps are, how far a mask may bridge them, and how far both are mixed.
_LIKE_PAPER, _PAPER = 20, 6
_GAP = 0.02
_END = 0.06
_RIM = 0.01
# Of the height: less of a garment over a face is an error of its outline.
_OUTLINE = 3 / 256


@dataclasses.dataclass(frozen=True)
class Composition:
  """A try-on at the size of the photo.

  Attributes:
    image: (h, w, 3) uint8.
    changed: (h, w) bool; everywhere else `image` is the photo itself.
    steps: images of each step, (h', w', 3) uint8, by name.
  """

  image: np.ndarray
  changed: np.ndarray
  steps: dict[str, np.ndarray]


def compose(sample: Sample, try_on: engine.TryOn) -> Composition:
  """The networks' try-on, enlarged, with the garment at its own sharpness.

  Args:
    sample: person and garment.
    try_on: what `networks.load` returns.

  Raises:
    InputError: the garment cannot be matched.
  """
  example = network_example(sample, try_on)
  batch = {name: value[None] for name, value in example.items()}
  return compose_tried(sample, try_on(batch), 0)


def network_example(
  sample: Sample, try_on: engine.TryOn | networks.Halves
) -> dict[str, np.ndarray]:
  """The arrays of a pair that `try_on` takes, without the batch axis."""
  height, width = try_on.size
  example = working_example(
    sample, height=height, width=width, fidelity=try_on.fidelity
  )
  return {
    name: value
    for name, value in example.items()
    if isinstance(value, np.ndarray)
  }


def compose_tried(
  sample: Sample,
  tried: engine.TryOnBatch,
  index: int,
) -> Composition:
  """One pair of the networks' batch, put together at the size of its photo.

  Args:
    sample: person and garment.
    tried: the batch.
    index: of the pair in the batch.

  Raises:
    InputError: the garment cannot be matched.
  """
  reason = tried.failures[index]
  if reason:
    raise InputError(f'{sample.name}: {reason}')
  layers = composition.Layers(
    **{name: getattr(tried, name)[index] for name in LAYERS}
  )
  # As `Layers` has them: in 0..1, so that 0 is black.
  layers = dataclasses.replace(layers, uncovered=(layers.uncovered + 1) / 2)
  composed = put_together(
    sample,
    layers,
    coarse=(tried.coarse[index] + 1) / 2,
    positions=warp_positions(
      tried.control_points[index],
      (layers.opacity.shape[0], layers.opacity.shape[1]),
      tried.correction[index],
    ),
  )
  return dataclasses.replace(
    composed,
    steps={
      'coarse': to_uint8(tried.coarse[index]),
      'mask': gray(tried.mask[index, ..., 0]),
      'alpha': gray(tried.alpha[index, ..., 0]),
      **composed.steps,
    },
  )


def paste(sample: Sample) -> Composition:
  """The garment, warped onto the one that the person wears.

  With the sleeves of its own: where they are shorter, the arms are the
  person's skin; where they are longer, they follow the arms.

  Args:
    sample: person and garment.

  Raises:
    InputError: the garment cannot be matched.
  """
  layers, points = paste_layers(sample)
  positions = warp_positions(points, PASTE_SIZE)
  return put_together(sample, layers, coarse=None, positions=positions)


def paste_layers(sample: Sample) -> tuple[composition.Layers, np.ndarray]:
  """The layers of `paste` (h, w, c) in 0..1, and the control points.

  Args:
    sample: person and garment.

  Raises:
    InputError: the garment cannot be matched.
  """
  height, width = PASTE_SIZE
  example = working_example(
    sample, height=height, width=width, fidelity='fixed'
  )
  batch = {
    name: value[None]
    for name, value in example.items()
    if isinstance(value, np.ndarray)
  }
  person = batch['person'].astype(np.float32) / 255
  regions, uncovered = _paste_regions(
    person, *(batch[x] for x in ('parse', 'keypoints', 'garment_mask'))
  )
  worn = np.asarray(regions.garment)[0].astype(np.float32)
  points, reason = prediction.match(
    example['garment_mask'], worn, fidelity='fixed'
  )
  if reason:
    raise InputError(f'{sample.name}: {reason}')
  ones = np.ones((*PASTE_SIZE, 1), np.float32)
  layers = composition.Layers(
    hidden=np.asarray(regions.hidden)[0, ..., None].astype(np.float32),
    uncovered=np.asarray(uncovered)[0],
    opacity=worn[..., None],
    texture=ones,
    shading=ones,
  )
  return layers, points


@jax.jit
def _paste_regions(person, parse, keypoints, garment_mask):
  regions = composition.find_regions(
    parse,
    keypoints,
    mask=(parse == GARMENT_LABEL).astype(jnp.float32),
    garment_mask=garment_mask,
  )
  return regions, composition.uncover(person, parse, regions)


def put_together(
  sample: Sample,
  layers: composition.Layers,
  *,
  coarse: np.ndarray | None,
  positions: np.ndarray,
) -> Composition:
  """The layers, enlarged, with the garment at its own sharpness.

  Args:
    sample: person and garment.
    layers: (h, w, c) each, at the working size.
    coarse: (h, w, 3) in 0..1; None where `layers.texture` is 1.
    positions: (h, w, 2), see `warp_positions`.
  """
  assert sample.garment_mask is not None  # Photos come with one.
  size = sample.parse.shape
  warped = warp_photo(
    spread_garment(sample.garment, sample.garment_mask),
    positions,
    out_size=size,
  )
  large = {}
  for field in dataclasses.fields(layers):
    value = np.asarray(getattr(layers, field.name), np.float32)
    if field.name in ('hidden', 'opacity'):
      value = sharpened(value[..., 0], size)
    else:
      value = enlarge(value, size)
    large[field.name] = value
  layers = composition.Layers(
    **{
      name: value if value.ndim == 3 else value[..., None]
      for name, value in large.items()
    }
  )
  photo = sample.person.astype(np.float32) / 255
  cloth = warped.astype(np.float32) / 255
  base = cloth if coarse is None else enlarge(coarse, size)
  image = composition.compose(photo, base, cloth, layers=layers)
  image = to_uint8(image.astype(np.float32), (0, 1))
  changed = np.maximum(layers.hidden, layers.opacity)[..., 0] > 0
  if coarse is None or not changed.all():  # Not VITON's own, whole image.
    changed &= ~in_front(sample.parse, np.asarray(layers.opacity)[..., 0])
    image[~changed] = sample.person[~changed]
  return Composition(
    image=image,
    changed=changed,
    steps={'warped': warped, 'composed': image},
  )


def in_front(parse: np.ndarray, opacity: np.ndarray) -> np.ndarray:
  """Where the head is before everything, (h, w) bool.

  High collars cover the neck, which parsers take for the face; the outline of
  an enlarged opacity, which is not exact, covers nothing.

  Args:
    parse: (h, w) LIP-20 labels.
    opacity: (h, w) float32 in 0..1, of the new garment.
  """
  covered = ((parse == FACE) & (opacity > 0.5)).astype(np.uint8)
  disk = _disk(_OUTLINE * len(parse))
  covered = cv2.morphologyEx(covered, cv2.MORPH_OPEN, disk) > 0
  return np.isin(parse, HEAD_LABELS) & ~covered


def warp_positions(
  control_points: np.ndarray,
  size: tuple[int, int],
  correction: np.ndarray | None = None,
) -> np.ndarray:
  """Where in the garment's photo each pixel at work comes from.

  Args:
    control_points: (n * n, 2), see `geometry.warp_tps`.
    size: (h, w) of both images at work.
    correction: (h', w', 2), see `geometry.warp_tps`.

  Returns:
    (h, w, 2) float32 x, y, parts of the photo's sides: its pixels' areas span
    0 to 1, while [-1, 1] lies between the centres of the border pixels at work.
  """
  grid = geometry.sampling_grid(
    jnp.asarray(control_points[None]),
    size,
    correction=None if correction is None else jnp.asarray(correction[None]),
  )
  small = np.array(size[::-1], np.float32)
  return ((np.asarray(grid)[0] + 1) * (small - 1) / 2 + 0.5) / small


def warp_photo(
  photo: np.ndarray, positions: np.ndarray, *, out_size: tuple[int, int]
) -> np.ndarray:
  """Warps a garment's photo into a person's frame of any size.

  Args:
    photo: (hg, wg, 3) uint8.
    positions: (h, w, 2), see `warp_positions`.
    out_size: (H, W).

  Returns:
    (H, W, 3) uint8; beyond the photo, its border repeated.
  """
  positions = cv2.resize(
    positions, out_size[::-1], interpolation=cv2.INTER_LINEAR
  )
  shrink = min(photo.shape[i] / out_size[i] for i in (0, 1))
  if shrink > 1.5:
    # Averaged down first: the warp reads 4 x 4 pixels and would skip others.
    photo = cv2.resize(
      photo, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA
    )
  sides = np.array(photo.shape[1::-1], np.float32)
  x_px, y_px = np.moveaxis(positions * sides - 0.5, -1, 0)
  return cv2.remap(
    photo,
    np.ascontiguousarray(x_px),
    np.ascontiguousarray(y_px),
    cv2.INTER_CUBIC,
    borderMode=cv2.BORDER_REPLICATE,
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
  inner = _eroded(garment_mask, 2) & ~_gaps(photo, garment_mask)
  if not inner.any():
    inner = garment_mask
  nearest = np.empty((2, *inner.shape), np.int32)
  ndimage.distance_transform_edt(
    ~inner, return_distances=False, return_indices=True, indices=nearest
  )
  rows, columns = nearest
  return photo[rows, columns]


def _gaps(photo: np.ndarray, garment_mask: np.ndarray) -> np.ndarray:
  """Where a mask bridges a gap between a sleeve and the body.

  What looks like the paper beside it, hangs together with it and is not far
  within; less like it near the end of a narrow gap that the mask leaves open.
  """
  paper = _eroded(~garment_mask, 2)
  if not paper.any():
    return paper
  outside = (~garment_mask).astype(np.uint8)
  side = min(garment_mask.shape)
  narrow = outside - cv2.morphologyEx(
    outside, cv2.MORPH_OPEN, _disk(_GAP * side)
  )
  # Ragged outlines have notches.
  _, parts, stats, _ = cv2.connectedComponentsWithStats(narrow)
  long = stats[:, cv2.CC_STAT_AREA] > 2 * (_GAP * side) ** 2
  narrow *= long[parts]
  ends = cv2.dilate(narrow, _disk(_END * side)) > 0
  nearest = np.empty((2, *paper.shape), np.int32)
  ndimage.distance_transform_edt(
    ~paper, return_distances=False, return_indices=True, indices=nearest
  )
  rows, columns = nearest
  # Without the paper's grain; gaps are too narrow to be smoothed.
  smooth = cv2.GaussianBlur(photo, (0, 0), 1).astype(np.int16)
  unlike = np.abs(photo - smooth[rows, columns]).max(axis=-1)
  like = unlike < np.where(ends, _LIKE_PAPER, _PAPER)
  like &= ~_eroded(garment_mask, max(round(_END * side), 1))
  _, parts = cv2.connectedComponents((like | ~garment_mask).astype(np.uint8))
  gaps = like & np.isin(parts, np.unique(parts[paper]))
  # And what is mixed with it.
  return cv2.dilate(gaps.astype(np.uint8), _disk(_RIM * side)) > 0


def _disk(radius: float) -> np.ndarray:
  side = 2 * max(round(radius), 1) + 1
  return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def _eroded(mask: np.ndarray, times: int) -> np.ndarray:
  kernel = np.ones((3, 3), np.uint8)
  return cv2.erode(mask.astype(np.uint8), kernel, iterations=times) > 0


def gray(values: np.ndarray) -> np.ndarray:
  """(h, w) within [0, 1] -> (h, w, 3) uint8."""
  return np.repeat(to_uint8(values, (0, 1))[..., None], 3, axis=-1)


def enlarge(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """(h, w) or (h, w, c) float32 -> (H, W[, c]), cubic, pixel centres kept."""
  return cv2.resize(
    np.asarray(values, np.float32), size[::-1], interpolation=cv2.INTER_CUBIC
  )


def sharpened(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """A mask, enlarged, whose border is smooth along it and steep across.

  Args:
    mask: (h, w) float32 in 0..1.
    size: (H, W).

  Returns:
    (H, W) float32 in 0..1, exactly 0 or 1 but near the border.
  """
  # Without the blur the border shows the small mask's pixels as steps.
  large = enlarge(cv2.GaussianBlur(mask, (0, 0), _SMOOTH_PX), size)
  steepness = 1.5 * size[0] / mask.shape[0]
  return np.clip((large - 0.5) * steepness + 0.5, 0, 1)
