"""The second door: the protocol of KServe, version 2, over REST, as of Triton.

Arrays at the networks' working size go in and come out, in JSON or in the
binary extension: no photos, no perception. Each pair of a request takes a place
in the queue that all requests share.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
"""

import asyncio
import dataclasses
import json
from typing import Any

from fastapi import FastAPI, Request, Response
import numpy as np

import viton_jax
from viton_jax.errors import InputError
from viton_jax.io import structured
from viton_jax.server.problems import Problem
from viton_jax.server.service import Service, in_time
from viton_jax.server.stores import json_response

_MODEL = 'try_on'
_VERSION = '1'
_LENGTH = 'inference-header-content-length'
# Of JSON: its parser lets no other thread go on for as long as it takes.
_MAX_JSON = 4 << 20
_TYPES = {'UINT8': np.uint8, 'FP32': np.float32}
# Name -> type and shape without the batch; h and w are the networks'.
INPUTS = {
  'person': ('UINT8', ('h', 'w', 3)),
  'garment': ('UINT8', ('h', 'w', 3)),
  'garment_mask': ('UINT8', ('h', 'w')),
  'keypoints': ('FP32', (18, 3)),
  'parse': ('UINT8', ('h', 'w')),
}
OUTPUTS = {
  'output': ('UINT8', ('h', 'w', 3)),
  'warped': ('UINT8', ('h', 'w', 3)),
  'coarse': ('UINT8', ('h', 'w', 3)),
  'mask': ('UINT8', ('h', 'w', 1)),
  'alpha': ('UINT8', ('h', 'w', 1)),
  'control_points': ('FP32', (100, 2)),
}


@dataclasses.dataclass(frozen=True)
class Call:
  """A request that was read.

  Attributes:
    id: of the client's, or ''.
    arrays: by the names of `INPUTS`, with a batch axis.
    wanted: names of outputs, each with whether it is wanted in binary.
  """

  id: str
  arrays: dict[str, np.ndarray]
  wanted: dict[str, bool]


def add_routes(app: FastAPI, service: Service) -> None:
  tags: list = ['KServe']

  def check(name: str, version: str = _VERSION) -> None:
    if name != _MODEL or version != _VERSION or not _networks(service):
      raise Problem(
        404,
        f"there is no model of this name and version; '{_MODEL}' is there "
        'where the server was started with --checkpoint',
      )

  @app.get('/v2', tags=tags)
  async def server() -> Response:
    """Name, version and extensions."""
    return json_response(
      {
        'name': 'viton_jax',
        'version': viton_jax.__version__,
        'extensions': ['binary_tensor_data'],
      }
    )

  @app.get('/v2/health/live', tags=tags)
  async def live() -> Response:
    """200 while the server's loop turns."""
    return json_response({'live': True})

  @app.get('/v2/health/ready', tags=tags)
  async def ready() -> Response:
    """200 once warm."""
    if not service.ready:
      raise Problem(503, f'the server is {service.state}')
    return json_response({'ready': True})

  @app.get('/v2/models/{name}', tags=tags)
  async def metadata(name: str) -> Response:
    """What goes in and comes out."""
    check(name)
    size = _size(service)
    return json_response(
      {
        'name': _MODEL,
        'versions': [_VERSION],
        'platform': 'jax',
        'inputs': _described(INPUTS, size),
        'outputs': _described(OUTPUTS, size),
      }
    )

  @app.get('/v2/models/{name}/ready', tags=tags)
  async def model_ready(name: str) -> Response:
    """200 once warm."""
    check(name)
    return await ready()

  @app.post('/v2/models/{name}/infer', tags=tags)
  async def infer(name: str, request: Request) -> Response:
    """The try-on of a batch of arrays."""
    service.check()
    check(name)
    body = await request.body()
    length = request.headers.get(_LENGTH, '')
    size = _size(service)
    call = await asyncio.to_thread(read_call, body, length, size)
    work = service.networks_of(call.arrays)
    arrays = await in_time(work, service.settings.timeout_s)
    content, header = write_answer(call, arrays)
    headers = {_LENGTH: str(header)} if header else {}
    kind = 'application/octet-stream' if header else 'application/json'
    return Response(content, media_type=kind, headers=headers)

  @app.post('/v2/models/{name}/versions/{version}/infer', tags=tags)
  async def infer_version(
    name: str, version: str, request: Request
  ) -> Response:
    """As without a version; there is 1 alone."""
    check(name, version)
    return await infer(name, request)


def _networks(service: Service) -> bool:
  return bool(service.models and service.models.networks)


def _size(service: Service) -> tuple[int, int]:
  assert service.models is not None
  return service.models.size


def _described(tensors, size) -> list[dict[str, Any]]:
  return [
    {'name': name, 'datatype': kind, 'shape': [-1, *_shape(shape, size)]}
    for name, (kind, shape) in tensors.items()
  ]


def _shape(shape, size: tuple[int, int]) -> tuple[int, ...]:
  height, width = size
  named = {'h': height, 'w': width}
  return tuple(named[x] if isinstance(x, str) else x for x in shape)


def read_call(body: bytes, length: str, size: tuple[int, int]) -> Call:
  """Reads a request.

  Args:
    body: JSON, or JSON and behind it binary data.
    length: of the JSON in bytes, where there are such; else ''.
    size: (h, w) of the networks.

  Raises:
    InputError: an input is missing or of another type or shape.
    Problem: 413, the JSON is too long.
  """
  end = int(length) if length.isascii() and length.isdecimal() else len(body)
  if min(end, len(body)) > _MAX_JSON:
    raise Problem(
      413,
      f'the JSON is above {_MAX_JSON >> 20} MiB, which is the limit; send the '
      'arrays in the binary extension, or fewer pairs',
      reason='large body',
    )
  try:
    content = structured.parse_json(body[:end])
    inputs = {x['name']: x for x in content['inputs']}
    wanted = {
      x['name']: bool(x.get('parameters', {}).get('binary_data', False))
      for x in content.get('outputs') or ()
    }
  except (ValueError, TypeError, KeyError, AttributeError):
    raise InputError(
      "the body is no request of KServe's version 2; send JSON with a list "
      "'inputs' of objects with name, shape, datatype and data"
    ) from None
  if content.get('parameters', {}).get('binary_data_output'):
    wanted = wanted or dict.fromkeys(OUTPUTS, True)
  unknown = set(inputs) ^ set(INPUTS) | set(wanted) - set(OUTPUTS)
  if unknown:
    raise InputError(
      f'{sorted(map(str, unknown))[0][:40]!r} is missing or unknown; inputs '
      f'are {", ".join(INPUTS)}, outputs {", ".join(OUTPUTS)}'
    )
  arrays, rest = {}, memoryview(body)[end:]
  for name in inputs:  # In the order of the request, as their bytes are.
    arrays[name], rest = _array(name, inputs[name], rest, size)
  counts = {len(x) for x in arrays.values()}
  if len(counts) > 1:
    raise InputError(
      f'the inputs have batches of {sorted(counts)} pairs; give all the same'
    )
  return Call(
    str(content.get('id', '')), arrays, wanted or dict.fromkeys(OUTPUTS, False)
  )


def _array(name, tensor, rest, size):
  kind, shape = INPUTS[name]
  expected = _shape(shape, size)
  given = tensor.get('shape')
  if (
    tensor.get('datatype') != kind
    or not isinstance(given, list)
    or not all(isinstance(x, int) and x >= 0 for x in given)
    or tuple(given[1:]) != expected
    or not 1 <= given[0] <= 64
  ):
    raise InputError(
      f'{name} is {tensor.get("datatype")} of shape {str(given)[:60]}; give '
      f'{kind} of shape [b, {", ".join(map(str, expected))}], b from 1 to 64'
    )
  dtype, count = np.dtype(_TYPES[kind]), int(np.prod(given))
  binary = (tensor.get('parameters') or {}).get('binary_data_size')
  try:
    if binary is None:
      values = np.asarray(tensor['data'], np.float64).ravel()
      if dtype == np.uint8 and not ((values >= 0) & (values <= 255)).all():
        raise ValueError
      values = values.astype(dtype)
    else:
      if binary != count * dtype.itemsize:
        raise ValueError
      values = np.frombuffer(rest[:binary], dtype)
      rest = rest[binary:]
    return values.reshape(given), rest
  except (ValueError, TypeError, KeyError, OverflowError):
    raise InputError(
      f'{name}: the data are not {count} numbers of type {kind}; send as many '
      'as its shape says'
    ) from None


def write_answer(
  call: Call, arrays: dict[str, np.ndarray]
) -> tuple[bytes, int]:
  """The body, and the length of its JSON where binary data are behind it."""
  outputs, blobs = [], []
  for name, binary in call.wanted.items():
    kind, _ = OUTPUTS[name]
    array = np.ascontiguousarray(arrays[name], _TYPES[kind])
    tensor = {'name': name, 'datatype': kind, 'shape': list(array.shape)}
    if binary:
      tensor['parameters'] = {'binary_data_size': array.nbytes}
      blobs.append(array.tobytes())
    else:
      tensor['data'] = array.ravel().tolist()
    outputs.append(tensor)
  answer = {'model_name': _MODEL, 'model_version': _VERSION, 'outputs': outputs}
  if call.id:
    answer['id'] = call.id
  header = json.dumps(answer).encode()
  return b''.join([header, *blobs]), len(header) if blobs else 0
