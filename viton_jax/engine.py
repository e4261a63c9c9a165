"""The try-on of a batch: coarse image, matching, warp, refinement.

`TryOn` is all of it, from whatever computes it: the networks of checkpoints
(`networks.load`), an exported program (`serving.artifact`) or a SavedModel.
Either as two halves, between which the host matches the garment
(`match_on_host`), or as one program that matches as well (`match_on_device`).

Needs JAX, NumPy and SciPy: exported programs run where there is no Flax,
Orbax, OpenCV or TensorFlow.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
import dataclasses
import functools
from typing import Any, Literal, NamedTuple

from jaxtyping import Float, Shaped
import numpy as np

from viton_jax import choices
from viton_jax.choices import Fidelity, Matching
from viton_jax.geometry import prediction
from viton_jax.representation import to_uint8
from viton_jax.runtime import environment
from viton_jax.runtime.parallel import pad

# The images of a try-on, and the lowest and highest value of each.
RANGES = {
  'output': (-1, 1),
  'warped': (-1, 1),
  'coarse': (-1, 1),
  'mask': (0, 1),
  'alpha': (0, 1),
  'hidden': (0, 1),
  'uncovered': (-1, 1),
  'opacity': (0, 1),
  'texture': (0, 1),
  # 1 is a level of its own.
  'shading': (0, 255 / 128),
}
# All arrays of a `TryOnBatch`.
ARRAYS = (*RANGES, 'control_points', 'correction')


@dataclasses.dataclass(frozen=True)
class TryOnBatch:
  """The try-on of b pairs.

  Images are float32 within `RANGES`, or uint8, where 0 and 255 are the ends of
  these: see `levels_of`.

  Attributes:
    output: (b, h, w, 3) RGB, the try-on.
    warped: (b, h, w, 3), the garment warped to its place on the person.
    coarse: (b, h, w, 3), the encoder-decoder's image.
    mask: (b, h, w, 1), where the encoder-decoder puts the garment.
    alpha: (b, h, w, 1), how much of `warped` the refinement shows.
    hidden: (b, h, w, 1), `uncovered` (b, h, w, 3), `opacity`, `texture` and
      `shading` (b, h, w, 1): the layers that `output` is made of, see
      `composition.Layers`.
    control_points: (b, 100, 2) float32 of the warp, see `geometry.warp_tps`.
    correction: (b, h / 4, w / 4, 2) float32, what is added to its spline.
    failures: a reason for each pair that could not be matched, else None; its
      `warped`, `alpha` and `output` mean nothing.
  """

  output: Shaped[np.ndarray, 'b h w 3']
  warped: Shaped[np.ndarray, 'b h w 3']
  coarse: Shaped[np.ndarray, 'b h w 3']
  mask: Shaped[np.ndarray, 'b h w 1']
  alpha: Shaped[np.ndarray, 'b h w 1']
  hidden: Shaped[np.ndarray, 'b h w 1']
  uncovered: Shaped[np.ndarray, 'b h w 3']
  opacity: Shaped[np.ndarray, 'b h w 1']
  texture: Shaped[np.ndarray, 'b h w 1']
  shading: Shaped[np.ndarray, 'b h w 1']
  control_points: Float[np.ndarray, 'b n 2']
  correction: Float[np.ndarray, 'b _ _ 2']
  failures: list[str | None]


class Computed(NamedTuple):
  """What `TryOn.run` gives.

  Attributes:
    images: of `RANGES`, and `correction`, of the padded batch.
    control_points, failures: of `TryOnBatch`.
  """

  images: Mapping[str, Any]
  control_points: np.ndarray
  failures: list[str | None]


@dataclasses.dataclass(frozen=True)
class TryOn:
  """A try-on that is ready to be called with a batch.

  Attributes:
    size: (height, width) of all images.
    fidelity: 'fixed' or 'original'.
    run: (padded batch, its number of pairs) -> `Computed`. It ignores arrays
      that it does not read.
    max_batch: a power of two. Larger batches are cut into pieces of this size,
      smaller ones padded to a power of two, so that XLA compiles for few sizes.
      None: every batch is computed as it is.
  """

  size: tuple[int, int]
  fidelity: Fidelity
  run: Callable[[Mapping[str, Any], int], Computed]
  max_batch: int | None = None

  def __call__(self, batch: Mapping[str, np.ndarray]) -> TryOnBatch:
    """Tries on b pairs.

    Args:
      batch: working examples, see `input_pipeline.sample.working_example`.
    """
    count = len(batch['person'])
    step = self.max_batch or count
    pieces = [
      self._piece({name: x[i : i + step] for name, x in batch.items()})
      for i in range(0, count, step)
    ]
    return pieces[0] if len(pieces) == 1 else join(pieces)

  def _piece(self, batch):
    count = len(batch['person'])
    size = bucket(count) if self.max_batch else count
    images, control_points, failures = self.run(pad(batch, size), count)
    if 'opacity' not in images:  # Exported before there were layers.
      images = {**images, **whole_layers(images)}
    if 'correction' not in images:  # Exported before there was one.
      images = {**images, 'correction': np.zeros((count, 1, 1, 2), np.float32)}
    names = (*RANGES, 'correction')
    shown = {name: np.asarray(images[name])[:count] for name in names}
    failures = [
      reason or blank_reason(picture)
      for reason, picture in zip(failures, shown['output'], strict=True)
    ]
    return TryOnBatch(**shown, control_points=control_points, failures=failures)


def blank_reason(picture: Shaped[np.ndarray, 'h w 3']) -> str | None:
  """Why a picture is no try-on: it has one value alone, or no numbers.

  Weights whose products overflow end so, however finite they are themselves.
  """
  low, high = picture.min(), picture.max()
  if low < high:  # False with NaN.
    return None
  return (
    'the networks give a picture of one value alone, so their weights are '
    'damaged; give another checkpoint'
  )


def match_on_host(
  coarse: Callable[[Mapping[str, Any]], Mapping[str, Any]],
  refine: Callable[[Mapping[str, Any]], Mapping[str, Any]],
  *,
  fidelity: Fidelity,
  workers: int | None = None,
  png_round_trip: bool = False,
) -> Callable[[Mapping[str, Any], int], Computed]:
  """`TryOn.run` from two halves, with the matching between them.

  Args:
    coarse: batch -> `mask` (b, h, w, 1) and `coarse` (b, h, w, 3), float32.
    refine: (a batch with `control_points`, and `mask` and `coarse` of the first
      half) -> the images of `RANGES`. Both ignore arrays that they do not read.
    fidelity: 'fixed' or 'original'.
    workers: threads of the matching; None: one a core.
    png_round_trip: lets the refinement see coarse image and mask as the
      released code does, see `through_png`. The matching has the mask as it is.
  """
  workers = workers or environment.cores()

  def run(batch: Mapping[str, Any], count: int) -> Computed:
    predicted = dict(coarse(batch))
    control_points, failures = match_masks(
      batch['garment_mask'][:count],
      np.asarray(predicted['mask'])[:count, ..., 0],
      fidelity=fidelity,
      workers=workers,
    )
    if png_round_trip:
      predicted = as_released(predicted)
    points = pad({'control_points': control_points}, len(batch['person']))
    images = refine({**batch, **predicted, **points})
    return Computed(images, control_points, failures)

  return run


def match_on_device(
  whole: Callable[[Mapping[str, Any]], Mapping[str, Any]],
  reasons: Sequence[str | None],
) -> Callable[[Mapping[str, Any], int], Computed]:
  """`TryOn.run` from one program that matches as well.

  Args:
    whole: batch -> the images of `RANGES`, `control_points` (b, 100, 2),
      `correction` (b, h / 4, w / 4, 2) and
      `reason` (b,) int32, an index into `reasons`. It ignores arrays that it
      does not read.
    reasons: why a pair could not be matched; None: it could.
  """

  def run(batch: Mapping[str, Any], count: int) -> Computed:
    images = whole(batch)
    return Computed(
      images,
      np.asarray(images['control_points'])[:count],
      [reasons[i] for i in np.asarray(images['reason'])[:count]],
    )

  return run


def matching_of(matching: Matching) -> Literal['host', 'device']:
  """Where to match: 'auto' is the host, on every platform.

  On a CPU of two cores the program is 1.1 to 1.3 times as fast alone and no
  faster within `infer`, and takes 13 s more to compile for each batch size
  (docs/geometry.md). No accelerator has been measured: there 'auto' stays with
  the host, too, until `python -m benchmarks.geometry --part matching` has shown
  what is faster.

  Args:
    matching: 'host', 'device' or 'auto'.

  Raises:
    InputError: another name.
  """
  choices.check('matching', matching, Matching)
  return 'device' if matching == 'device' else 'host'


def match_masks(
  garment_masks: Shaped[np.ndarray, 'b h w'],
  predicted_masks: Float[np.ndarray, 'b h w'],
  *,
  fidelity: Fidelity,
  workers: int,
) -> tuple[Float[np.ndarray, 'b n 2'], list[str | None]]:
  """Control points of b pairs, see `prediction.match`.

  Args:
    garment_masks: (b, h, w) 0 or 1.
    predicted_masks: (b, h, w) float32.
    fidelity: 'fixed' or 'original'.
    workers: threads.

  Returns:
    (b, 100, 2) float32, and for each pair None or why it failed.
  """
  match = functools.partial(prediction.match, fidelity=fidelity)
  with futures.ThreadPoolExecutor(workers, 'matching') as pool:
    matches = list(pool.map(match, garment_masks, predicted_masks))
  points, failures = zip(*matches, strict=True)
  return np.stack(points), list(failures)


def whole_layers(images: Mapping[str, Any]) -> dict[str, Any]:
  """The layers of VITON's own image, see `composition.whole`.

  Args:
    images: `coarse` (b, h, w, 3) and `alpha` (b, h, w, 1), as uint8.
  """
  alpha = np.asarray(images['alpha'])
  return {
    'hidden': np.full_like(alpha, 255),
    'uncovered': images['coarse'],
    'opacity': np.full_like(alpha, 255),
    'texture': alpha,
    'shading': np.full_like(alpha, 128),
  }


def join(pieces: list[TryOnBatch]) -> TryOnBatch:
  """Several batches as one."""
  arrays = {
    name: np.concatenate([getattr(piece, name) for piece in pieces])
    for name in ARRAYS
  }
  failures = [reason for piece in pieces for reason in piece.failures]
  return TryOnBatch(**arrays, failures=failures)


def levels_of(tried: TryOnBatch) -> TryOnBatch:
  """The same with images as uint8."""
  return dataclasses.replace(
    tried,
    **{
      name: to_uint8(getattr(tried, name), span)
      for name, span in RANGES.items()
      if getattr(tried, name).dtype != np.uint8
    },
  )


def bucket(count: int) -> int:
  """The smallest power of two that is not below `count`."""
  return 1 << (count - 1).bit_length()


def as_released(predicted: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """`mask` and `coarse` as the released code's second stage reads them."""
  mask, coarse = (
    through_png(np.asarray(predicted[name])) for name in ('mask', 'coarse')
  )
  return {'mask': mask, 'coarse': coarse * 2 - 1}


def through_png(
  images: Float[np.ndarray, 'b h w c'],
) -> Float[np.ndarray, 'b h w c']:
  """Images as they come back after scipy.misc.imsave wrote them as PNG.

  imsave stretches each to its own range before it rounds to 8 bits, so that
  its darkest value becomes 0 and its brightest 255.

  Args:
    images: (b, h, w, c) float32.

  Returns:
    (b, h, w, c) float32, multiples of 1/255 in [0, 1].
  """
  low, high = (
    f(images, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max)
  )
  span = np.where(high > low, high - low, 1)
  levels = np.floor((images - low) * (255 / span) + 0.5)
  return (np.clip(levels, 0, 255) / 255).astype(np.float32)
