"""Two photos in, one image out: `viton_jax.try_on`."""

from collections.abc import Callable
import dataclasses
import os
import pathlib

import numpy as np

from input_pipeline.layouts.label_maps import settle_garment
from input_pipeline.sample import Sample
from viton_jax import errors, networks
from viton_jax.choices import Composition
from viton_jax.errors import InputError
from viton_jax.io.photos import read_photo
from viton_jax.labels import GARMENT_LABEL
from viton_jax.perception.parsing import parsers
from viton_jax.perception.pose.estimator import PoseEstimator
from viton_jax.perception.pose.keypoints import draw_people
from viton_jax.photo import framing, full_size, inputs

METHODS = ('viton', 'paste')
Photo = np.ndarray | str | os.PathLike


@dataclasses.dataclass(frozen=True)
class TryOnResult:
  """The try-on of two photos.

  Attributes:
    picture: (h, w, 3) uint8 RGB, the person's photo with the garment on; away
      from the clothes its pixels are the photo's.
    box: the part of the photo that was dressed.
    keypoints: (18, 3) float32 x, y in pixels of the photo, confidence.
    parse: (box.height, box.width) uint8 LIP-20 labels of that part.
    garment_mask: (hg, wg) bool, the garment in its photo.
    steps: images of each step, (h', w', 3) uint8, by name.
    notes: what was used and found, a sentence each.
  """

  picture: np.ndarray
  box: framing.Box
  keypoints: np.ndarray
  parse: np.ndarray
  garment_mask: np.ndarray
  steps: dict[str, np.ndarray]
  notes: tuple[str, ...]

  def __repr__(self) -> str:
    """Shapes and types; the arrays themselves would take pages."""
    arrays = ', '.join(
      f'{name}={value.dtype}{value.shape}'
      for name, value in vars(self).items()
      if isinstance(value, np.ndarray)
    )
    return (
      f'{type(self).__name__}({arrays}, box={self.box}, '
      f'steps={list(self.steps)}, notes={len(self.notes)})'
    )


def try_on(
  person: Photo,
  garment: Photo,
  *,
  checkpoint: str | os.PathLike | None = None,
  method: str = 'viton',
  pose: Photo | None = None,
  parse: Photo | None = None,
  refine_checkpoint: str | os.PathLike | None = None,
  composition: Composition | None = None,
  labels: str = 'lip',
  garment_mask: Photo | None = None,
  person_index: int = 0,
  models_dir: str | os.PathLike | None = None,
  say: Callable[[str], None] = lambda note: None,
) -> TryOnResult:
  """Puts the garment of one photo on the person of another.

  Args:
    person: (h, w, 3) uint8 RGB, or a JPEG, PNG or WebP file of any size and
      orientation.
    garment: the same; a flat garment on a light background, or a cut-out with
      transparency.
    checkpoint: for 'viton': a folder with both networks (the demo's, or what
      `viton_jax.convert` or `viton_jax.export` wrote), or an encoder-decoder,
      with `refine_checkpoint` beside it; None: the networks that come with the
      project.
    method: 'viton', or 'paste': the garment bent onto the one that is worn,
      without any network (the paper's non-parametric baseline).
    pose: joints of the person: (18, 3) x, y in pixels and confidence; a file
      (OpenPose JSON and others); or a pose model; None: the default model.
    parse: labels of the person's photo: (h, w) uint8 LIP-20; a PNG or
      .mat file; or a parser model; None: a known parser if its file is there,
      else the body parser that comes with the project.
    refine_checkpoint: the refinement network where it lies elsewhere.
    composition: 'changes': the photo stays where nothing changes; 'whole': all
      of the frame is the networks' image; None: by the checkpoint.
    labels: what a parse file's numbers mean: 'lip', 'cihp' or 'atr'.
    garment_mask: (hg, wg) bool or an image file, light on the garment; None:
      found in the photo.
    person_index: which of several people, 0 the largest.
    models_dir: where model files are.
    say: is told each note as it comes.

  Returns:
    the result.

  Raises:
    InputError: anything that cannot be dressed; a sentence says what to do.
  """
  if method not in METHODS:
    raise InputError(
      f"method '{method}' is unknown; use one of {', '.join(METHODS)}"
    )
  # One pair, one thread. A wrong checkpoint is found before any other work.
  loaded = None
  if method == 'viton':
    loaded = networks.load(
      checkpoint, refine_checkpoint, composing=composition, workers=1
    )
  photo, _ = read_photo(person, 'person')
  cloth, opacity = read_photo(garment, 'garment')
  pair = prepare(
    photo,
    cloth,
    opacity=opacity,
    names=(_name(person, 'person'), _name(garment, 'garment')),
    size=loaded.size if loaded else full_size.PASTE_SIZE,
    pose=pose,
    parse=parse,
    labels=labels,
    garment_mask=garment_mask,
    person_index=person_index,
    models_dir=models_dir,
    say=say,
  )
  if loaded:
    return finish(pair, full_size.compose(pair.sample, loaded))
  return finish(pair, full_size.paste(pair.sample))


def _name(photo: Photo, what: str) -> str:
  """A photo's name in messages."""
  if isinstance(photo, str | os.PathLike):
    return os.fspath(photo)
  return f'the {what}'


@dataclasses.dataclass(frozen=True)
class Pair:
  """Two photos, looked at and framed: what a try-on is computed from.

  Attributes:
    photo: (h, w, 3) uint8 RGB, the whole photo of the person.
    sample: the part of it that is dressed, and the garment.
    box: that part.
    keypoints: (18, 3) float32 x, y in pixels of the photo, confidence.
    notes: what was used and found, a sentence each.
  """

  photo: np.ndarray
  sample: Sample
  box: framing.Box
  keypoints: np.ndarray
  notes: tuple[str, ...]


def prepare(
  photo: np.ndarray,
  cloth: np.ndarray,
  *,
  opacity: np.ndarray | None,
  names: tuple[str, str],
  size: tuple[int, int],
  pose: inputs.Given | PoseEstimator = None,
  parse: inputs.Given | parsers.Parser = None,
  labels: str = 'lip',
  garment_mask: inputs.Given = None,
  person_index: int = 0,
  models_dir: str | os.PathLike | None = None,
  say: Callable[[str], None] = lambda note: None,
) -> Pair:
  """Finds the person, their labels and the garment, and frames them.

  Args:
    photo: (h, w, 3) uint8 RGB, the person.
    cloth: (hg, wg, 3) uint8 RGB, the garment.
    opacity: (hg, wg) uint8 of a garment that is cut out, else None.
    names: of both photos, for errors.
    size: (height, width) at which the networks work.
    pose: see `try_on`; or the bytes of a JSON file, or an open pose model.
    parse: see `try_on`; or the bytes of a PNG file, or an open parser.
    labels: see `try_on`.
    garment_mask: see `try_on`; or the bytes of an image file.
    person_index: see `try_on`.
    models_dir: see `try_on`.
    say: is told each note as it comes.

  Raises:
    InputError: see `try_on`; its `about` says which of these it is about.
  """
  notes = []
  person_name, garment_name = names

  def note(text):
    notes.append(text)
    say(text)

  given = garment_mask is not None
  with errors.concerning('garment_mask' if given else 'garment'):
    mask, source = inputs.garment_mask_of(
      garment_mask, cloth, opacity, garment_name
    )
  note(f'garment mask: {source}, {mask.mean():.0%} of {garment_name}')

  # ------------------------------------------------------- who is in the photo
  found_here = pose is None or isinstance(pose, PoseEstimator)
  with errors.concerning('person' if found_here else 'pose'):
    people, source = inputs.people_of(
      pose, photo, person_name, models_dir=models_dir
    )
  with errors.concerning('person'):
    chosen = framing.choose_person(people, person_index, person_name)
    keypoints = chosen.keypoints
    framing.check_view(keypoints, photo.shape[:2], person_name)
  found = int((keypoints[:, 2] > 0).sum())
  note(
    f'joints: {source}, {found} of 18'
    + (f', of person {person_index} of {len(people)}' * (len(people) > 1))
  )
  for warning in inputs.warnings(people, keypoints):
    note(f'warning: {warning}')

  # ----------------------------------------------- the frame of the upper body
  height, width = size
  box = framing.upper_body(keypoints, photo.shape[:2], width / height)
  crop = framing.cut(photo, box, fill='edge')
  inside = keypoints.copy()
  inside[:, :2] -= (box.left, box.top)
  inside[keypoints[:, 2] <= 0] = 0
  found_here = parse is None or isinstance(parse, parsers.Parser)
  with errors.concerning('person' if found_here else 'parse'):
    parsed, source = inputs.labels_of(
      parse,
      photo,
      person_name,
      labels=labels,
      cut=lambda x: framing.cut(x, box, fill='edge' if x.ndim == 3 else 'zero'),
      keypoints=inside,
      mask=chosen.mask,
      models_dir=models_dir,
    )
    note(f'labels: {source}')
    parsed = settle_garment(parsed)
    if not (parsed == GARMENT_LABEL).any():
      raise InputError(
        f'{person_name}: no upper garment was found on the person; give the '
        'labels with --parse FILE'
      )
  sample = Sample(
    person_id=pathlib.Path(person_name).name,
    garment_id=pathlib.Path(garment_name).name,
    person=crop,
    garment=cloth,
    keypoints=inside,
    parse=parsed,
    garment_mask=mask,
  )
  return Pair(photo, sample, box, keypoints, tuple(notes))


def finish(pair: Pair, composed: full_size.Composition) -> TryOnResult:
  """The dressed part, laid back into the photo."""
  sample, box = pair.sample, pair.box
  assert sample.garment_mask is not None  # `prepare` has found it.
  weight = composed.changed.astype(np.float32)
  image = framing.paste_back(pair.photo, composed.image, weight, box)
  steps = {
    'person': sample.person,
    'joints': draw_people(sample.person, [sample.keypoints]),
    'labels': parsers.colour_labels(sample.person, sample.parse),
    'garment': sample.garment,
    'garment mask': full_size.gray(sample.garment_mask),
    **composed.steps,
    'changed': full_size.gray(weight),
    'result': framing.cut(image, box, fill='edge'),
  }
  return TryOnResult(
    picture=image,
    box=box,
    keypoints=pair.keypoints,
    parse=sample.parse,
    garment_mask=sample.garment_mask,
    steps=steps,
    notes=pair.notes,
  )
