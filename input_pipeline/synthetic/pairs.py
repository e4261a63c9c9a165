"""A person in a garment, with everything that is known about the image."""

import dataclasses

import numpy as np

from input_pipeline.sample import Sample
from input_pipeline.synthetic import styles
from input_pipeline.synthetic.people import visible_keypoints


@dataclasses.dataclass(frozen=True)
class SyntheticPair:
  """A drawn person, the garment they wear, and the truth about both.

  Attributes:
    person: uint8 (h, w, 3) RGB.
    garment: uint8 (h, w, 3) RGB, the flat garment, 255 off it.
    keypoints: float32 (18, 3), COCO-18; x, y in pixels, confidence (0, with
      x = y = 0, for a joint outside the image).
    parse: uint8 (h, w), LIP-20 labels of `person`.
    garment_mask: bool (h, w), the garment in `garment`.
    flat_coordinates: float32 (h, w, 2): for each pixel of `person` that shows
      the garment, x, y of the same point of cloth in `garment`, in pixels with
      centres at integers; NaN elsewhere.
  """

  person: np.ndarray
  garment: np.ndarray
  keypoints: np.ndarray
  parse: np.ndarray
  garment_mask: np.ndarray
  flat_coordinates: np.ndarray

  def sample(self, person_id, garment_id):
    """The pair as a `Sample` under these file names."""
    return Sample(
      person_id=person_id,
      garment_id=garment_id,
      person=self.person,
      garment=self.garment,
      keypoints=self.keypoints,
      parse=self.parse,
      garment_mask=self.garment_mask,
    )


def render_pair(seed, index, height=512, *, garment_index=None, style='plain'):
  """Renders a person in a garment.

  Args:
    seed: non-negative int of the data set.
    index: number of the person, from 1.
    height: image height in pixels, at least 64; the width is 3/4 of it.
    garment_index: number of the garment; the person's own by default.
    style: 'plain' or 'photo', see `styles`.

  Returns:
    A SyntheticPair; a function of the arguments alone, bit for bit.

  Raises:
    InputError: there is no such style.
  """
  if garment_index is None:
    garment_index = index
  painters = styles.style_of(style)
  person = painters.make_person(seed, index, height=height)
  garment = painters.make_garment(seed, garment_index, height=height)
  flat = painters.draw_flat(garment)
  canvas = painters.draw(person, garment, flat)
  return SyntheticPair(
    person=painters.finish(canvas, person),
    garment=painters.flat_photo(garment, flat),
    keypoints=visible_keypoints(person),
    parse=canvas.parse,
    garment_mask=flat.mask,
    flat_coordinates=canvas.flat,
  )
