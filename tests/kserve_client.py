"""A client of KServe's protocol, version 2; for any server of it."""

from collections.abc import Callable
import dataclasses
import json

import numpy as np
from server_process import Answer, Server

from input_pipeline.sample import working_example
from input_pipeline.synthetic import SyntheticPair
from viton_jax import engine
from viton_jax.representation import from_labels

INFER = '/v2/models/try_on/infer'


def arrays(
  pair: SyntheticPair, shirt: np.ndarray, size: tuple[int, int]
) -> dict[str, np.ndarray]:
  """The inputs of one pair at the networks' size."""
  sample = dataclasses.replace(
    pair.sample('a', 'b'), garment=shirt, garment_mask=shirt.min(-1) < 250
  )
  height, width = size
  example = working_example(
    sample, height=height, width=width, fidelity='fixed'
  )
  names = ('person', 'garment', 'garment_mask', 'keypoints', 'parse')
  return {name: example[name] for name in names}


def dressed_by(loaded: engine.TryOn):
  """What networks make of such inputs: a function to (b, h, w, 3) uint8."""

  def dress(inputs: dict[str, np.ndarray]) -> np.ndarray:
    # What `parse` stands for at the working size.
    made = from_labels(
      inputs['parse'], inputs['keypoints'], fidelity=loaded.fidelity
    )
    made = {name: np.asarray(value) for name, value in made.items()}
    return engine.levels_of(loaded({**inputs, **made})).output

  return dress


def tensors(inputs: dict[str, np.ndarray]) -> list[dict]:
  kinds = {'uint8': 'UINT8', 'float32': 'FP32'}
  return [
    {'name': k, 'datatype': kinds[x.dtype.name], 'shape': list(x.shape)}
    for k, x in inputs.items()
  ]


def in_binary(inputs: dict[str, np.ndarray]) -> tuple[bytes, dict[str, str]]:
  """A request's body and its header; it wants `output` alone, in binary."""
  data = [np.ascontiguousarray(x).tobytes() for x in inputs.values()]
  described = [
    x | {'parameters': {'binary_data_size': len(blob)}}
    for x, blob in zip(tensors(inputs), data, strict=True)
  ]
  wanted = [{'name': 'output', 'parameters': {'binary_data': True}}]
  head = json.dumps({'inputs': described, 'outputs': wanted}).encode()
  headers = {'Inference-Header-Content-Length': str(len(head))}
  return head + b''.join(data), headers


def picture(answer: Answer, shape: tuple[int, ...]) -> np.ndarray:
  """The output of an answer in binary."""
  assert answer.status == 200, answer.body[:500]
  length = int(answer.headers['inference-header-content-length'])
  return np.frombuffer(answer.body[length:], np.uint8).reshape(shape)


def apart(one: np.ndarray, other: np.ndarray) -> int:
  """The largest difference, in levels."""
  return int(np.abs(one.astype(int) - other).max())


def check(
  server: Server,
  one: dict[str, np.ndarray],
  dress: Callable[[dict[str, np.ndarray]], np.ndarray],
) -> None:
  """A server says what it takes, and gives the right pictures either way.

  Args:
    server: to ask.
    one: see `arrays`.
    dress: the right pictures of several such pairs.
  """
  assert server.get('/v2/health/live').status == 200
  assert server.get('/v2/health/ready').status == 200
  assert server.get('/v2/models/try_on/ready').status == 200
  described = server.get('/v2/models/try_on').json()
  assert {x['name'] for x in described['inputs']} == set(one)
  for tensor in described['inputs']:
    assert tensor['shape'] == [-1, *one[tensor['name']].shape]
  inputs = {k: np.stack([x] * 2) for k, x in one.items()}
  as_json = [x | {'data': inputs[x['name']].tolist()} for x in tensors(inputs)]
  wanted = [{'name': 'output'}, {'name': 'control_points'}]
  body = {'id': '7', 'inputs': as_json, 'outputs': wanted}
  answer = server.post(INFER, json.dumps(body).encode()).json()
  assert answer['id'] == '7' and answer['model_name'] == 'try_on'
  outputs = {x['name']: x for x in answer['outputs']}
  assert outputs['control_points']['shape'] == [2, 100, 2]
  shape = outputs['output']['shape']
  first = np.array(outputs['output']['data'], np.uint8).reshape(shape)

  data, headers = in_binary(inputs)
  second = picture(server.post(INFER, data, headers=headers), shape)
  assert apart(first, second) <= 2
  assert apart(second, dress(inputs)) <= 2

  # What cannot be used is the client's fault, and said in a sentence.
  for parse in (inputs['parse'][:, :7], np.full_like(inputs['parse'], 200)):
    data, headers = in_binary(inputs | {'parse': parse})
    refused = server.post(INFER, data, headers=headers)
    assert refused.status in (400, 422) and refused.json()['error']
  nowhere = server.post('/v2/models/other/infer', b'{}')
  assert nowhere.status in (400, 404) and nowhere.json()['error']
