"""The networks that come with the project."""

import json

import jax
from jax import export
import numpy as np
import pytest

from input_pipeline.synthetic import render_pair
import viton_jax
from viton_jax import checkpoints
from viton_jax.errors import InputError
from viton_jax.serving import programs

SEED = 90_210  # None of its people was trained on.


def test_they_are_there_small_and_sound():
  first, second = checkpoints.read_pair(None)
  networks = [first, second, second.flow]
  assert [x.network for x in networks] == list(checkpoints.NETWORKS)
  for one in networks:
    assert (one.size, one.fidelity) == ((256, 192), 'fixed')
    for kind in one.variables.values():
      for layer in kind.values():
        for value in layer.values():
          assert value.dtype == np.float32 and np.isfinite(value).all()
    # No path of the machine that trained them.
    assert '": "/' not in json.dumps(one.config)
  files = list(checkpoints.OWN.glob('*.safetensors'))
  assert sum(x.stat().st_size for x in files) < 30e6
  # The card is that of these weights.
  card = (checkpoints.OWN / 'README.md').read_text()
  assert checkpoints.digest_of_own() in card


@pytest.mark.parametrize('composing', ['changes', 'whole'])
def test_their_program_is_for_any_number_of_pairs(composing):
  first, second = checkpoints.read_pair(None)
  try_on = programs.function(
    first, second, dtype='float32', composing=composing
  )
  exported = export.export(jax.jit(try_on), platforms=['cpu'])(
    programs.weights_of(first, second),
    programs.abstract_inputs(programs.describe_inputs(first.size)),
  )
  assert {str(x.shape[0]) for x in exported.out_avals} == {'b'}


def test_a_refinement_alone_is_refused():
  with pytest.raises(InputError, match='encoder-decoder .* as --checkpoint'):
    checkpoints.read_pair(None, 'W2')


@pytest.mark.slow
@pytest.mark.parametrize(('style', 'most'), [('plain', 0.5), ('photo', 0.6)])
def test_they_dress_people_they_have_never_seen(style, most):
  """Far nearer to the true picture than the photo as it was, and than paste."""
  untouched, dressed, pasted = [], [], []
  for person in range(1, 7):

    def drawn(number, person=person):
      return render_pair(SEED, person, 512, garment_index=number, style=style)

    own, truth = drawn(person), drawn(person + 10).person
    garment = render_pair(SEED, person + 10, 512, style=style).garment
    known = {'pose': own.keypoints, 'parse': own.parse}
    result = viton_jax.try_on(own.person, garment, **known)
    paste = viton_jax.try_on(own.person, garment, method='paste', **known)
    for values, picture in (
      (untouched, own.person),
      (dressed, result.picture),
      (pasted, paste.picture),
    ):
      values.append(np.abs(picture.astype(int) - truth).mean())
  assert np.mean(dressed) < most * np.mean(untouched)
  assert np.mean(dressed) < np.mean(pasted)
