"""Landmarks and masks of bodies in regions of photos: BlazePose's network."""

import dataclasses

import numpy as np

from viton_jax.labels import NUM_KEYPOINTS
from viton_jax.perception import fitting
from viton_jax.perception.pose import regions
from viton_jax.perception.runners.tflite_model import TfliteModel, sigmoid
from viton_jax.perception.spec_types import Spec, fixed_size

_VALUES = 5  # Of a landmark: x, y, z; logits of visibility and presence.
_WINDOW = 7
_HEAT = 4  # Pixels of the input that a pixel of a heat map covers.
_SURE = 0.5  # From this heat on a heat map refines its landmark.
_LEAST_VISIBILITY = 0.3
_LEAST_PRESENCE = 0.2


@dataclasses.dataclass(frozen=True, eq=False)
class Body:
  """What the landmark network says of a region.

  Attributes:
    region: of the photo.
    points: (39, 2) float64 x, y in pixels of the photo.
    visibility: (39,) whether each is seen, 0..1; also high outside the photo.
    presence: (39,) whether each is within the region, 0..1.
    score: whether there is a person, 0..1.
    mask: (size, size) float32, how surely a pixel of the region is the person.
  """

  region: regions.Region
  points: np.ndarray
  visibility: np.ndarray
  presence: np.ndarray
  score: float
  mask: np.ndarray


def output_shapes(spec: Spec) -> list[tuple[int, ...]]:
  """Of the network's outputs that the spec names, for one region."""
  count, size = spec.output.channels, fixed_size(spec).size[0]
  assert isinstance(count, int)  # The spec was checked.
  cells = size // _HEAT
  return [
    (count * _VALUES,),
    (1,),
    (size, size, 1),
    (cells, cells, count),
  ]


def look(
  where: list[tuple[np.ndarray, regions.Region]], landmarks: TfliteModel
) -> list[Body]:
  """Runs the landmark network on regions of photos."""
  if not where:
    return []
  spec = landmarks.spec
  size = fixed_size(spec).size[0]
  tensors = np.concatenate(
    [
      fitting.to_tensor(regions.cut(photo, region, size), spec.input)
      for photo, region in where
    ]
  )
  values, flags, masks, heat = landmarks.run(tensors)
  values = values.reshape(len(where), -1, _VALUES)
  points = refine(values[..., :2], heat, size)
  return [
    Body(
      region=region,
      points=regions.to_photo(points[k] - 0.5, region, size),
      visibility=sigmoid(values[k, :, 3]),
      presence=sigmoid(values[k, :, 4]),
      score=float(flags[k].item()),
      mask=sigmoid(masks[k, ..., 0]).astype(np.float32),
    )
    for k, (_, region) in enumerate(where)
  ]


def enlarge(body: Body, zoom: float) -> Body:
  """A body that was found in a photo reduced by `zoom`, in the photo itself."""
  region = regions.Region(
    (body.region.centre + 0.5) / zoom - 0.5,
    body.region.side / zoom,
    body.region.angle,
  )
  points = (body.points + 0.5) / zoom - 0.5
  return dataclasses.replace(body, region=region, points=points)


def refine(points: np.ndarray, heat: np.ndarray, size: int) -> np.ndarray:
  """Moves landmarks to the mean of the heat around them, where it is sure.

  Args:
    points: (b, n, 2) float32 x, y in 0..size.
    heat: (b, h, h, n) float32 logits.
    size: of the input, in pixels.

  Returns:
    (b, n, 2) float64.
  """
  b, cells, _, n = heat.shape
  half = _WINDOW // 2
  cell = np.floor(points * (cells / size))
  inside = ((cell >= 0) & (cell < cells)).all(axis=-1)
  start = np.where(inside[..., None], cell, 0).astype(int)
  padded = np.pad(
    heat, ((0, 0), (half, half), (half, half), (0, 0)), constant_values=-80
  )
  step = np.arange(_WINDOW)
  rows = start[..., 1, None, None] + step[:, None]
  columns = start[..., 0, None, None] + step[None]
  image, joint = np.ogrid[:b, :n]
  window = sigmoid(
    padded[image[..., None, None], rows, columns, joint[..., None, None]]
  ).astype(np.float64)
  total = window.sum(axis=(-2, -1))
  mean = np.stack(
    [
      (window * (at - half)).sum(axis=(-2, -1)) / total
      for at in (columns, rows)
    ],
    axis=-1,
  )
  sure = inside & (window.max(axis=(-2, -1)) >= _SURE)
  return np.where(sure[..., None], mean * (size / cells), points)


def coco18(body: Body, spec: Spec, shape: tuple[int, int]) -> np.ndarray:
  """The joints of a body that are in the photo.

  Args:
    body: as found.
    spec: says which landmarks a joint is the mean of.
    shape: (height, width) of the photo.

  Returns:
    (18, 3) float32: x, y in pixels, visibility; zeros where a joint is hidden
    or outside the photo.
  """
  joints = np.zeros((NUM_KEYPOINTS, 3), np.float32)
  for k, members in enumerate(spec.to_coco18):
    members = list(members)
    x, y = body.points[members].mean(axis=0)
    visible = body.visibility[members].min()
    if (
      visible >= _LEAST_VISIBILITY
      and body.presence[members].min() >= _LEAST_PRESENCE
      and -0.5 <= x < shape[1] - 0.5
      and -0.5 <= y < shape[0] - 0.5
    ):
      joints[k] = x, y, visible
  return joints
