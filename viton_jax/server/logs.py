"""Logs as JSON lines: no picture, no file name, no address of a person."""

import datetime
import json
import logging
from typing import Any

LOGGER = logging.getLogger('viton_jax.server')
_FIELDS = 'fields'


class JsonFormatter(logging.Formatter):
  """One JSON object a line."""

  def format(self, record: logging.LogRecord) -> str:
    time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
    line: dict[str, Any] = {
      'time': time.isoformat(timespec='milliseconds'),
      'level': record.levelname.lower(),
      'message': record.getMessage(),
    }
    line |= getattr(record, _FIELDS, {})
    if record.exc_info:
      line['traceback'] = self.formatException(record.exc_info)
    return json.dumps(line)


# For `logging.config`; Granian sets it up in both of its processes.
CONFIG: dict[str, Any] = {
  'version': 1,
  'disable_existing_loggers': False,
  'formatters': {'json': {'()': f'{__name__}.JsonFormatter'}},
  'handlers': {
    'stderr': {
      'class': 'logging.StreamHandler',
      'formatter': 'json',
      'stream': 'ext://sys.stderr',
    }
  },
  'loggers': {
    name: {'handlers': ['stderr'], 'level': level, 'propagate': False}
    for name, level in (
      (LOGGER.name, 'INFO'),
      ('_granian', 'WARNING'),
      ('granian.access', 'WARNING'),
      ('python_multipart', 'ERROR'),  # Says which bytes are wrong.
    )
  },
}


def info(message: str, **fields: Any) -> None:
  LOGGER.info(message, extra={_FIELDS: fields})


def exception(message: str, **fields: Any) -> None:
  """With the traceback of the exception that is being handled."""
  LOGGER.exception(message, extra={_FIELDS: fields})
