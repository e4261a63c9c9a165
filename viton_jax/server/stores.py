"""Routes of what a server keeps: the gallery, sample people, sessions."""

import asyncio
import json
from typing import Any

from fastapi import FastAPI, Request, Response

from viton_jax.server import openapi
from viton_jax.server.garments import Gallery
from viton_jax.server.problems import Problem
from viton_jax.server.service import Service
from viton_jax.server.sessions import Garment
from viton_jax.server.uploads import Form, read_form

_GARMENT = ('garment', 'garment_mask')
_REFUSALS = openapi.refusals()
_PUT = openapi.put_garment()


def add_routes(app: FastAPI, service: Service) -> None:
  _add_garments(app, service)
  _add_samples(app, service)
  _add_sessions(app, service)


async def garment_of(form: Form, service: Service, request: Request) -> Garment:
  """Of the request, of the gallery by name, or of the session."""
  mask = form.file('garment_mask')
  if 'garment' in form.files:
    return Garment(form.files['garment'], mask)
  name = form.texts.get('garment', '').strip()
  if name:
    return Garment(service.gallery.photo(name), mask)
  session = form.texts.get('session', '').strip()
  if session:
    chosen = await service.sessions.garment(session, request.state.owner)
    if chosen is not None:
      return Garment(chosen.photo, mask or chosen.mask)
  raise Problem(
    400,
    'the garment is missing; send its photo as the file garment, the name of '
    'one of the gallery as the text garment, or a session that has chosen one',
    about='garment',
  )


def json_response(value: Any, status: int = 200) -> Response:
  return Response(
    json.dumps(value), status_code=status, media_type='application/json'
  )


def _add_garments(app: FastAPI, service: Service) -> None:
  gallery = service.gallery

  @app.get('/garments', tags=['garments'], **_REFUSALS)
  async def list_garments() -> Response:
    """The names in the gallery."""
    names = await asyncio.to_thread(gallery.names)
    return json_response({'garments': [{'name': name} for name in names]})

  @app.get('/garments/{name}', tags=['garments'], **openapi.garment())
  async def get_garment(name: str, request: Request) -> Response:
    """A garment's photo; `?height=` makes it a small JPEG."""
    return await _photo(gallery, name, request)

  @app.put(
    '/garments/{name}',
    tags=['garments'],
    status_code=201,
    **_PUT,
  )
  async def put_garment(name: str, request: Request) -> Response:
    """Adds or replaces a garment; it is kept as PNG, without metadata."""
    form = await read_form(request, files=_GARMENT)
    photo = form.needed('garment', 'garment')
    mask = form.file('garment_mask')
    await asyncio.to_thread(gallery.put, name, photo, mask)
    return json_response({'name': name}, status=201)

  @app.delete(
    '/garments/{name}', tags=['garments'], status_code=204, **_REFUSALS
  )
  async def delete_garment(name: str) -> Response:
    """Takes a garment out of the gallery."""
    await asyncio.to_thread(gallery.delete, name)
    return Response(status_code=204)


async def _photo(gallery: Gallery, name: str, request: Request) -> Response:
  text = request.query_params.get('height', '')
  height = Form({}, {'height': text}).number(
    'height', low=16, high=1024, default=0
  )
  if height:
    data = await asyncio.to_thread(gallery.thumbnail, name, height)
  else:
    data = await asyncio.to_thread(gallery.photo, name)
  return Response(data, media_type=_kind(data))


def _add_samples(app: FastAPI, service: Service) -> None:
  samples = service.samples

  @app.get('/samples', tags=['samples'], **_REFUSALS)
  async def list_samples() -> Response:
    """The names of people to try the page with."""
    names = await asyncio.to_thread(samples.names)
    return json_response({'samples': [{'name': name} for name in names]})

  @app.get('/samples/{name}/photo', tags=['samples'], **openapi.garment())
  async def sample_photo(name: str, request: Request) -> Response:
    """A person's photo; `?height=` makes it a small JPEG."""
    return await _photo(samples, name, request)

  @app.get('/samples/{name}/pose', tags=['samples'], **_REFUSALS)
  async def sample_pose(name: str) -> Response:
    """Their joints (OpenPose JSON)."""
    data = await asyncio.to_thread(samples.beside, name, '.json')
    return Response(data, media_type='application/json')

  @app.get('/samples/{name}/parse', tags=['samples'], **_REFUSALS)
  async def sample_labels(name: str) -> Response:
    """Their labels (PNG)."""
    data = await asyncio.to_thread(samples.beside, name, '.labels.png')
    return Response(data, media_type='image/png')


def _add_sessions(app: FastAPI, service: Service) -> None:
  sessions = service.sessions

  @app.post('/sessions', tags=['sessions'], status_code=201, **_REFUSALS)
  async def new_session(request: Request) -> Response:
    """A session, which remembers one client's garment for a while."""
    name = await sessions.create(request.state.owner)
    return json_response(
      {'session': name, 'seconds': sessions.ttl_s}, status=201
    )

  @app.put('/sessions/{name}/garment', tags=['sessions'], **_PUT)
  async def choose_garment(name: str, request: Request) -> Response:
    """Chooses a garment: a photo, or a name of the gallery."""
    await sessions.garment(name, request.state.owner)
    form = await read_form(request, files=_GARMENT)
    garment = await garment_of(form, service, request)
    await sessions.choose(name, request.state.owner, garment)
    return json_response({'session': name})

  @app.delete(
    '/sessions/{name}', tags=['sessions'], status_code=204, **_REFUSALS
  )
  async def end_session(name: str, request: Request) -> Response:
    """Forgets a session and its garment."""
    await sessions.delete(name, request.state.owner)
    return Response(status_code=204)


def _kind(data: bytes) -> str:
  if data[:2] == b'\xff\xd8':
    return 'image/jpeg'
  return 'image/webp' if data[:4] == b'RIFF' else 'image/png'
