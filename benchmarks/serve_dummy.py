"""A server whose device only waits: what the layers above it cost.

  python -m benchmarks.serve_dummy --port 8000 --milliseconds 100

POST /dummy takes any body and waits its turn in a batch of at most 8. Guard,
batcher and processes are those of `python -m viton_jax.serve`.
"""

import argparse
import contextlib
import functools
import time

from fastapi import FastAPI, Request, Response

from viton_jax.server import process
from viton_jax.server.batcher import Batcher
from viton_jax.server.guard import Guard
from viton_jax.server.metrics import Metrics
from viton_jax.server.settings import Settings


def make(seconds: float, *, failed, ready) -> FastAPI:
  del failed
  settings, metrics = Settings(), Metrics()

  def run(items):
    time.sleep(seconds)
    return items

  @contextlib.asynccontextmanager
  async def lifespan(app):
    batcher = Batcher(
      run,
      max_batch=settings.max_batch,
      max_queue=1000,
      delay_s=settings.batch_delay_s,
      observe=lambda size, _: metrics.batch_size.observe(size),
    )
    batcher.start()
    app.state.batcher = batcher
    ready()
    yield
    await batcher.close()

  app = FastAPI(lifespan=lifespan)
  app.add_middleware(Guard, settings=settings, metrics=metrics)

  @app.post('/dummy')
  async def dummy(request: Request) -> Response:
    await app.state.batcher.submit(len(await request.body()))
    return Response(b'done')

  @app.get('/healthz/ready')
  async def is_ready() -> Response:
    return Response(b'ready')

  @app.get('/metrics')
  async def show() -> Response:
    return Response(metrics.text())

  return app


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--port', type=int, default=8000)
  parser.add_argument('--milliseconds', type=float, default=100.0)
  parser.add_argument('--models_dir', help='of other servers; not used')
  options = parser.parse_args()
  process.serve(
    functools.partial(make, options.milliseconds / 1e3),
    host='127.0.0.1',
    port=options.port,
  )


if __name__ == '__main__':
  main()
