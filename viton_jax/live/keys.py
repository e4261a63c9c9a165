"""The work of a key frame: labels, networks, matching, layers.

Takes tenths of a second, so it is done for some frames alone; `step` carries
its result to the others. Everything is at the working size, of the part of the
key frame that is dressed.
"""

from collections.abc import Callable
import dataclasses

import cv2
import jax
import numpy as np

from input_pipeline.sample import Sample
from viton_jax import composition, engine, networks, predictions
from viton_jax.errors import InputError
from viton_jax.live.garments import Garment
from viton_jax.networks import Halves
from viton_jax.perception.parsing import parsers
from viton_jax.perception.pose.estimator import Person, PoseEstimator
from viton_jax.photo import framing, full_size
from viton_jax.photo.try_on import prepare

# Of masks at the working size, as `full_size.sharpened` has it.
_SMOOTH_PX = 1.2
# Planes of `Key.planes`.
HIDDEN, OPACITY, TEXTURE, SHADING = range(4)
UNCOVERED, COARSE, SOURCE = slice(4, 7), slice(7, 10), slice(10, 12)
PLANES = 12


@dataclasses.dataclass(frozen=True, eq=False)
class Models:
  """What a live try-on computes with.

  Attributes:
    pose: finds people.
    parser: labels them.
    networks: of `networks.load_halves` with composing='whole'; None: garments
      are pasted.
  """

  pose: PoseEstimator
  parser: parsers.Parser
  networks: Halves | None = None

  @property
  def size(self) -> tuple[int, int]:
    """(height, width) at work."""
    return self.networks.size if self.networks else full_size.PASTE_SIZE


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
  """A key frame.

  Attributes:
    number: of the frame.
    frame: (H, W, 3) uint8 RGB.
    person: with smoothed joints.
    labels: (H, W) uint8, carried from another key frame; None: to be parsed.
  """

  number: int
  frame: np.ndarray
  person: Person
  labels: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Key:
  """What is known of a key frame.

  Attributes:
    number: of the frame.
    box: the part of it that is dressed.
    labels: (H, W) uint8 LIP-20 of the frame; 0 outside the box.
    parsed: the number of the frame for which labels were found.
    garment: that is worn.
    cloth: (hg, wg, 3) uint8, its colours at a fitting size.
    planes: (h, w, 12) float32: hidden, opacity, texture, shading; uncovered
      and coarse in 0..255; and x, y in pixels of `cloth`.
    front: (2 h, 2 w) uint8, 255 where the head is before everything.
  """

  number: int
  box: framing.Box
  labels: np.ndarray
  parsed: int
  garment: Garment
  cloth: np.ndarray
  planes: np.ndarray
  front: np.ndarray


def make_key(
  job: Job,
  garment: Garment,
  models: Models,
  *,
  go_on: Callable[[], None] = lambda: None,
) -> Key:
  """Computes a key frame.

  Args:
    job: the frame.
    garment: to be worn.
    models: to compute with.
    go_on: is called between the parts; may raise to end it.

  Raises:
    InputError: the person cannot be dressed; a sentence says why.
  """
  sample, box = _framed(job, garment, models)
  go_on()
  height, width = models.size
  if models.networks:
    layers, coarse, positions = _try_on(sample, models.networks, go_on)
  else:
    layers, points = full_size.paste_layers(sample)
    positions = full_size.warp_positions(points, models.size)
    coarse = np.zeros((height, width, 3), np.float32)
  cloth = _fitting(garment.spread, box)
  planes = np.empty((height, width, PLANES), np.float32)
  for plane, mask in ((HIDDEN, layers.hidden), (OPACITY, layers.opacity)):
    soft = cv2.GaussianBlur(np.asarray(mask)[..., 0], (0, 0), _SMOOTH_PX)
    planes[..., plane] = soft * _inside(box, job.frame.shape[:2], models.size)
  planes[..., TEXTURE] = np.asarray(layers.texture)[..., 0]
  planes[..., SHADING] = np.asarray(layers.shading)[..., 0]
  planes[..., UNCOVERED] = np.asarray(layers.uncovered) * 255
  planes[..., COARSE] = coarse * 255
  sides = np.array(cloth.shape[1::-1], np.float32)
  planes[..., SOURCE] = positions * sides - 0.5
  opacity = full_size.enlarge(
    np.asarray(layers.opacity)[..., 0], sample.parse.shape
  )
  head = full_size.in_front(sample.parse, opacity).astype(np.uint8) * 255
  front = cv2.resize(
    head, (2 * width, 2 * height), interpolation=cv2.INTER_AREA
  )
  rows, columns = job.frame.shape[:2]
  labels = np.zeros((rows, columns), np.uint8)
  inner = box.inside((rows, columns))
  labels[
    inner.top : inner.top + inner.height, inner.left : inner.left + inner.width
  ] = sample.parse[
    inner.top - box.top : inner.top - box.top + inner.height,
    inner.left - box.left : inner.left - box.left + inner.width,
  ]
  return Key(
    number=job.number,
    box=box,
    labels=labels,
    parsed=job.number if job.labels is None else -1,
    garment=garment,
    cloth=cloth,
    planes=planes,
    front=front,
  )


def _framed(job: Job, garment: Garment, models: Models):
  """The part that is dressed, as the try-on of photos frames it."""
  tracked = PoseEstimator('tracking', lambda photos: [[job.person]])
  pair = prepare(
    job.frame,
    garment.photo,
    opacity=None,
    names=('the picture', 'the garment'),
    size=models.size,
    pose=tracked,
    parse=models.parser if job.labels is None else job.labels,
    garment_mask=garment.mask,
  )
  return pair.sample, pair.box


def _try_on(sample: Sample, tried: Halves, go_on: Callable[[], None]):
  """Layers (h, w, c) in 0..1, coarse image in 0..1, `warp_positions`."""
  example = full_size.network_example(sample, tried)
  batch = {name: value[None] for name, value in example.items()}
  predicted = dict(tried.coarse(batch))
  mask = np.asarray(predicted['mask'])
  points, (reason,) = engine.match_masks(
    batch['garment_mask'], mask[..., 0], fidelity=tried.fidelity, workers=1
  )
  if reason:
    raise InputError(f'the garment cannot be laid on: {reason}')
  go_on()
  batch['control_points'] = points
  images = tried.refine({**batch, **predicted})
  layers = _change_layers(batch, images, predicted['coarse'], flow=tried.flow)
  one = jax.tree.map(lambda x: np.asarray(x)[0], layers)
  coarse = (np.asarray(predicted['coarse'])[0] + 1) / 2
  positions = full_size.warp_positions(
    points[0], tried.size, np.asarray(images['correction'])[0]
  )
  return one, coarse.clip(0, 1), positions


def _change_layers(batch, images, coarse, *, flow: bool):
  """In two programs: one of both takes XLA twice as long."""
  mask = np.clip(np.asarray(images['mask']), 0, 1)
  names = ('garment_mask', 'person', 'parse', 'keypoints', 'control_points')
  inputs = {name: batch[name] for name in names}
  if flow:
    inputs |= {name: images[name] for name in networks.FLOW_OUTPUTS}
  regions = _regions(
    inputs['parse'],
    inputs['keypoints'],
    mask=mask[..., 0],
    garment_mask=inputs['garment_mask'],
    beneath=inputs.get('beneath'),
  )
  shown = {name: images[name] for name in ('warped', 'alpha')}
  return _layers(inputs, shown, regions, coarse, mask)


_regions = jax.jit(composition.find_regions)


@jax.jit
def _layers(batch, images, regions, coarse, mask):
  _, layers = predictions.change_layers(
    batch, images, regions=regions, coarse=coarse, mask=mask
  )
  return layers


def _fitting(photo: np.ndarray, box: framing.Box) -> np.ndarray:
  """A garment's photo, not much larger than what is seen of it."""
  shrink = min(photo.shape[0] / box.height, photo.shape[1] / box.width)
  if shrink <= 1.5:
    return photo
  return cv2.resize(
    photo, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA
  )


def _inside(
  box: framing.Box, frame: tuple[int, ...], size: tuple[int, int]
) -> np.ndarray:
  """1 within the box, falling to 0 at sides that run through the frame."""
  sides = []
  for start, length, end, cells in (
    (box.top, box.height, frame[0], size[0]),
    (box.left, box.width, frame[1], size[1]),
  ):
    ramp = np.minimum(np.arange(cells) / 3, 1).astype(np.float32)
    low = ramp if start > 0 else np.ones(cells, np.float32)
    high = ramp[::-1] if start + length < end else np.ones(cells, np.float32)
    sides.append(np.minimum(low, high))
  return sides[0][:, None] * sides[1]
