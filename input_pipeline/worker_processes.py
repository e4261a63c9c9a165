"""What every worker process of a job does first."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading

import cv2


def settle() -> None:
  """Keeps a worker to one core, and to the life of its parent."""
  cv2.setNumThreads(1)
  # On Ctrl-C the parent ends the work; workers finish what they are at.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  # A killed parent cannot tell its workers, which would wait forever.
  parent = multiprocessing.parent_process()

  def end_with_parent():
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)

  threading.Thread(target=end_with_parent, daemon=True).start()
