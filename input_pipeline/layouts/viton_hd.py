"""The layout of VITON-HD: photos of 1024 x 768, garments named as persons.

    data_dir/
      train_pairs.txt, test_pairs.txt     'person.jpg garment.jpg' a line
      train/, test/
        image/00000_00.jpg                person
        cloth/00000_00.jpg                garment, named as its person
        cloth-mask/00000_00.jpg           white garment on black; optional
        image-parse-v3/00000_00.png       CIHP labels; or image-parse/
        openpose_json/00000_00_keypoints.json   OpenPose; or openpose-json/

image-parse and hyphens are the older download's spelling.
"""

from collections.abc import Callable
import pathlib

from input_pipeline import images
from input_pipeline.layouts import label_maps, pairs, split_layout

NAME = 'viton_hd'
NEEDS = (
    'image/, cloth/, image-parse-v3/ (or image-parse/) and openpose_json/ (or '
    'openpose-json/) in train/ or test/'
)
DEFAULT_LISTS = {'train': 'train_pairs.txt', 'test': 'test_pairs.txt'}
_PARSE_SETS = {
    'image-parse-v3': label_maps.CIHP,
    'image-parse': label_maps.CIHP,
}
_POSE_DIRS = ('openpose_json', 'openpose-json')


def open_viton_hd(
    data_dir,
    pair_list: str,
    *,
    decode: Callable = images.decode_image,
) -> split_layout.SplitLayout:
  """Opens a folder in the layout of VITON-HD; see `split_layout.open_split`."""
  return split_layout.open_split(
      NAME,
      data_dir,
      pair_list,
      decode=decode,
      parse_sets=_PARSE_SETS,
      pose_dirs=_POSE_DIRS,
      pose_model=None,
      coordinates_tell=False,
      own_garment=pairs.garment_of_name,
      paired=pairs.same_name,
  )


def seen(data_dir: pathlib.Path) -> str | None:
  """What of the layout is in a folder, in words; None if it does not fit."""
  return split_layout.seen(data_dir, tuple(_PARSE_SETS), _POSE_DIRS)
