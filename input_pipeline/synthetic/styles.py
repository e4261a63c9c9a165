"""The styles of drawing: painters with the same signatures, in fixed order."""

from collections.abc import Callable
import dataclasses

import numpy as np

from input_pipeline.synthetic import (
  drawing,
  dressing,
  figure,
  flat,
  garments,
  hair,
  head,
  people,
)
from input_pipeline.synthetic.drawing import Canvas
from input_pipeline.synthetic.flat import FlatGarment
from input_pipeline.synthetic.garments import Garment
from input_pipeline.synthetic.people import Person
from input_pipeline.synthetic.photo import (
  body,
  carried,
  cloth,
  face,
  scenes,
  surface,
)
from input_pipeline.synthetic.photo import flat as photo_flat
from input_pipeline.synthetic.photo import garments as photo_garments
from input_pipeline.synthetic.photo import hair as photo_hair
from input_pipeline.synthetic.photo import people as photo_people
from viton_jax.errors import InputError

_CAMERA = 50  # A stream of a person's random numbers.


@dataclasses.dataclass(frozen=True)
class Style:
  """How people and garments are drawn.

  Attributes:
    make_person, make_garment: (seed, index, *, height) to what is drawn.
    draw_flat: a garment to its flat cloth.
    flat_photo: garment, flat cloth to the shop's photo, uint8 (h, w, 3).
    start: a person to an empty canvas, with the backdrop if need be.
    finish: canvas, person to the photo, uint8 (h, w, 3).
    draw_back_hair, draw_torso, draw_bottom, draw_head, draw_front_hair: paint
      a part of a person: (canvas, person).
    draw_neck: a hood behind the neck, or a polo neck around it:
      (canvas, person, *, garment, flat).
    dress_torso, draw_arms: see `dressing`.
    draw_bag: what people carry before the garment: (canvas, person).
    jpeg_quality: lowest and highest of its files.
  """

  make_person: Callable[..., Person]
  make_garment: Callable[..., Garment]
  draw_flat: Callable[[Garment], FlatGarment]
  flat_photo: Callable[[Garment, FlatGarment], np.ndarray]
  start: Callable[[Person], Canvas]
  finish: Callable[[Canvas, Person], np.ndarray]
  draw_back_hair: Callable
  draw_torso: Callable
  draw_bottom: Callable
  draw_head: Callable
  draw_front_hair: Callable
  draw_neck: Callable
  dress_torso: Callable
  draw_arms: Callable
  draw_bag: Callable
  jpeg_quality: tuple[int, int]

  def draw(self, person, garment, flat) -> Canvas:
    """Paints a person in a garment from back to front."""
    canvas = self.start(person)
    fold_seed = (person.seed, person.index, garment.index)
    worn = dict(garment=garment, flat=flat)
    self.draw_back_hair(canvas, person)
    if garment.collar == 'hood':
      self.draw_neck(canvas, person, **worn)
    self.draw_torso(canvas, person)
    self.draw_bottom(canvas, person)
    if garment.collar == 'turtle':
      self.draw_neck(canvas, person, **worn)
    self.dress_torso(canvas, person, **worn, fold_seed=fold_seed)
    self.draw_bag(canvas, person)
    self.draw_arms(canvas, person, **worn, fold_seed=fold_seed)
    self.draw_head(canvas, person)
    self.draw_front_hair(canvas, person)
    return canvas


def _start_plain(person):
  canvas = drawing.blank(person.height, person.width)
  figure.draw_backdrop(canvas, person)
  return canvas


def _start_photo(person):
  light = surface.make_light(person.rng(_CAMERA))
  return surface.Surface(
    person.height, person.width, light=light, unit=person.unit
  )


def _finish_photo(canvas, person):
  rng = person.rng(_CAMERA, 1)
  scene = scenes.draw_scene(rng, canvas.shape)
  body.draw_shade(canvas, person, scene)
  image = canvas.lit(scene)
  return surface.photograph(image, rng, sharp=person.height / 512)


def _draw_photo_hair(canvas, person):
  # The cap covers where the locks begin.
  photo_hair.draw_front_hair(canvas, person)
  photo_hair.draw_cap(canvas, person)
  photo_hair.draw_hat(canvas, person)


PLAIN = Style(
  make_person=people.make_person,
  make_garment=garments.make_garment,
  draw_flat=flat.draw_flat,
  flat_photo=lambda garment, drawn: drawing.to_uint8(drawn.photo),
  start=_start_plain,
  finish=lambda canvas, person: drawing.to_uint8(canvas.rgb),
  draw_back_hair=hair.draw_back_hair,
  draw_torso=figure.draw_torso,
  draw_bottom=figure.draw_bottom,
  draw_head=head.draw_head,
  draw_front_hair=hair.draw_front_hair,
  draw_neck=lambda *args, **more: None,
  dress_torso=dressing.dress_torso,
  draw_arms=dressing.draw_arms,
  draw_bag=lambda canvas, person: None,
  jpeg_quality=(95, 95),
)
PHOTO = Style(
  make_person=photo_people.make_person,
  make_garment=photo_garments.make_garment,
  draw_flat=photo_flat.draw_flat,
  flat_photo=photo_flat.develop,
  start=_start_photo,
  finish=_finish_photo,
  draw_back_hair=photo_hair.draw_back_hair,
  draw_torso=body.draw_torso,
  draw_bottom=body.draw_bottom,
  draw_head=face.draw_head,
  draw_front_hair=_draw_photo_hair,
  draw_neck=cloth.draw_neck,
  dress_torso=cloth.dress_torso,
  draw_arms=cloth.draw_arms,
  draw_bag=carried.draw_bag,
  jpeg_quality=(74, 96),
)
STYLES = {'plain': PLAIN, 'photo': PHOTO}


def style_of(name: str) -> Style:
  """The Style of a name; InputError for others."""
  if name not in STYLES:
    raise InputError(
      f'the style {name!r} is unknown; choose one of {", ".join(STYLES)}.'
    )
  return STYLES[name]
