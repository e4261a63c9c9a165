"""Joints, labels and garment masks from the forms in which users have them.

Each may be an array, a file, a model, or nothing: then the default finds it.
Every function also says in words what it has used.
"""

from collections.abc import Callable
import os
import pathlib

import numpy as np

from input_pipeline.layouts import any_file
from viton_jax.errors import InputError
from viton_jax.io.photos import read_photo
from viton_jax.labels import (
  KEYPOINT_NAMES,
  L_ELBOW,
  L_HIP,
  L_WRIST,
  NUM_KEYPOINTS,
  NUM_LABELS,
  R_ELBOW,
  R_HIP,
  R_WRIST,
)
from viton_jax.perception import flat_garment
from viton_jax.perception.parsing import parsers
from viton_jax.perception.pose.estimation import choose_pose
from viton_jax.perception.pose.estimator import Person, largest_first

# Joints that an upper garment lies along.
_DRESSED = (R_ELBOW, R_WRIST, L_ELBOW, L_WRIST, R_HIP, L_HIP)
_POSE_FILES = ('.json', '.mat', '.pkl', '.pickle')
_LABEL_FILES = ('.png', '.jpg', '.jpeg', '.mat')
Path = str | os.PathLike
Given = np.ndarray | Path | None


def people_of(
  pose: Given, photo: np.ndarray, name: str, *, models_dir: Path | None = None
) -> tuple[list[Person], str]:
  """The people in a photo: their joints and, of some models, their masks.

  Args:
    pose: (18, 3) x, y in pixels of the photo and confidence; a file that
      `any_file.read_people` knows; a pose model or its name; None: the default
      model.
    photo: (h, w, 3) uint8 RGB, upright.
    name: of the photo, for errors.
    models_dir: see `perception.estimate_pose`.

  Returns:
    the people, largest first; and where from.

  Raises:
    InputError: unusable, or joints that are not of this photo.
  """
  if isinstance(pose, np.ndarray):
    return [Person(_joints(pose, name))], 'given'
  path = pathlib.Path(pose) if pose is not None else None
  if path and path.suffix.lower() in _POSE_FILES:
    people, rule = any_file.read_people(
      path, photo.shape[:2], person=pathlib.Path(name).stem
    )
    return (
      largest_first([(Person(one), 0.0) for one in people]),
      f'of {path}, {rule}',
    )
  try:
    finder = choose_pose(pose, models_dir)
  except InputError as error:
    if pose is not None:
      raise
    raise InputError(
      f'{error}; or give the joints of {name} with --pose FILE (OpenPose JSON)'
    ) from error
  return finder.find(photo), f'found by {finder.description}'


def warnings(people: list[Person], keypoints: np.ndarray) -> list[str]:
  """What the user should know of the joints, a sentence each.

  Args:
    people: all who were found.
    keypoints: (18, 3) of the one who is dressed.
  """
  said = []
  if len(people) > 1:
    said.append(
      f'{len(people)} people were found, and there may be more; they are '
      'numbered by size from 0, and person_index chooses whom to dress'
    )
  missing = [KEYPOINT_NAMES[j] for j in _DRESSED if keypoints[j, 2] <= 0]
  if missing:
    names = ', '.join(x.replace('_', ' ') for x in missing)
    said.append(
      f'hidden or outside the photo: {names}; what the garment does there is '
      'guessed'
    )
  return said


def _joints(pose: np.ndarray, name: str) -> np.ndarray:
  if pose.shape != (NUM_KEYPOINTS, 3) or not np.isfinite(pose).all():
    raise InputError(
      f'{name}: pose is an array of shape {pose.shape}; give (18, 3) finite '
      'numbers: x, y in pixels and confidence in COCO-18 order'
    )
  return pose.astype(np.float32)


def labels_of(
  parse: Given,
  photo: np.ndarray,
  name: str,
  *,
  labels: str,
  cut: Callable[[np.ndarray], np.ndarray],
  keypoints: np.ndarray,
  mask: np.ndarray | None = None,
  models_dir: Path | None = None,
) -> tuple[np.ndarray, str]:
  """LIP-20 labels of the part of a photo that is dressed.

  Args:
    parse: (h, w) uint8 LIP-20 labels of the whole photo; a PNG file of labels;
      a parser's model file or name; None: the default parser.
    photo: (h, w, 3) uint8 RGB.
    name: of the photo, for errors.
    labels: what a file's numbers mean, of `labels.LABEL_SETS`.
    cut: cuts the part out of an (h, w) map of the photo.
    keypoints: (18, 3) in pixels of that part.
    mask: (h, w) float32 in 0..1 of the whole photo, the person's, if known.
    models_dir: where known models are.

  Returns:
    (h', w') uint8 of the part; and where from.

  Raises:
    InputError: unusable, or labels that are not of this photo.
  """
  frame = photo.shape[:2]
  if isinstance(parse, np.ndarray):
    if (
      parse.shape != frame
      or parse.dtype != np.uint8
      or (parse.max() >= NUM_LABELS)
    ):
      raise InputError(
        f'{name}: parse is an array of {parse.dtype} {parse.shape} up to '
        f'{parse.max()}; give uint8 LIP-20 labels (0 to 19) of shape {frame}'
      )
    return cut(parse), 'given'
  path = pathlib.Path(parse) if parse is not None else None
  if path and path.suffix.lower() in _LABEL_FILES:
    found, rule = any_file.read_labels(path, frame, labels=labels)
    return cut(found), f'of {path}, {rule}'
  parser = parsers.choose_parser(parse, models_dir)
  if mask is not None:
    mask = cut(mask)
  return parser.parse(cut(photo), keypoints, mask), parser.description


def garment_mask_of(
  mask: Given,
  garment: np.ndarray,
  opacity: np.ndarray | None,
  name: str,
) -> tuple[np.ndarray, str]:
  """Which pixels of a garment's photo are the garment.

  Args:
    mask: (h, w) bool, or a PNG file that is light where the garment is; None:
      found in the photo.
    garment: (h, w, 3) uint8 RGB.
    opacity: (h, w) uint8 where the photo is a cut-out, else None.
    name: of the photo, for errors.

  Returns:
    (h, w) bool; and where from.

  Raises:
    InputError: no garment, or a mask of another size.
  """
  if mask is None and opacity is not None:
    found, source = opacity > 127, "the photo's own transparency"
  elif mask is None:
    try:
      return flat_garment.segment_garment(garment), 'found in its photo'
    except InputError as error:
      raise InputError(f'{name}: {error}') from error
  elif isinstance(mask, np.ndarray):
    found, source = mask > 0, 'given'
  else:
    grey, _ = read_photo(mask, 'garment mask')
    found, source = grey[..., 0] > 127, f'of {mask}'
  if found.shape != garment.shape[:2]:
    raise InputError(
      f'{name}: the garment mask is {found.shape[1]} x {found.shape[0]} '
      f'pixels, the photo {garment.shape[1]} x {garment.shape[0]}; make '
      'both the same size'
    )
  if not found.any() or found.all():
    raise InputError(
      f'{name}: the garment mask marks {"all" if found.all() else "none"} '
      'of the photo; give one that is white on the garment and black beside'
    )
  return found, source
