"""The layout of CP-VTON, and of CP-VTON+: VITON at 256 x 192.

    data_dir/
      train_pairs.txt, test_pairs.txt     'person.jpg garment.jpg' a line
      test_pairs_same.txt                 of CP-VTON+: the test persons, paired
      train/, test/
        image/000001_0.jpg                person
        cloth/000001_1.jpg                garment
        cloth-mask/000001_1.jpg           white garment on black; optional
        image-parse-new/000001_0.png      of CP-VTON+, where there is one: LIP
                                          labels and 20 for skin
        image-parse/000001_0.png          else this one: LIP labels
        pose/000001_0_keypoints.json      OpenPose, COCO-18, in pixels of image
"""

from collections.abc import Callable
import pathlib

from input_pipeline import images
from input_pipeline.layouts import label_maps, pairs, split_layout

NAME = 'cp_vton'
NEEDS = (
    'image/, cloth/, image-parse/ (or image-parse-new/) and pose/ in train/ or '
    'test/'
)
DEFAULT_LISTS = {'train': 'train_pairs.txt', 'test': 'test_pairs.txt'}
# Files of CP-VTON+ carry the label 20 under the old name, too.
_PARSE_SETS = {
    'image-parse-new': label_maps.LIP_AND_SKIN,
    'image-parse': label_maps.LIP_AND_SKIN,
}
_POSE_DIRS = ('pose',)


def open_cp_vton(
    data_dir,
    pair_list: str,
    *,
    decode: Callable = images.decode_image,
) -> split_layout.SplitLayout:
  """Opens a folder in the layout of CP-VTON; see `split_layout.open_split`."""
  return split_layout.open_split(
      NAME,
      data_dir,
      pair_list,
      decode=decode,
      parse_sets=_PARSE_SETS,
      pose_dirs=_POSE_DIRS,
      pose_model='COCO-18',
      coordinates_tell=True,
      own_garment=pairs.garment_of_number,
      paired=pairs.same_number,
      hint='; CP-VTON keeps its lists with its code, in data/',
  )


def seen(data_dir: pathlib.Path) -> str | None:
  """What of the layout is in a folder, in words; None if it does not fit."""
  return split_layout.seen(data_dir, tuple(_PARSE_SETS), _POSE_DIRS)
