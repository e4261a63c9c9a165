"""Two photos in, one picture out: a person, wearing the garment of another.

  python -m viton_jax.try_on --person me.jpg --garment shirt.jpg \\
      --out result.png --checkpoint demo
  python -m viton_jax.try_on --person me.jpg --garment shirt.jpg \\
      --out result.png --method paste --show_steps

--method viton (default) needs trained networks; paste needs none: it bends the
garment onto the one that the person wears. Both need the person's joints: from
a pose model (`python -m viton_jax.perception list` shows where to get one), or
from a file (--pose). docs/own_photos.md says more.

In Python, the module is the function:

  import viton_jax
  result = viton_jax.try_on('me.jpg', 'shirt.jpg', checkpoint='demo')
  result.picture  # (h, w, 3) uint8 RGB, as large as me.jpg
"""

import argparse
from collections.abc import Callable
import dataclasses
import os
import pathlib
import sys
import time
import types

import numpy as np

from input_pipeline.layouts import any_file
from input_pipeline.layouts.label_maps import settle_garment
from input_pipeline.sample import GARMENT_LABEL, HEAD_LABELS, Sample
from viton_jax import errors
from viton_jax.errors import InputError
from viton_jax.io import contact_sheets, images, storage
from viton_jax.io.photos import read_photo
from viton_jax.perception.parsing import parsers
from viton_jax.perception.pose.keypoints import draw_people
from viton_jax.photo import composition, framing, inputs
from viton_jax.runtime import compile_cache

METHODS = ('viton', 'paste')
Photo = np.ndarray | str | os.PathLike
_STEP_HEIGHT = 384  # Of a picture in the sheet of steps.


@dataclasses.dataclass(frozen=True)
class TryOnResult:
  """What became of two photos.

  Attributes:
    picture: (h, w, 3) uint8 RGB, the person's photo with the garment on; away
      from the clothes its pixels are the photo's.
    box: the part of the photo that was dressed.
    keypoints: (18, 3) float32 x, y in pixels of the photo, confidence.
    parse: (box.height, box.width) uint8 LIP-20 labels of that part.
    garment_mask: (hg, wg) bool, the garment in its photo.
    steps: pictures of each step, (h', w', 3) uint8, by name.
    notes: what was used and found, a sentence each.
  """

  picture: np.ndarray
  box: framing.Box
  keypoints: np.ndarray
  parse: np.ndarray
  garment_mask: np.ndarray
  steps: dict[str, np.ndarray]
  notes: tuple[str, ...]


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
      `viton_jax.convert` wrote), an encoder-decoder with `refine_checkpoint`
      beside it, or what `viton_jax.export` wrote.
    method: 'viton', or 'paste': the garment bent onto the one that is worn,
      without any network (the paper's non-parametric baseline).
    pose: joints of the person: (18, 3) x, y in pixels and confidence; a file
      (OpenPose JSON and others); or a pose model; None: the default model.
    parse: labels of the person's photo: (h, w) uint8 LIP-20; a PNG or
      .mat file; or a parser model; None: a known parser if its file is there,
      else GrabCut.
    refine_checkpoint: the refinement network where it lies elsewhere.
    labels: what a parse file's numbers mean: 'lip', 'cihp' or 'atr'.
    garment_mask: (hg, wg) bool or a picture, light on the garment; None: found
      in the photo.
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
  if method == 'viton' and checkpoint is None:
    raise InputError(
        "method 'viton' needs trained networks; give --checkpoint (a demo, a "
        'workdir or an export), or --method paste, which needs none'
    )
  notes = []

  def note(text):
    notes.append(text)
    say(text)

  # ------------------------------------------------------------ the two photos
  person_name, garment_name = (
      f'the {what}' if isinstance(x, np.ndarray) else os.fspath(x)
      for what, x in (('person', person), ('garment', garment))
  )
  photo, _ = read_photo(person, 'person')
  cloth, opacity = read_photo(garment, 'garment')
  mask, source = inputs.garment_mask_of(
      garment_mask, cloth, opacity, garment_name
  )
  note(f'garment mask: {source}, {mask.mean():.0%} of {garment_name}')

  # ----------------------------------------------------- who is in the picture
  people, source = inputs.people_of(
      pose, photo, person_name, models_dir=models_dir
  )
  keypoints = framing.choose_person(people, person_index, person_name)
  found = int((keypoints[:, 2] > 0).sum())
  note(
      f'joints: {source}, {found} of 18'
      + (f', of person {person_index} of {len(people)} (largest first; '
         'person_index chooses)' if len(people) > 1 else '')
  )
  framing.check_view(keypoints, photo.shape[:2], person_name)

  # ----------------------------------------------- the frame of the upper body
  if method == 'viton':
    networks = composition.load_networks(checkpoint, refine_checkpoint)
    (height, width), dress = networks.size, networks.dress
  else:
    (height, width), dress = composition.PASTE_SIZE, composition.paste
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
      cut=lambda x: framing.cut(x, box, fill='edge' if x.ndim == 3 else 'zero'),
      keypoints=inside,
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
  dressed = dress(sample)
  weight = framing.change_mask(dressed.changed, np.isin(parsed, HEAD_LABELS))
  picture = framing.paste_back(photo, dressed.picture, weight, box)
  steps = {
      'person': crop,
      'joints': draw_people(crop, [inside]),
      'labels': parsers.colour_labels(crop, parsed),
      'garment': cloth,
      'garment mask': contact_sheets.to_rgb(mask[..., None], (0, 1)),
      **dressed.steps,
      'changed': contact_sheets.to_rgb(weight[..., None], (0, 1)),
      'result': framing.cut(picture, box, fill='edge'),
  }
  return TryOnResult(
      picture=picture,
      box=box,
      keypoints=keypoints,
      parse=parsed,
      garment_mask=mask,
      steps=steps,
      notes=tuple(notes),
  )


# ------------------------------------------------------------ the command line


def parse_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
      prog='python -m viton_jax.try_on',
      description=__doc__,
      formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add('--person', required=True, help='photo of a person, from the front')
  add('--garment', required=True,
      help='photo of a garment on a light background, or a cut-out PNG')
  add('--out', default='result.png',
      help='PNG or JPEG file to write (default: %(default)s)')
  add('--method', choices=METHODS, default='viton',
      help='default: %(default)s')
  add('--checkpoint',
      help="trained networks: the demo's folder, a folder that "
      '`python -m viton_jax.convert` or `export` wrote, or stage 1')
  add('--refine_checkpoint', help='stage 2, where it lies elsewhere')
  add('--pose', help='joints: a file (OpenPose JSON, VITON .mat ...), or a '
      'pose model')
  add('--parse', help='labels: a PNG or .mat file for the photo, or a '
      'parser model; default: a parser if there is one, else GrabCut')
  add('--labels', choices=tuple(any_file.LABEL_SETS), default='lip',
      help='what the numbers of --parse mean (default: %(default)s)')
  add('--garment_mask', help='picture that is white where the garment is')
  add('--person_index', type=int, default=0,
      help='which of several people, 0 the largest (default)')
  add('--models_dir', help="folder of models' files (default: "
      '$VITON_JAX_MODELS, or ~/.cache/viton_jax/models)')
  add('--show_steps', nargs='?', const='', metavar='FILE',
      help='also write one picture of every step (default: beside --out)')
  return parser.parse_args()


def main() -> None:
  begin = time.perf_counter()
  arguments = parse_arguments()
  options = vars(arguments)
  out = pathlib.Path(options.pop('out'))
  show_steps = options.pop('show_steps')
  check_output(out)
  compile_cache.use('auto')
  result = try_on(**options, say=print)
  write_picture(out, result.picture)
  written = [out]
  if show_steps is not None:
    sheet = pathlib.Path(show_steps or out.with_name(f'{out.stem}_steps.png'))
    write_picture(sheet, steps_sheet(result.steps))
    written.append(sheet)
  height, width = result.picture.shape[:2]
  print(
      f'{width} x {height} pixels, of which {result.box.width} x '
      f'{result.box.height} around the upper body were dressed, in '
      f'{time.perf_counter() - begin:.1f} s; written: '
      + ', '.join(map(str, written))
  )


def check_output(path: pathlib.Path) -> None:
  """Refuses a name that cannot be written, before any work."""
  if path.suffix.lower() not in ('.png', '.jpg', '.jpeg'):
    raise InputError(f'{path}: give --out a name that ends in .png or .jpg')
  if path.is_dir():
    raise InputError(f'{path}: is a folder; give --out the name of a file')


def write_picture(path: pathlib.Path, picture: np.ndarray) -> None:
  """Writes a PNG, or a JPEG, as the name says, whole or not at all."""
  check_output(path)
  jpeg = path.suffix.lower() != '.png'
  data = (images.encode_jpeg if jpeg else images.encode_png)(picture)
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    storage.write_file(path, data)
  except OSError as error:
    raise InputError(
        f'{path}: cannot be written ({error.strerror}); give another place'
    ) from error


def steps_sheet(steps: dict[str, np.ndarray]) -> np.ndarray:
  """All steps side by side, of one height, under their names."""
  width = _STEP_HEIGHT * 3 // 4
  columns = {}
  for name, picture in steps.items():
    h, w = picture.shape[:2]
    scale = min(_STEP_HEIGHT / h, width / w)
    inner = max(round(h * scale), 1), max(round(w * scale), 1)
    page = np.full((1, _STEP_HEIGHT, width, 3), 255, np.uint8)
    top, left = (_STEP_HEIGHT - inner[0]) // 2, (width - inner[1]) // 2
    page[0, top : top + inner[0], left : left + inner[1]] = images.resize_area(
        np.ascontiguousarray(picture), *inner
    )
    columns[name] = page
  return contact_sheets.contact_sheet(columns)


class _CallableModule(types.ModuleType):
  """Lets `viton_jax.try_on(...)` be called, though it is a module too."""

  def __call__(self, *args, **kwargs) -> TryOnResult:
    return try_on(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule

if __name__ == '__main__':
  errors.run(main)
