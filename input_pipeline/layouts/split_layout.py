"""What CP-VTON and VITON-HD share: splits with one folder a kind of file."""

from collections.abc import Callable
import dataclasses
import pathlib

from input_pipeline.layouts import files, keypoint_files, label_maps, pairs
from input_pipeline.sample import Sample
from viton_jax.errors import InputError
from viton_jax.labels import LabelSet


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitLayout(files.PairFolder):
  """Pairs of one split, whose folder has image/ and cloth/.

  Attributes:
    parse_dir: folder of the label maps.
    labels: what the maps' numbers mean.
    pose_dir: folder of OpenPose's files.
    pose_model: which one, or None: found by the count of numbers.
    coordinates_tell: see `keypoint_files.read_openpose`.
    mask_dir: folder of the garments' masks, or None.
    paired: (person file, garment file) -> whether it is the person's own.
  """

  parse_dir: str
  labels: LabelSet
  pose_dir: str
  pose_model: str | None
  coordinates_tell: bool
  mask_dir: str | None
  paired: Callable

  def load(self, index: int) -> Sample:
    """Reads one pair; raises InputError if something in it is wrong."""
    person_id, garment_id = self.pairs[index]
    stem = pathlib.PurePath(person_id).stem
    person = self.photo(self.folder / 'image' / person_id)
    garment = self.photo(self.folder / 'cloth' / garment_id)
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


@dataclasses.dataclass(frozen=True)
class Spec:
  """How one of these layouts spells what they share.

  Attributes:
    name: of the layout.
    needs: what a folder must have, in words.
    parse_sets: folders that label maps may lie in, the preferred one first,
      and their sets of labels.
    pose_dirs: folders that OpenPose's files may lie in.
    pose_model: see `SplitLayout`.
    coordinates_tell: see `SplitLayout`.
    own_garment: person file -> garment file.
    paired: see `SplitLayout`.
    hint: where pair lists are found, for the error if one is missing.
    default_lists: split -> its pair list.
  """

  name: str
  needs: str
  parse_sets: dict[str, LabelSet]
  pose_dirs: tuple[str, ...]
  pose_model: str | None
  coordinates_tell: bool
  own_garment: Callable
  paired: Callable
  hint: str = ''
  default_lists: dict[str, str] = dataclasses.field(
    default_factory=lambda: {
      'train': 'train_pairs.txt',
      'test': 'test_pairs.txt',
    }
  )


def open_split(
  spec: Spec, data_dir, *, pair_list: str, decode: Callable
) -> SplitLayout:
  """Opens one split, finding out which spelling its folders have.

  Args:
    spec: the layout.
    data_dir: the folder with train/ and test/, or one of these.
    pair_list: relative to `data_dir` or absolute; see `pairs.open_list`.
    decode: decodes photos, `(bytes, name) -> uint8 RGB`.

  Returns:
    the layout.

  Raises:
    InputError: a missing folder or list; a wrong line.
  """
  data_dir = pathlib.Path(data_dir)
  if not data_dir.is_dir():
    raise InputError(
      f'{data_dir}: there is no such folder; the {spec.name} layout needs '
      'one with train/ or test/ and a pair list'
    )
  path, pair_tuple = pairs.open_list(
    data_dir / pair_list, spec.own_garment, hint=spec.hint
  )
  folder, why = pairs.find_split(data_dir, path, pair_tuple)
  parse_dir = _first_folder(folder, spec.parse_sets, spec.name, 'label maps')
  pose_dir = _first_folder(folder, spec.pose_dirs, spec.name, 'poses')
  mask_dir = 'cloth-mask' if (folder / 'cloth-mask').is_dir() else None
  labels = spec.parse_sets[parse_dir]
  joints = spec.pose_model or 'COCO-18 or BODY_25, by the count of numbers'
  rule = 'x > 1 and y > 1' if spec.coordinates_tell else 'confidence > 0'
  found = (
    f'{spec.name}: {len(pair_tuple)} pairs of {path.name} in {folder} '
    f'({why}); labels {parse_dir} ({labels.name}); joints {pose_dir} '
    f'({joints}, there if {rule}); garment masks '
    + (mask_dir or 'from the photos, because there is no cloth-mask')
  )
  return SplitLayout(
    name=spec.name,
    folder=folder,
    pairs=pair_tuple,
    found=found,
    decode=decode,
    parse_dir=parse_dir,
    labels=labels,
    pose_dir=pose_dir,
    pose_model=spec.pose_model,
    coordinates_tell=spec.coordinates_tell,
    mask_dir=mask_dir,
    paired=spec.paired,
  )


def _first_folder(folder: pathlib.Path, names, layout: str, what: str) -> str:
  for name in names:
    if (folder / name).is_dir():
      return name
  raise InputError(
    f'{folder}: the {layout} layout needs a folder {" or ".join(names)} '
    f'there for the {what}; add it or choose another layout'
  )


def seen(spec: Spec, data_dir: pathlib.Path) -> str | None:
  """What of a layout is in a folder, in words; None if it does not fit."""
  for folder in pairs.split_folders(data_dir):
    parse_dir, pose_dir = (
      next((name for name in names if (folder / name).is_dir()), None)
      for names in (spec.parse_sets, spec.pose_dirs)
    )
    if parse_dir and pose_dir:
      return f'{folder} has image/, cloth/, {parse_dir}/ and {pose_dir}/'
  return None
