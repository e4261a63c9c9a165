"""The classes that the body parser tells apart, as LIP-20 labels."""

import numpy as np

from viton_jax.labels import LIP_NAMES, SKIN

# Background, hair, face, upper clothes, skin of the torso, left and right arm,
# trousers, skirt, left and right leg, left and right shoe.
CLASS_LABELS = (0, 2, 13, 5, SKIN, 14, 15, 9, 12, 16, 17, 18, 19)
NUM_CLASSES = len(CLASS_LABELS)
TROUSERS, SKIRT = CLASS_LABELS.index(9), CLASS_LABELS.index(12)
# Hats go with the hair, glasses with the face, coats and scarves with the top.
_SAME_AS = {1: 2, 4: 13, 6: 5, 7: 5, 11: 5}


def class_of_label() -> np.ndarray:
  """(20,) int32: the class of each LIP-20 label, background if it has none."""
  table = np.zeros(len(LIP_NAMES), np.int32)
  for label in range(len(LIP_NAMES)):
    kept = _SAME_AS.get(label, label)
    if kept in CLASS_LABELS:
      table[label] = CLASS_LABELS.index(kept)
  return table
