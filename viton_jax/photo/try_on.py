"""Two photos in, one image out: `viton_jax.try_on`."""

from collections.abc import Callable
import dataclasses
import os
import pathlib

import numpy as np

from input_pipeline.layouts.label_maps import settle_garment
from input_pipeline.sample import Sample
from viton_jax import networks
from viton_jax.errors import InputError
from viton_jax.io.photos import read_photo
from viton_jax.labels import GARMENT_LABEL, HEAD_LABELS
from viton_jax.perception.parsing import parsers
from viton_jax.perception.pose.keypoints import draw_people
from viton_jax.photo import composition, framing, inputs

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
      with `refine_checkpoint` beside it.
    method: 'viton', or 'paste': the garment bent onto the one that is worn,
      without any network (the paper's non-parametric baseline).
    pose: joints of the person: (18, 3) x, y in pixels and confidence; a file
      (OpenPose JSON and others); or a pose model; None: the default model.
    parse: labels of the person's photo: (h, w) uint8 LIP-20; a PNG or
      .mat file; or a parser model; None: a known parser if its file is there,
      else the body parser that comes with the project.
    refine_checkpoint: the refinement network where it lies elsewhere.
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
    if checkpoint is None:
      raise InputError(
        "method 'viton' needs trained networks; give --checkpoint (a demo, a "
        'workdir or an export), or --method paste, which needs none'
      )
    loaded = networks.load(checkpoint, refine_checkpoint, workers=1)
  notes = []

  def note(text):
    notes.append(text)
    say(text)

  # ------------------------------------------------------------ the two photos
  person_name, garment_name = (
    os.fspath(x) if isinstance(x, str | os.PathLike) else f'the {what}'
    for what, x in (('person', person), ('garment', garment))
  )
  photo, _ = read_photo(person, 'person')
  cloth, opacity = read_photo(garment, 'garment')
  mask, source = inputs.garment_mask_of(
    garment_mask, cloth, opacity, garment_name
  )
  note(f'garment mask: {source}, {mask.mean():.0%} of {garment_name}')

  # ------------------------------------------------------- who is in the photo
  people, source = inputs.people_of(
    pose, photo, person_name, models_dir=models_dir
  )
  chosen = framing.choose_person(people, person_index, person_name)
  keypoints = chosen.keypoints
  found = int((keypoints[:, 2] > 0).sum())
  note(
    f'joints: {source}, {found} of 18'
    + (f', of person {person_index} of {len(people)}' * (len(people) > 1))
  )
  for warning in inputs.warnings(people, keypoints):
    note(f'warning: {warning}')
  framing.check_view(keypoints, photo.shape[:2], person_name)

  # ----------------------------------------------- the frame of the upper body
  height, width = loaded.size if loaded else composition.PASTE_SIZE
  box = framing.upper_body(keypoints, photo.shape[:2], width / height)
  crop = framing.cut(photo, box, fill='edge')
  inside = keypoints.copy()
  inside[:, :2] -= (box.left, box.top)
  inside[keypoints[:, 2] <= 0] = 0
  parsed, source = inputs.labels_of(
    parse,
    photo,
    person_name,
    labels=labels,
    cut=lambda x: framing.cut(
      x, box, fill='zero' if x.dtype == np.uint8 and x.ndim == 2 else 'edge'
    ),
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

  # ------------------------------------------------------------- the try-on
  sample = Sample(
    person_id=pathlib.Path(person_name).name,
    garment_id=pathlib.Path(garment_name).name,
    person=crop,
    garment=cloth,
    keypoints=inside,
    parse=parsed,
    garment_mask=mask,
  )
  if loaded:
    composed = composition.compose(sample, loaded)
  else:
    composed = composition.paste(sample)
  weight = framing.change_mask(composed.changed, np.isin(parsed, HEAD_LABELS))
  image = framing.paste_back(photo, composed.image, weight, box)
  steps = {
    'person': crop,
    'joints': draw_people(crop, [inside]),
    'labels': parsers.colour_labels(crop, parsed),
    'garment': cloth,
    'garment mask': composition.gray(mask),
    **composed.steps,
    'changed': composition.gray(weight),
    'result': framing.cut(image, box, fill='edge'),
  }
  return TryOnResult(
    picture=image,
    box=box,
    keypoints=keypoints,
    parse=parsed,
    garment_mask=mask,
    steps=steps,
    notes=tuple(notes),
  )
