"""The types of a model's spec; specs.py explains the fields and reads them."""

import dataclasses
from typing import Literal

Task = Literal['pose', 'parsing', 'detector']
Backend = Literal['onnx', 'tf_graph', 'ss_nan', 'tflite']
Color = Literal['bgr', 'rgb']
FixedFit = Literal[
  'stretch',
  'letterbox_center',
  'letterbox_topleft',
  'pad_center',
  'affine_box',
  'turned_box',
]
Fit = Literal[FixedFit, 'keep_height', 'pad_multiple']
Interpolation = Literal['cubic', 'linear', 'area']
Layout = Literal['nchw', 'nhwc']
Kind = Literal[
  'heat_paf', 'simcc', 'logits', 'labels', 'boxes', 'landmarks', 'anchors'
]
Decoder = Literal['tf_pose', 'openpose']
Align = Literal['corners', 'centers', 'tf1']


@dataclasses.dataclass(frozen=True)
class FixedSize:
  """The fits into an input of one size.

  Attributes:
    name: of the fit.
    size: (height, width) of the input.
    box_padding: 'affine_box', 'turned_box': how much larger than the person.
    detector: of these two: the spec that finds the boxes, if any.
  """

  name: FixedFit
  size: tuple[int, int]
  box_padding: float = 1.0
  detector: str | None = None


@dataclasses.dataclass(frozen=True)
class KeepHeight:
  """The fit 'keep_height'; the fields are explained in specs.py."""

  height: int
  multiple_of: int
  max_width: int


@dataclasses.dataclass(frozen=True)
class PadMultiple:
  """The fit 'pad_multiple'; the fields are explained in specs.py."""

  height: int
  multiple_of: int
  work_height: int
  scales: tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Input:
  """The table `[input]`.

  Attributes:
    name: of the tensor; None: the file has only one.
    mean, std: a number for each colour, in the order of `color`.
    pad_value: 0 to 255.
  """

  color: Color
  fit: FixedSize | KeepHeight | PadMultiple
  name: str | None = None
  interpolation: Interpolation = 'linear'
  pad_value: int = 0
  scale: float = 1.0
  mean: tuple[float, ...] = (0.0, 0.0, 0.0)
  std: tuple[float, ...] = (1.0, 1.0, 1.0)
  layout: Layout = 'nchw'


@dataclasses.dataclass(frozen=True)
class HeatPaf:
  """Heat maps and part affinity fields, and what decodes them."""

  stride: int
  decoder: Decoder


@dataclasses.dataclass(frozen=True)
class SimCC:
  """Scores for each of `split` parts of a pixel, of x and of y."""

  split: float
  min_score: float


@dataclasses.dataclass(frozen=True)
class Logits:
  """A map for each class, and how the maps are enlarged."""

  align: Align


@dataclasses.dataclass(frozen=True)
class LabelMap:
  """One map of class numbers."""


@dataclasses.dataclass(frozen=True)
class Boxes:
  """Boxes and their scores."""

  min_score: float


@dataclasses.dataclass(frozen=True)
class Landmarks:
  """Landmarks, whether there is a person, the mask, heat maps."""

  min_score: float


@dataclasses.dataclass(frozen=True)
class Anchors:
  """Boxes and points relative to the anchors of a grid, and scores."""

  min_score: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
  """The table `[output]`.

  Attributes:
    kind: its name.
    content: the fields that this kind alone has.
    name: of the tensor, of a 'tf_graph'.
    tensors: which outputs of an ONNX file, by number or name.
    channels: classes or joints: of each tensor, or one number for all; None:
      not known.
  """

  kind: Kind
  content: HeatPaf | SimCC | Logits | LabelMap | Boxes | Landmarks | Anchors
  name: str | None = None
  tensors: tuple[int | str, ...] = (0,)
  channels: int | tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Spec:
  """One known model; the fields of `[model]` are explained in specs.py.

  Attributes:
    name: of the spec, its file's name without '.toml'.
    input: how an image becomes its input.
    output: what comes out.
    to_lip20: the LIP-20 label of each class of a parser.
    to_coco18: for each of the 18 joints, of a pose model with other joints,
      the model's own, or several of which to take the middle.
  """

  name: str
  task: Task
  backend: Backend
  file: str
  licence: str
  source: str
  summary: str
  input: Input
  output: Output
  rank: int = 99
  size: int | None = None
  sha256: str | None = None
  to_lip20: tuple[int, ...] = ()
  to_coco18: tuple[tuple[int, ...], ...] = ()


def fixed_size(spec: Spec) -> FixedSize:
  """The fit of a spec that has one of these."""
  assert isinstance(spec.input.fit, FixedSize)  # The spec was checked.
  return spec.input.fit
