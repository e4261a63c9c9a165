"""What `import viton_jax` shows: names, signatures, help, results."""

import inspect
import pydoc

import numpy as np

import viton_jax
from viton_jax.photo.framing import Box


def test_every_public_name_resolves_and_is_listed():
  for name in viton_jax.__all__:
    assert getattr(viton_jax, name) is not None, name
  assert set(viton_jax.__all__) <= set(dir(viton_jax))


def test_the_signature_of_try_on():
  parameters = inspect.signature(viton_jax.try_on).parameters
  assert list(parameters)[:2] == ['person', 'garment']
  assert {'checkpoint', 'method', 'pose', 'parse'} <= parameters.keys()
  for name in list(parameters)[2:]:
    assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY, name
  assert parameters['method'].default == 'viton'


def test_help_tells_arguments_and_errors():
  text = pydoc.render_doc(viton_jax.try_on, renderer=pydoc.plaintext)
  for part in ('Puts the garment of one photo', 'checkpoint:', 'InputError:'):
    assert part in text


def test_a_result_is_shown_in_a_few_lines():
  image = np.zeros((600, 400, 3), np.uint8)
  result = viton_jax.TryOnResult(
    picture=image,
    box=Box(0, 10, 300, 400),
    keypoints=np.zeros((18, 3), np.float32),
    parse=np.zeros((400, 300), np.uint8),
    garment_mask=np.zeros((500, 500), bool),
    steps={'person': image, 'result': image},
    notes=('joints: given', 'labels: given'),
  )
  shown = repr(result)
  assert len(shown) < 400
  for part in ('uint8(600, 400, 3)', 'float32(18, 3)', 'bool(500, 500)'):
    assert part in shown
  assert 'Box(left=0, top=10' in shown and "['person', 'result']" in shown
