"""The true flow of drawn try-ons: what is stored is what was drawn."""

import numpy as np
import pytest

from input_pipeline.layouts import open_layout, viton_files
from input_pipeline.synthetic import render_pair
from viton_jax.errors import InputError
from viton_jax.io import images


def test_flow_of_a_try_on_is_read_as_it_was_drawn(raw_dir):
  layout = open_layout('viton', raw_dir, split='test')
  person, garment = (int(name[:6]) for name in layout.pairs[0])
  drawn = render_pair(1, person, 256, garment_index=garment)
  flow = layout.true_flow(0)
  assert flow is not None
  known = np.isfinite(drawn.flat_coordinates).all(-1)
  np.testing.assert_array_equal(np.isfinite(flow).all(-1), known)
  ends = np.array(drawn.garment.shape[1::-1]) - 1
  there = (flow[known] + 1) / 2 * ends
  # Half a level of 65535.
  assert np.abs(there - drawn.flat_coordinates[known]).max() < ends.max() / 1e5


def test_pairs_of_their_own_garment_have_no_file_of_it(raw_dir):
  layout = open_layout('viton', raw_dir, split='train')
  assert layout.true_flow(0) is None


def test_another_picture_is_no_flow():
  picture = images.encode_png(np.zeros((4, 4, 3), np.uint8))
  with pytest.raises(
    InputError, match='x.png: is no 16-bit PNG .* draw the data'
  ):
    viton_files.decode_flow(picture, 'x.png')
