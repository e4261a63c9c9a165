"""Labels of pixels and joints of people: LIP, ATR, CIHP and COCO-18.

Everything in this project has LIP-20 label maps and COCO-18 keypoints; other
sets are brought to these when they are read.

References:
  Gong et al., Look into Person, CVPR 2017: the 20 labels.
  Cao et al., OpenPose, CVPR 2017: the 18 joints of its COCO model.
"""

import dataclasses

# ------------------------------------------------------------------ joints
# COCO-18. Left and right are the person's.
KEYPOINT_NAMES = (
    'nose', 'neck',
    'right_shoulder', 'right_elbow', 'right_wrist',
    'left_shoulder', 'left_elbow', 'left_wrist',
    'right_hip', 'right_knee', 'right_ankle',
    'left_hip', 'left_knee', 'left_ankle',
    'right_eye', 'left_eye', 'right_ear', 'left_ear',
)  # fmt: skip
NUM_KEYPOINTS = len(KEYPOINT_NAMES)
(
    NOSE, NECK, R_SHOULDER, R_ELBOW, R_WRIST, L_SHOULDER, L_ELBOW, L_WRIST,
    R_HIP, R_KNEE, R_ANKLE, L_HIP, L_KNEE, L_ANKLE, R_EYE, L_EYE, R_EAR, L_EAR,
) = range(NUM_KEYPOINTS)  # fmt: skip
# Neck, right and left shoulder.
SHOULDER_KEYPOINTS = (NECK, R_SHOULDER, L_SHOULDER)
# Which joint a mirror shows in the place of each.
MIRRORED_JOINTS = (
    0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16
)  # fmt: skip
# Pairs of joints with a bone between them, to draw a skeleton.
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10),
    (1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip

# ------------------------------------------------------------------ pixels
LIP_NAMES = (
    'background', 'hat', 'hair', 'glove', 'sunglasses', 'upper clothes',
    'dress', 'coat', 'socks', 'trousers', 'jumpsuit', 'scarf', 'skirt', 'face',
    'left arm', 'right arm', 'left leg', 'right leg', 'left shoe',
    'right shoe',
)  # fmt: skip
NUM_LABELS = len(LIP_NAMES)
# The garment that is exchanged.
GARMENT_LABEL = 5
# Hat, hair, sunglasses, face: what VITON keeps of the person.
HEAD_LABELS = (1, 2, 4, 13)
FACE = 13
ARM_LABELS = (14, 15)
# Which label a mirror shows in the place of each: arms, legs and shoes change.
MIRRORED_LABELS = (*range(14), 15, 14, 17, 16, 19, 18)
# Lower clothes, legs and shoes.
LOWER_LABELS = (8, 9, 12, 16, 17, 18, 19)
# Parsers mix these up with the upper garment.
DRESS_AND_COAT_LABELS = (6, 7)
# Bare skin of neck and chest. LIP has no label for it; where other sets do, it
# must be body, but neither garment nor the head that is kept. LIP's 10
# (jumpsuit) is treated so everywhere here.
SKIN = 10
# The colours that tools for LIP and CIHP write, label by label, as RGB.
LIP_COLOURS = (
    (0, 0, 0), (128, 0, 0), (255, 0, 0), (0, 85, 0), (170, 0, 51),
    (255, 85, 0), (0, 0, 85), (0, 119, 221), (85, 85, 0), (0, 85, 85),
    (85, 51, 0), (52, 86, 128), (0, 128, 0), (0, 0, 255), (51, 170, 221),
    (0, 255, 255), (85, 255, 170), (170, 255, 85), (255, 255, 0),
    (255, 170, 0),
)  # fmt: skip
# ATR's 18 labels in their order, and LIP's for each. A belt goes with the
# trousers; a bag is not the person.
ATR_TO_LIP = {
    'background': 0, 'hat': 1, 'hair': 2, 'sunglasses': 4, 'upper clothes': 5,
    'skirt': 12, 'trousers': 9, 'dress': 6, 'belt': 9, 'left shoe': 18,
    'right shoe': 19, 'head': 13, 'left leg': 16, 'right leg': 17,
    'left arm': 14, 'right arm': 15, 'bag': 0, 'scarf': 11,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class LabelSet:
  """A set of labels and where each goes.

  Attributes:
    name: what to call it.
    to_lip: the LIP-20 label of each, by number.
    colours: whether RGB files with LIP's colours are admitted.
  """

  name: str
  to_lip: tuple[int, ...]
  colours: bool = False


_SAME = tuple(range(NUM_LABELS))
LIP = LabelSet('LIP', _SAME, colours=True)
# Label 20 of CP-VTON+: skin of neck and chest.
LIP_AND_SKIN = LabelSet('LIP, 20 is skin', (*_SAME, SKIN), colours=True)
# As LIP, but 10 is the skin of the torso and the neck.
CIHP = LabelSet(
  'CIHP, 10 is skin', (*_SAME[:10], SKIN, *_SAME[11:]), colours=True
)
ATR = LabelSet('ATR', tuple(ATR_TO_LIP.values()))
# By the names that options have.
LABEL_SETS = {'lip': LIP, 'cihp': CIHP, 'atr': ATR}
