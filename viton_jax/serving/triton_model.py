"""An exported try-on as a model of Triton's Python backend.

`serving.triton` copies this file as model.py beside the artifact that it loads.
Triton's Python needs what the artifact needs (docs/serving.md) and viton_jax on
its path; nobody but Triton imports this file.
"""

import json
import os
import pathlib
import sys

# The Python within Triton leaves this variable out.
_PATH = os.environ.get('PYTHONPATH', '').split(os.pathsep)
sys.path[:0] = [x for x in _PATH if x and x not in sys.path]

import numpy as np  # noqa: E402
import triton_python_backend_utils as triton  # noqa: E402 # pyright: ignore


class TritonPythonModel:
  """Computes all requests that wait together as one batch."""

  def initialize(self, args: dict[str, str]) -> None:
    """Loads the artifact and compiles for every size of batch."""
    if args['model_instance_kind'] == 'GPU':
      # Of this instance alone: JAX takes memory of every GPU that it sees.
      os.environ['CUDA_VISIBLE_DEVICES'] = args['model_instance_device_id']
    # After that, because it imports JAX.
    from viton_jax import errors
    from viton_jax.serving import artifact

    self._refusal = errors.InputError
    self._try_on = artifact.load(pathlib.Path(__file__).parent)
    self._names = list(self._try_on.manifest['inputs'])
    size = 1
    while size <= json.loads(args['model_config'])['max_batch_size']:
      self._try_on(_blank(self._try_on.manifest['inputs'], size))
      size *= 2

  def execute(self, requests: list) -> list:
    """A response for each request; one that is wrong costs no other."""
    answers: list = [None] * len(requests)
    good: list[int] = []
    batches: list[dict[str, np.ndarray]] = []
    for i, request in enumerate(requests):
      try:
        batches.append(self._try_on.checked(self._arrays(request)))
        good.append(i)
      except self._refusal as error:
        answers[i] = _refused(str(error))
    if not good:
      return answers
    tried = self._try_on(
      {
        name: np.concatenate([batch[name] for batch in batches])
        for name in self._names
      }
    )
    begin = 0
    for i, batch in zip(good, batches, strict=True):
      pairs = slice(begin, begin + batch['person'].shape[0])
      answers[i] = _answer(requests[i], tried, pairs)
      begin = pairs.stop
    return answers

  def _arrays(self, request) -> dict[str, np.ndarray]:
    return {
      # `as_numpy` is made for NumPy 1.
      name: np.from_dlpack(triton.get_input_tensor_by_name(request, name))
      for name in self._names
    }


def _answer(request, tried, pairs: slice):
  """A response: the outputs that were asked for, of these pairs."""
  for i, reason in enumerate(tried.failures[pairs]):
    if reason:
      return _refused(f'pair {i}: {reason}')
  return triton.InferenceResponse(
    [
      # A copy, because DLPack takes nothing that is read-only.
      triton.Tensor.from_dlpack(name, np.array(getattr(tried, name)[pairs]))
      for name in request.requested_output_names()
    ]
  )


def _refused(sentence: str):
  error = triton.TritonError(sentence, triton.TritonError.INVALID_ARG)
  return triton.InferenceResponse([], error)


def _blank(specs: dict[str, dict], size: int) -> dict[str, np.ndarray]:
  return {
    name: np.zeros((size, *spec['shape'][1:]), spec['dtype'])
    for name, spec in specs.items()
  }
