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

from input_pipeline.layouts import pairs, split_layout
from viton_jax import labels

SPEC = split_layout.Spec(
  name='viton_hd',
  needs=(
    'image/, cloth/, image-parse-v3/ (or image-parse/) and openpose_json/ '
    '(or openpose-json/) in train/ or test/'
  ),
  parse_sets={'image-parse-v3': labels.CIHP, 'image-parse': labels.CIHP},
  pose_dirs=('openpose_json', 'openpose-json'),
  pose_model=None,
  coordinates_tell=False,
  own_garment=pairs.garment_of_name,
  paired=pairs.same_name,
)
