"""What Prometheus reads at /metrics."""

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

prometheus_client.disable_created_metrics()  # One more series for each.
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)


class Metrics:
  """Counters of one app, in a registry of their own."""

  def __init__(self):
    self.registry = CollectorRegistry()
    # RSS, CPU seconds and open files of this process.
    prometheus_client.ProcessCollector(registry=self.registry)
    r = self.registry
    self.requests = Counter(
      'viton_requests',
      'Requests by route and status',
      ['route', 'status'],
      registry=r,
    )
    self.request_seconds = Histogram(
      'viton_request_seconds',
      'From the headers to the last byte',
      ['route'],
      buckets=_SECONDS,
      registry=r,
    )
    self.stage_seconds = Histogram(
      'viton_stage_seconds',
      'Seconds a request spends in each stage',
      ['stage'],
      buckets=_SECONDS,
      registry=r,
    )
    self.batch_size = Histogram(
      'viton_batch_size',
      'Pairs in a batch of the networks',
      buckets=(1, 2, 4, 8, 16, 32, 64),
      registry=r,
    )
    self.rejections = Counter(
      'viton_rejections',
      'Requests turned away by reason',
      ['reason'],
      registry=r,
    )
    self.compilations = Counter(
      'viton_compilations', 'Programs that XLA compiled', registry=r
    )
    self.queue_depth = Gauge(
      'viton_queue_depth',
      'Requests that were accepted and not begun',
      registry=r,
    )
    self.in_work = Gauge(
      'viton_in_work',
      'Requests that were accepted and not answered',
      registry=r,
    )
    self.sessions = Gauge(
      'viton_sessions', 'Sessions that are alive', registry=r
    )
    self.frames = Counter(
      'viton_frames',
      'Frames of live try-ons: in, shown, dropped for a newer one',
      ['what'],
      registry=r,
    )
    self.live = Gauge('viton_live', 'Live try-ons that are open', registry=r)
    self.ready = Gauge(
      'viton_ready', '1 where /healthz/ready says so', registry=r
    )

  def count_rejection(self, reason: str | None) -> None:
    """Counts a request that was turned away; None: it is not counted."""
    if reason:
      self.rejections.labels(reason).inc()

  def text(self) -> bytes:
    return prometheus_client.generate_latest(self.registry)
