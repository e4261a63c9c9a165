"""Joints and labels from another machine: a server of `viton_jax.serve`.

The real-time demo of 2018 names its servers by the environment variables
POSE_SERVER and SEG_SERVER. They are asked as it asks them, a photo in the field
`files`, but answer in JSON and PNG; what they send is never unpickled.
"""

import json
import os
import secrets
import urllib.error
import urllib.parse
import urllib.request

import numpy as np

from input_pipeline.layouts import any_file
from viton_jax.errors import InputError, NoAnswer
from viton_jax.io import images, structured
from viton_jax.perception.parsing.parsers import Parser
from viton_jax.perception.pose.estimator import (
  Person,
  PoseEstimator,
  largest_first,
  one_by_one,
)
from viton_jax.perception.pose.keypoints import openpose_json

_TIMEOUT_S = 30.0
_MAX_ANSWER = 64 << 20
_MAX_REFUSAL = 1 << 16


def pose_server() -> PoseEstimator | None:
  """What finds people, where POSE_SERVER is set.

  Raises:
    InputError: it is no address.
  """
  address = _address('POSE_SERVER')
  if address is None:
    return None

  def find(photo: np.ndarray) -> list[Person]:
    data = _ask('POSE_SERVER', f'{address}/pose', {'files': _png(photo)})
    people, _ = any_file.decode_people(data, address, photo.shape[:2])
    return largest_first([(Person(one), 0.0) for one in people])

  return PoseEstimator(f'the server {address}', one_by_one(find))


def seg_server() -> Parser | None:
  """What labels people, where SEG_SERVER is set.

  Raises:
    InputError: it is no address.
  """
  address = _address('SEG_SERVER')
  if address is None:
    return None

  def parse(
    photo: np.ndarray, keypoints: np.ndarray | None, mask: np.ndarray | None
  ) -> np.ndarray:
    del mask  # The server finds its own.
    fields = {'files': _png(photo)}
    if keypoints is not None:
      fields['pose'] = json.dumps(openpose_json([keypoints])).encode()
    data = _ask('SEG_SERVER', f'{address}/seg', fields)
    return any_file.decode_labels(data, address, photo.shape[:2])[0]

  return Parser(f'the server {address}', parse, needs_keypoints=True)


def _address(variable: str) -> str | None:
  text = os.environ.get(variable, '').strip().rstrip('/')
  if not text:
    return None
  address = text if '://' in text else f'http://{text}'
  parts = urllib.parse.urlsplit(address)
  if parts.scheme not in ('http', 'https') or not parts.hostname:
    raise InputError(
      f"{variable} is '{text}'; give an address like http://10.0.0.5:8000"
    )
  return address


def _png(photo: np.ndarray) -> bytes:
  return images.encode_png(photo)


def _ask(variable: str, url: str, fields: dict[str, bytes]) -> bytes:
  boundary = secrets.token_hex(16)
  body = b''.join(
    f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; '
    f'filename="{name}"\r\n\r\n'.encode()
    + data
    + b'\r\n'
    for name, data in fields.items()
  )
  request = urllib.request.Request(
    url,
    body + f'--{boundary}--\r\n'.encode(),
    {'Content-Type': f'multipart/form-data; boundary={boundary}'},
  )
  try:
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
      data = answer.read(_MAX_ANSWER + 1)
  except urllib.error.HTTPError as error:
    raise _refusal(variable, url, error) from error
  except OSError as error:
    reason = getattr(error, 'reason', error)
    raise NoAnswer(
      f'{variable}: {url} does not answer ({reason}); start the server there, '
      f'or unset {variable}'
    ) from error
  if len(data) > _MAX_ANSWER:
    raise NoAnswer(f'{variable}: {url} sends too much; check what runs there')
  return data


def _refusal(
  variable: str, url: str, error: urllib.error.HTTPError
) -> InputError:
  """The other server's sentence, where it is one about the photo."""
  try:
    detail = structured.parse_json(error.read(_MAX_REFUSAL))['detail']
  except (OSError, ValueError, TypeError, KeyError):
    detail = None
  if error.code == 422 and isinstance(detail, str):
    return InputError(detail)
  return NoAnswer(
    f'{variable}: {url} answers {error.code} ({detail or error.reason}); '
    'check what runs there'
  )
