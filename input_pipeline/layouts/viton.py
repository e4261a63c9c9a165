"""The layout of the original VITON: women_top/, pose, segment/, pair lists.

    data_dir/
      women_top/000001_0.jpg      person; 000001_1.jpg: a garment on white
      pose.pkl                    '000001_0' -> {'candidate', 'subset'}
      pose/000001_0.mat           the same, one file a person
      segment/000001_0.mat        'segment', square, transposed, LIP-20 labels
      garment_mask/000001_1.png   white on the garment; the folder is optional,
                                  for photos whose masks were found before
      tps/000001_0.mat            'control_points' (2, 10, 10); optional
      truth/000001_0_000002_1.png the true result, ..._parse.png its labels,
                                  ..._flow.png the garment's true flow (see
                                  `viton_files.flow_file`); optional, for
                                  data whose truth is known
      viton_train_pairs.txt       'person.jpg garment.jpg' a line

Poses come from pose.pkl if it has the person, else from pose/*.mat.
"""

from collections.abc import Callable
import dataclasses
import pathlib

import cv2
import numpy as np

from input_pipeline.layouts import files, poses, viton_files
from input_pipeline.layouts import pairs as pair_lists
from input_pipeline.sample import Sample
from viton_jax.errors import InputError
from viton_jax.io import images
from viton_jax.labels import NUM_LABELS

NAME = 'viton'
NEEDS = 'women_top/, segment/, and pose.pkl or pose/'
DEFAULT_LISTS = {
  'train': 'viton_train_pairs.txt',
  'test': 'viton_test_pairs.txt',
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class VitonLayout(files.PairFolder):
  """Pairs of one data folder.

  Attributes:
    poses: person stem -> (candidate, subset) arrays, from pose.pkl.
    tps: whether to read control points from tps/ where it has them.
    masks: whether garment_mask/ is there.
  """

  poses: dict
  tps: bool
  masks: bool = False

  def load(self, index: int) -> Sample:
    """Reads one pair; raises InputError if something in it is wrong."""
    person_id, garment_id = self.pairs[index]
    stem = pathlib.PurePath(person_id).stem
    person = self.photo(self.folder / 'women_top' / person_id)
    height, width = person.shape[:2]
    parse = read_segment(self.folder / 'segment' / f'{stem}.mat', height, width)
    truth, truth_parse = self._truth(person_id, garment_id, person, parse)
    garment = self.photo(self.folder / 'women_top' / garment_id)
    return Sample(
      person_id=person_id,
      garment_id=garment_id,
      person=person,
      garment=garment,
      keypoints=self._keypoints(stem),
      parse=parse,
      garment_mask=self._mask(garment_id, garment.shape[:2]),
      control_points=self._control_points(person_id, garment_id),
      truth=truth,
      truth_parse=truth_parse,
    )

  def _mask(self, garment_id: str, shape):
    if not self.masks:
      return None
    stem = pathlib.PurePath(garment_id).stem
    path = self.folder / 'garment_mask' / f'{stem}.png'
    return files.read_mask(path, shape=shape)

  def _keypoints(self, stem: str):
    if stem in self.poses:
      source = f'{self.folder / "pose.pkl"} ({stem})'
      return poses.pose_to_keypoints(self.poses[stem], source)
    path = self.folder / 'pose' / f'{stem}.mat'
    if not path.exists():
      raise InputError(
        f'{path}: the pose of {stem} is neither here nor in pose.pkl; '
        'estimate it or take the pair off the list'
      )
    return poses.pose_to_keypoints(files.read_mat(path), str(path))

  def _control_points(self, person_id: str, garment_id: str):
    path = self.folder / 'tps' / f'{pathlib.PurePath(person_id).stem}.mat'
    # The file is named by the person: it gives the person's own garment.
    paired = pair_lists.same_number(person_id, garment_id)
    if not (self.tps and paired and path.exists()):
      return None
    points = np.asarray(files.read_mat(path).get('control_points'))
    if points.shape != (2, 10, 10):
      raise InputError(
        f"{path}: 'control_points' must have shape (2, 10, 10), not "
        f'{points.shape}; remove the file to have them fitted'
      )
    # Stored in 0..1 of the garment's width and height.
    return (points.reshape(2, 100).T * 2 - 1).astype(np.float32)

  def true_flow(self, index: int):
    person_id, garment_id = self.pairs[index]
    path = self._truth_path(person_id, garment_id, '_flow')
    if not path.exists():
      return None
    return viton_files.decode_flow(files.read_file(path, 'flow'), str(path))

  def _truth_path(self, person_id, garment_id, ending=''):
    stems = [pathlib.PurePath(name).stem for name in (person_id, garment_id)]
    return self.folder / 'truth' / f'{stems[0]}_{stems[1]}{ending}.png'

  def _truth(self, person_id, garment_id, person, parse):
    if pair_lists.same_number(person_id, garment_id):
      return person, parse
    path = self._truth_path(person_id, garment_id)
    if not path.exists():
      return None, None
    data = files.read_file(path, 'true image')
    truth = images.decode_image(data, str(path))
    path = self._truth_path(person_id, garment_id, '_parse')
    if not path.exists():
      return truth, None
    data = files.read_file(path, 'label map')
    return truth, images.decode_labels(data, str(path))


def open_viton(
  data_dir,
  pairs: str,
  *,
  decode: Callable = images.decode_image,
  tps: bool = False,
) -> VitonLayout:
  """Opens a folder in the original VITON layout.

  Args:
    data_dir: the folder.
    pairs: a pair list, relative to `data_dir` or absolute; see
      `pairs.open_list`.
    decode: decodes photos, `(bytes, name) -> uint8 RGB`.
    tps: take control points from tps/ where a pair has them.

  Returns:
    the layout.

  Raises:
    InputError: a missing folder, list or pose source; a wrong line; a pose.pkl
      that holds anything but arrays.
  """
  data_dir = pathlib.Path(data_dir)
  for folder in (data_dir, data_dir / 'women_top', data_dir / 'segment'):
    if not folder.is_dir():
      raise InputError(
        f'{folder}: there is no such folder; the viton layout needs '
        'women_top/, segment/, a pair list, and pose.pkl or pose/'
      )
  list_path, pair_list = pair_lists.open_list(
    data_dir / pairs, pair_lists.garment_of_number
  )
  path = data_dir / 'pose.pkl'
  found = {}
  if path.exists():
    stems = {pathlib.PurePath(person).stem for person, _ in pair_list}
    every = poses.read_pose_pickle(path)
    found = {stem: every[stem] for stem in stems if stem in every}
  elif not (data_dir / 'pose').is_dir():
    raise InputError(f'{path}: there is no such file, nor a folder pose/')
  masks = (data_dir / 'garment_mask').is_dir()
  text = (
    f'{NAME}: {len(pair_list)} pairs of {list_path.name} in {data_dir}; '
    'labels segment (LIP); joints '
    + (f'of {len(found)} persons in pose.pkl, else ' if found else '')
    + 'pose (COCO-18); garment masks '
    + ('garment_mask' if masks else 'from the photos')
  )
  return VitonLayout(
    name=NAME,
    folder=data_dir,
    pairs=pair_list,
    found=text,
    decode=decode,
    poses=found,
    tps=tps,
    masks=masks,
  )


def seen(data_dir: pathlib.Path) -> str | None:
  """What of the layout is in a folder, in words; None if it does not fit."""
  if (data_dir / 'women_top').is_dir() and (data_dir / 'segment').is_dir():
    return f'{data_dir} has women_top/ and segment/'
  return None


def read_segment(path: pathlib.Path, height: int, width: int):
  """Reads a label map and brings it into the frame of its photo.

  The stored map is transposed and square: the photo's longer side fills it,
  the rest is padding.

  Args:
    path: the MATLAB file with 'segment'.
    height: of the photo, in pixels.
    width: of the photo, in pixels.

  Returns:
    (height, width) uint8 LIP-20 labels.

  Raises:
    InputError: no such file, or its map is not square or has other labels.
  """
  if not path.exists():
    raise InputError(
      f'{path}: the label map is missing; add it or take the pair off the list'
    )
  segment = np.asarray(files.read_mat(path).get('segment', ()))
  if segment.ndim != 2 or segment.shape[0] != segment.shape[1]:
    raise InputError(
      f"{path}: 'segment' has shape {segment.shape}; it must be square, as "
      '(641, 641), with the photo in its top-left corner and transposed'
    )
  if not segment.size or segment.dtype.kind not in 'biuf':
    raise InputError(
      f"{path}: 'segment' is empty or not numeric (shape {segment.shape}, "
      f'type {segment.dtype}); it must hold LIP-20 labels'
    )
  labels = (
    segment.astype(np.uint8, casting='unsafe')
    if (
      np.isfinite(segment).all()
      and segment.min() >= 0
      and segment.max() < NUM_LABELS
    )
    else None
  )
  if labels is None or (labels != segment).any():
    raise InputError(
      f"{path}: 'segment' has values from {segment.min()} to "
      f'{segment.max()} or between whole numbers; LIP-20 labels are whole '
      'numbers from 0 to 19'
    )
  side = max(height, width)
  # A transposed view is not contiguous, which OpenCV needs.
  labels = cv2.resize(
    np.ascontiguousarray(labels.T),
    (side, side),
    interpolation=cv2.INTER_NEAREST_EXACT,
  )
  return np.ascontiguousarray(labels[:height, :width])
