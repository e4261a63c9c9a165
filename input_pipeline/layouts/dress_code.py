"""The layout of DressCode, upper body.

data_dir/                             or upper_body/ itself
  upper_body/
    train_pairs.txt, test_pairs_paired.txt, test_pairs_unpaired.txt
    images/013563_0.jpg               person; 013563_1.jpg: garment
    keypoints/013563_2.json           'keypoints': 18 joints, COCO-18, in a
                                      frame of 384 x 512 pixels
    label_maps/013563_4.png           ATR labels
    masks/013563_1.png                white garment on black; optional
"""

from collections.abc import Callable
import dataclasses
import pathlib

from input_pipeline.layouts import files, keypoint_files, label_maps
from input_pipeline.layouts import pairs as pair_lists
from input_pipeline.sample import Sample
from viton_jax import labels
from viton_jax.errors import InputError
from viton_jax.io import images

NAME = 'dress_code'
NEEDS = 'images/, keypoints/ and label_maps/ in upper_body/'
DEFAULT_LISTS = {'train': 'train_pairs.txt', 'test': 'test_pairs_unpaired.txt'}
CATEGORY = 'upper_body'
_FOLDERS = ('images', 'keypoints', 'label_maps')


@dataclasses.dataclass(frozen=True, kw_only=True)
class DressCodeLayout(files.PairFolder):
  """Pairs of upper_body/.

  Attributes:
    masks: whether masks/ is there.
  """

  masks: bool

  def load(self, index: int) -> Sample:
    """Reads one pair; raises InputError if something in it is wrong."""
    person_id, garment_id = self.pairs[index]
    number = pathlib.PurePath(person_id).stem.rpartition('_')[0]
    person = self.photo(self.folder / 'images' / person_id)
    garment = self.photo(self.folder / 'images' / garment_id)
    frame = person.shape[:2]
    keypoints = keypoint_files.read_dress_code(
      self.folder / 'keypoints' / f'{number}_2.json', frame
    )
    parse = label_maps.read_label_map(
      self.folder / 'label_maps' / f'{number}_4.png',
      labels.ATR,
      shape=frame,
    )
    mask = None
    if self.masks:
      path = (self.folder / 'masks' / garment_id).with_suffix('.png')
      mask = files.read_mask(path, shape=garment.shape[:2])
    paired = pair_lists.same_number(person_id, garment_id)
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


def open_dress_code(
  data_dir,
  pair_list: str,
  *,
  decode: Callable = images.decode_image,
) -> DressCodeLayout:
  """Opens upper_body/ of a folder in the layout of DressCode.

  Args:
    data_dir: the folder with upper_body/, or upper_body/ itself.
    pair_list: a list of upper_body/ by its name, or else relative to
      `data_dir` or absolute (lists next to upper_body/ are of all categories);
      see `pairs.open_list`.
    decode: decodes photos, `(bytes, name) -> uint8 RGB`.

  Returns:
    the layout.

  Raises:
    InputError: a missing folder or list; a wrong line.
  """
  data_dir = pathlib.Path(data_dir)
  folder = _category_folder(data_dir)
  for name in _FOLDERS:
    if not (folder / name).is_dir():
      raise InputError(
        f'{folder / name}: there is no such folder; the dress_code layout '
        f'needs {NEEDS}, of which it reads that category alone'
      )
  path = folder / pair_list
  if not path.with_name(path.name.removesuffix(pair_lists.PAIRED)).exists():
    path = data_dir / pair_list
  path, pairs = pair_lists.open_list(path, pair_lists.garment_of_number)
  masks = (folder / 'masks').is_dir()
  found = (
    f'{NAME}: {len(pairs)} pairs of {path} in {folder}; labels label_maps '
    '(ATR, brought to LIP); joints keypoints (COCO-18 in 384 x 512, scaled '
    'to the photo, there if x > 1 and y > 1); garment masks '
    + ('masks' if masks else 'from the photos, because there is no masks')
  )
  return DressCodeLayout(
    name=NAME,
    folder=folder,
    pairs=pairs,
    found=found,
    decode=decode,
    masks=masks,
  )


def _category_folder(data_dir: pathlib.Path) -> pathlib.Path:
  """upper_body/ in a folder, or the folder if it has images/ itself."""
  itself = data_dir if (data_dir / 'images').is_dir() else None
  return itself or data_dir / CATEGORY


def seen(data_dir: pathlib.Path) -> str | None:
  """What of the layout is in a folder, in words; None if it does not fit."""
  folder = _category_folder(data_dir)
  if all((folder / name).is_dir() for name in _FOLDERS):
    return f'{folder} has images/, keypoints/ and label_maps/'
  return None
