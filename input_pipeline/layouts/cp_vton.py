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

from input_pipeline.layouts import pairs, split_layout
from viton_jax import labels

SPEC = split_layout.Spec(
  name='cp_vton',
  needs=(
    'image/, cloth/, image-parse/ (or image-parse-new/) and pose/ in '
    'train/ or test/'
  ),
  # Files of CP-VTON+ carry the label 20 under the old name, too.
  parse_sets={
    'image-parse-new': labels.LIP_AND_SKIN,
    'image-parse': labels.LIP_AND_SKIN,
  },
  pose_dirs=('pose',),
  pose_model='COCO-18',
  coordinates_tell=True,
  own_garment=pairs.garment_of_number,
  paired=pairs.same_number,
  hint='; CP-VTON keeps its lists with its code, in data/',
)
