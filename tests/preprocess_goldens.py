"""What the original's reader makes of its records, against our whole road.

The batch goes through the function that feeds the networks, on the device.
"""

import pathlib

import numpy as np

from viton_jax import representation

GOLDENS = pathlib.Path(__file__).parent / 'goldens'
_EXPECTED = np.load(GOLDENS / 'preprocess_seed0.npz')


def check(batch: dict, *, head_atol: float, images_atol: float | None) -> set:
  """Compares a batch of fidelity 'original' with the goldens.

  Args:
    batch: of tests/goldens' pairs.
    head_atol: of the head, in [-1, 1].
    images_atol: of the photos; None: they went through JPEG, leave them out.

  Returns:
    the numbers of the pairs in the batch.
  """
  numbers = {k: v for k, v in batch.items() if v.dtype.kind in 'biuf'}
  inputs = representation.network_inputs(numbers, fidelity='original')
  garment, body, head, pose = np.split(np.asarray(inputs), (3, 4, 7), axis=-1)
  region = np.asarray(representation.garment_region(numbers))
  person = np.asarray(representation.to_norm(numbers['person']))
  seen = set()
  for row, person_id in enumerate(batch['person_id']):
    index = int(person_id[:6])
    seen.add(index)

    def close(got, name, atol, step, index=index):
      np.testing.assert_allclose(
        got[::step, ::step], _EXPECTED[f'{index}_{name}'], atol=atol
      )

    close(head[row], 'skin_segment', head_atol, 2)
    close(body[row], 'body_segment', 1e-5, 4)
    close(batch['control_points'][row], 'tps_points', 1e-5, 1)
    if images_atol is not None:
      close(person[row], 'image', images_atol, 2)
      close(garment[row], 'product_image', images_atol, 2)
    for got, name in ((region, 'prod_segment'), (pose, 'pose_map')):
      np.testing.assert_array_equal(got[row], _EXPECTED[f'{index}_{name}'])
  return seen
