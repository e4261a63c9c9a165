"""What CP-VTON and VITON-HD share: splits with one folder a kind of file."""

from collections.abc import Callable
import dataclasses
import pathlib

from input_pipeline.layouts import files, keypoint_files, label_maps, pairs
from input_pipeline.sample import Sample
from viton_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class SplitLayout:
  """Pairs of one split; picklable, so that workers can load from it.

  Attributes:
    name: of the layout.
    folder: the split's folder, with image/ and cloth/.
    pairs: (person file, garment file) of every pair.
    found: what was found, and which rules hold, in words.
    decode: (bytes, name) -> (h, w, 3) uint8 RGB, for photos.
    parse_dir: folder of the label maps.
    labels: what the maps' numbers mean.
    pose_dir: folder of OpenPose's files.
    pose_model: the one that is right, or None: told by the count of numbers.
    coordinates_tell: see `keypoint_files.read_openpose`.
    mask_dir: folder of the garments' masks, or None.
    paired: (person file, garment file) -> whether it is the person's own.
  """

  name: str
  folder: pathlib.Path
  pairs: tuple[tuple[str, str], ...]
  found: str
  decode: Callable
  parse_dir: str
  labels: label_maps.LabelSet
  pose_dir: str
  pose_model: str | None
  coordinates_tell: bool
  mask_dir: str | None
  paired: Callable

  def __len__(self) -> int:
    return len(self.pairs)

  def __iter__(self):
    return map(self.load, range(len(self)))

  def load(self, index: int) -> Sample:
    """Reads one pair; raises InputError if something in it is wrong."""
    person_id, garment_id = self.pairs[index]
    stem = pathlib.PurePath(person_id).stem
    person = self._photo('image', person_id)
    garment = self._photo('cloth', garment_id)
    frame = person.shape[:2]
    parse = label_maps.settle_garment(
        label_maps.read_label_map(
            self.folder / self.parse_dir / f'{stem}.png',
            self.labels,
            shape=frame,
        )
    )
    keypoints = keypoint_files.read_openpose(
        self.folder / self.pose_dir / f'{stem}_keypoints.json',
        frame,
        model=self.pose_model,
        coordinates_tell=self.coordinates_tell,
    )
    mask = None
    if self.mask_dir:
      path = files.with_suffix_that_exists(
          self.folder / self.mask_dir / garment_id, '.jpg', '.png'
      )
      mask = files.read_mask(path, shape=garment.shape[:2])
    paired = self.paired(person_id, garment_id)
    return Sample(
        person_id=person_id,
        garment_id=garment_id,
        person=person,
        garment=garment,
        keypoints=keypoints,
        parse=parse,
        garment_mask=mask,
        truth=person if paired else None,
        truth_parse=parse if paired else None,
    )

  def _photo(self, folder: str, file_name: str):
    path = self.folder / folder / file_name
    return self.decode(files.read_file(path, 'photo'), str(path))


def open_split(
    name: str,
    data_dir,
    pair_list: str,
    *,
    decode: Callable,
    parse_sets: dict[str, label_maps.LabelSet],
    pose_dirs: tuple[str, ...],
    pose_model: str | None,
    coordinates_tell: bool,
    own_garment: Callable,
    paired: Callable,
    hint: str = '',
) -> SplitLayout:
  """Opens one split, finding out which spelling its folders have.

  Args:
    name: of the layout.
    data_dir: the folder with train/ and test/, or one of these.
    pair_list: relative to `data_dir` or absolute; see `pairs.open_list`.
    decode: decodes photos, `(bytes, name) -> uint8 RGB`.
    parse_sets: folders that label maps may lie in, the preferred one first,
      and their sets of labels.
    pose_dirs: folders that OpenPose's files may lie in.
    pose_model: see `SplitLayout`.
    coordinates_tell: see `SplitLayout`.
    own_garment: person file -> garment file.
    paired: see `SplitLayout`.
    hint: where pair lists are found, for the error if one is missing.

  Returns:
    the layout.

  Raises:
    InputError: a missing folder or list; a wrong line.
  """
  data_dir = pathlib.Path(data_dir)
  if not data_dir.is_dir():
    raise InputError(
        f'{data_dir}: there is no such folder; the {name} layout needs one '
        'with train/ or test/ and a pair list'
    )
  path, pair_tuple = pairs.open_list(
      data_dir / pair_list, own_garment, hint=hint
  )
  folder, why = pairs.find_split(data_dir, path, pair_tuple)
  parse_dir = _first_folder(folder, tuple(parse_sets), name, 'label maps')
  pose_dir = _first_folder(folder, pose_dirs, name, 'poses')
  mask_dir = 'cloth-mask' if (folder / 'cloth-mask').is_dir() else None
  labels = parse_sets[parse_dir]
  joints = pose_model or 'COCO-18 or BODY_25, by the count of numbers'
  rule = 'x > 1 and y > 1' if coordinates_tell else 'confidence > 0'
  found = (
      f'{name}: {len(pair_tuple)} pairs of {path.name} in {folder} ({why}); '
      f'labels {parse_dir} ({labels.name}); joints {pose_dir} ({joints}, there '
      f'if {rule}); garment masks '
      + (mask_dir or 'from the photos, because there is no cloth-mask')
  )
  return SplitLayout(
      name=name,
      folder=folder,
      pairs=pair_tuple,
      found=found,
      decode=decode,
      parse_dir=parse_dir,
      labels=labels,
      pose_dir=pose_dir,
      pose_model=pose_model,
      coordinates_tell=coordinates_tell,
      mask_dir=mask_dir,
      paired=paired,
  )


def _first_folder(folder: pathlib.Path, names, layout: str, what: str) -> str:
  for name in names:
    if (folder / name).is_dir():
      return name
  raise InputError(
      f'{folder}: the {layout} layout needs a folder {" or ".join(names)} '
      f'there for the {what}; add it or choose another layout'
  )


def seen(data_dir: pathlib.Path, parse_dirs, pose_dirs) -> str | None:
  """What of the layout is in a folder, in words; None if it does not fit."""
  for folder in pairs.split_folders(data_dir):
    parse_dir = next((x for x in parse_dirs if (folder / x).is_dir()), None)
    pose_dir = next((x for x in pose_dirs if (folder / x).is_dir()), None)
    if parse_dir and pose_dir:
      return f'{folder} has image/, cloth/, {parse_dir}/ and {pose_dir}/'
  return None
