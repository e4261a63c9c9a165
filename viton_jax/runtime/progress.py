"""Progress of a long job: tqdm's bar on a terminal, lines in a log."""

import datetime
import sys
import time
from typing import TextIO

import tqdm

_EVERY_S = 15.0  # Between lines.


class Lines:
  """A line now and then; for logs."""

  def __init__(
    self,
    total: int,
    what: str,
    *,
    unit: str = 'image',
    file: TextIO | None = None,
  ):
    self._total, self._what, self._unit = total, what, unit
    self._file = file or sys.stderr
    self._done, self._note = 0, ''
    self._last = 0  # Done when a line was last written.
    self._first = 0  # Done at `_begin`: what went before is preparation.
    self._begin = self._said = time.monotonic()

  def update(self, more: int, note: str = '') -> None:
    """So many more are done; `note` is said with the next line."""
    if not self._done:
      self._first, self._begin = more, time.monotonic()
    self._done += more
    self._note = note
    if time.monotonic() - self._said >= _EVERY_S:
      self._say()

  def _say(self):
    self._said, self._last = time.monotonic(), self._done
    rate = (self._done - self._first) / max(self._said - self._begin, 1e-9)
    text = f'{self._what}: {self._done}/{self._total}'
    if rate:
      text += f', {rate:.1f} {self._unit}s/s'
    if rate and self._done < self._total:
      seconds = round((self._total - self._done) / rate)
      text += f', {datetime.timedelta(seconds=seconds)} to go'
    if self._note:
      text += f'; {self._note}'
    print(text, file=self._file, flush=True)

  def close(self) -> None:
    if self._done != self._last:
      self._say()


class Bar:
  """tqdm's bar, with the same two functions."""

  def __init__(self, bar):
    self._bar = bar

  def update(self, more: int, note: str = '') -> None:
    self._bar.set_postfix_str(note, refresh=False)
    self._bar.update(more)

  def close(self) -> None:
    self._bar.close()


def progress(total: int, what: str, *, unit: str = 'image') -> Bar | Lines:
  """A bar on a terminal, else lines."""
  if sys.stderr.isatty():
    return Bar(tqdm.tqdm(total=total, desc=what, unit=unit))
  return Lines(total, what, unit=unit)
