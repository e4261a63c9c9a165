"""Errors as RFC 9457 says them: JSON with a status and one sentence."""

from collections.abc import Mapping
import http
import json

from fastapi import Response

MEDIA_TYPE = 'application/problem+json'


class Problem(Exception):
  """An answer that is an error.

  Attributes:
    status: of HTTP.
    detail: one sentence: what is wrong, and the remedy.
    about: the field of the request that it is about, if one.
    reason: a word for the metrics, where the request was turned away.
    headers: more headers.
    for_kserve: whether the client looks for the sentence as KServe has it.
  """

  def __init__(
    self,
    status: int,
    detail: str,
    *,
    about: str | None = None,
    reason: str | None = None,
    headers: Mapping[str, str] | None = None,
  ):
    super().__init__(status, detail)  # As which it is unpickled.
    self.status = status
    self.detail = detail
    self.about = about
    self.reason = reason
    self.headers = dict(headers or {})
    self.for_kserve = False

  def __str__(self) -> str:
    return self.detail


def content(problem: Problem, request_id: str) -> dict[str, str | int]:
  """The JSON object; `instance` names the request, as the log does."""
  body = {
    'type': 'about:blank',
    'title': title(problem.status),
    'status': problem.status,
    'detail': problem.detail,
    'instance': f'urn:request:{request_id}',
  }
  if problem.about:
    body['about'] = problem.about
  if problem.for_kserve:
    body['error'] = problem.detail
  return body


def title(status: int) -> str:
  try:
    return http.HTTPStatus(status).phrase
  except ValueError:
    return 'Client Closed Request' if status == 499 else 'Error'


def response(problem: Problem, request_id: str) -> Response:
  return Response(
    json.dumps(content(problem, request_id)),
    status_code=problem.status,
    media_type=MEDIA_TYPE,
    headers=problem.headers,
  )
