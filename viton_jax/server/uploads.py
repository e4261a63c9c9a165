"""What a request brings: files and fields of a form, in memory alone."""

from collections.abc import AsyncGenerator
import dataclasses

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import (
  FormParser,
  MultiPartException,
  MultiPartParser,
)

from viton_jax.server.problems import Problem

MAX_FILES = 4
_MAX_FIELDS = 16
_MAX_TEXT = 1 << 20
# The real-time demo of 2018 sends the photo as 'files'.
_ALIASES = {'files': 'person', 'image': 'person'}


class _InMemory(MultiPartParser):
  """Starlette writes larger files to the disk; the body is limited anyway."""

  spool_max_size = 1 << 30


@dataclasses.dataclass(frozen=True)
class Form:
  """Attributes: files and texts by the names of their fields."""

  files: dict[str, bytes]
  texts: dict[str, str]

  def file(self, name: str) -> bytes | None:
    return self.files.get(name)

  def needed(self, name: str, what: str) -> bytes:
    if name not in self.files:
      raise Problem(
        400,
        f'the photo of the {what} is missing; send it as the file {name!r} of '
        'a form (multipart/form-data)',
        about=name,
      )
    return self.files[name]

  def content(self, name: str) -> bytes | None:
    """A file of moderate size, or a text in its place."""
    if name in self.files:
      if len(self.files[name]) > _MAX_TEXT:
        raise _too_long(name)
      return self.files[name]
    text = self.texts.get(name, '')
    return text.encode() if text.strip() else None

  def number(self, name: str, *, low: int, high: int, default: int) -> int:
    text = self.texts.get(name, '').strip()
    if not text:
      return default
    if not (text.isascii() and text.isdecimal() and len(text) < 7):
      number = low - 1
    else:
      number = int(text)
    if not low <= number <= high:
      raise Problem(
        400,
        f'{name} is {text[:20]!r}; give a whole number from {low} to {high}',
        about=name,
      )
    return number

  def choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
    text = self.texts.get(name, '').strip() or default
    if text not in choices:
      raise Problem(
        400,
        f'{name} is {text[:20]!r}; use one of {", ".join(choices)}',
        about=name,
      )
    return text


async def read_form(
  request: Request, *, files: tuple[str, ...], texts: tuple[str, ...] = ()
) -> Form:
  """Reads a form, or a body that is one photo.

  Args:
    request: multipart/form-data, application/x-www-form-urlencoded, or an
      image, which is taken for the first of `files`.
    files: fields that may be files.
    texts: fields that may be texts.

  Raises:
    Problem: 400 or 415, it is none, or has other fields.
  """
  kind = request.headers.get('content-type', '').partition(';')[0].strip()
  if kind.startswith('image/') or kind == 'application/octet-stream':
    return Form({files[0]: await request.body()}, {})
  limits = {'max_fields': _MAX_FIELDS, 'max_part_size': _MAX_TEXT}
  if kind == 'multipart/form-data':
    parser = _InMemory(
      request.headers, request.stream(), max_files=MAX_FILES, **limits
    )
  elif kind == 'application/x-www-form-urlencoded':
    parser = FormParser(request.headers, _short(request.stream()), **limits)
  else:
    raise Problem(
      415,
      f'the content type is {kind[:60]!r}; send a form (multipart/form-data), '
      'or an image',
    )
  try:
    items = await parser.parse()
  except MultiPartException as error:
    raise Problem(
      400,
      f'the form cannot be read ({error.message.rstrip(".")}); send at most '
      f'{MAX_FILES} files, and the joints (pose) as a text',
      reason='form',
    ) from error
  found_files, found_texts = {}, {}
  for name, value in items.multi_items():
    name = _ALIASES.get(name, name)
    if isinstance(value, UploadFile):
      place, known, content = found_files, files, value.file.read()
    else:
      place, known, content = found_texts, (*texts, *files), value
    if name not in known:
      raise Problem(
        400,
        f'the field {name[:40]!r} is not known here; known are '
        + ', '.join(dict.fromkeys((*files, *texts))),
      )
    if name in found_files or name in found_texts:
      raise Problem(
        400, f'the field {name!r} is there more than once; send it once'
      )
    if content or isinstance(value, str):  # A form sends what is not chosen.
      place[name] = content
  return Form(found_files, found_texts)


async def _short(
  stream: AsyncGenerator[bytes, None],
) -> AsyncGenerator[bytes, None]:
  """A body of texts alone: for one of a photo's size its parser takes seconds,
  in which nobody else is answered.
  """
  taken = 0
  async for chunk in stream:
    taken += len(chunk)
    if taken > _MAX_TEXT:
      raise _too_long(None)
    yield chunk


def _too_long(name: str | None) -> Problem:
  return Problem(
    413,
    f'{name or "the form"} is above {_MAX_TEXT >> 20} MiB, which is the limit '
    'for texts and joints; send photos as files (multipart/form-data)',
    about=name,
    reason='large body',
  )
