"""What /openapi.json says of bodies that `uploads` reads by itself."""

from typing import Any

from viton_jax.labels import LABEL_SETS

_FILE = {'type': 'string', 'format': 'binary'}
_PROBLEM = {
  'description': 'One sentence that says what is wrong and what to do',
  'content': {
    'application/problem+json': {
      'schema': {
        'type': 'object',
        'required': ['type', 'title', 'status', 'detail', 'instance'],
        'properties': {
          'type': {'type': 'string'},
          'title': {'type': 'string'},
          'status': {'type': 'integer'},
          'detail': {'type': 'string'},
          'instance': {'type': 'string'},
          'about': {'type': 'string'},
        },
      }
    }
  },
}
_PERSON = {
  'person': _FILE | {'description': 'photo of a person, from the front'},
  'pose': _FILE | {'description': 'joints as OpenPose JSON; else found'},
  'parse': _FILE | {'description': 'labels as PNG; else found'},
}
_GARMENT = {
  'garment': _FILE
  | {'description': 'photo of a garment, or the name of one of the gallery'},
  'garment_mask': _FILE | {'description': 'white on the garment; else found'},
}
_CHOICES = {
  'labels': {'type': 'string', 'enum': [*LABEL_SETS]},
  'person_index': {'type': 'integer', 'minimum': 0, 'maximum': 99},
  'method': {'type': 'string', 'enum': ['viton', 'paste']},
  'session': {'type': 'string'},
}


def try_on() -> dict[str, Any]:
  kinds = {
    'image/png': {'schema': _FILE},
    'image/jpeg': {'schema': _FILE},
    'application/json': {'schema': {'type': 'object'}},
    'application/x-ndjson': {'schema': {'type': 'string'}},
  }
  return _operation(
    _PERSON | _GARMENT | _CHOICES,
    ['person'],
    {'description': 'The picture', 'content': kinds},
  )


def attach() -> dict[str, Any]:
  kinds = {x: {'schema': _FILE} for x in ('image/png', 'image/jpeg')}
  return _operation(
    _PERSON | _GARMENT | _CHOICES,
    ['person'],
    {'description': 'The picture', 'content': kinds},
  )


def pose() -> dict[str, Any]:
  people = {
    'type': 'object',
    'properties': {
      'version': {'type': 'number'},
      'people': {'type': 'array', 'items': {'type': 'object'}},
    },
  }
  return _operation(
    {'person': _PERSON['person']},
    ['person'],
    {
      'description': 'OpenPose JSON',
      'content': {'application/json': {'schema': people}},
    },
  )


def seg() -> dict[str, Any]:
  fields = {x: _PERSON[x] for x in ('person', 'pose')}
  fields['person_index'] = _CHOICES['person_index']
  return _operation(fields, ['person'], _png('Label numbers'))


def garment_mask() -> dict[str, Any]:
  fields = {'garment': _GARMENT['garment'], 'session': _CHOICES['session']}
  return _operation(fields, [], _png('White on the garment'))


def put_garment() -> dict[str, Any]:
  return _operation(_GARMENT, [], None)


def garment() -> dict[str, Any]:
  height = {
    'name': 'height',
    'in': 'query',
    'schema': {'type': 'integer', 'minimum': 16, 'maximum': 1024},
  }
  kinds = {f'image/{x}': {'schema': _FILE} for x in ('png', 'jpeg', 'webp')}
  return {
    'responses': {
      200: {'description': 'The photo', 'content': kinds},
      '4XX': _PROBLEM,
      '5XX': _PROBLEM,
    },
    'openapi_extra': {'parameters': [height]},
  }


def refusals() -> dict[str, Any]:
  return {'responses': {'4XX': _PROBLEM, '5XX': _PROBLEM}}


def _png(description: str) -> dict[str, Any]:
  return {
    'description': description,
    'content': {'image/png': {'schema': _FILE}},
  }


def _operation(
  fields: dict[str, Any], required: list[str], answer: dict[str, Any] | None
) -> dict[str, Any]:
  schema: dict[str, Any] = {'type': 'object', 'properties': fields}
  if required:
    schema['required'] = required
  responses: dict[int | str, Any] = {'4XX': _PROBLEM, '5XX': _PROBLEM}
  if answer:
    responses[200] = answer
  return {
    'responses': responses,
    'openapi_extra': {
      'requestBody': {
        'required': True,
        'content': {'multipart/form-data': {'schema': schema}},
      }
    },
  }
