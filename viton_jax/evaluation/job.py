"""What every shard of an evaluation measures."""

import dataclasses

from viton_jax.evaluation import measuring, networks, pairing, protocols


@dataclasses.dataclass(frozen=True)
class Job:
  """An evaluation, ready to be begun.

  Attributes:
    protocol: whose figures they are.
    figures: that are measured.
    pairs: what is evaluated.
    known: see `reading.known_of`.
    nets: the weights.
    method: which pictures.
  """

  protocol: protocols.Protocol
  figures: tuple[protocols.Figure, ...]
  pairs: pairing.Pairing
  known: tuple[str, ...]
  nets: networks.Networks
  method: pairing.Method

  @property
  def columns(self) -> tuple[measuring.Column, ...]:
    """The features that are stored."""
    return measuring.columns_of(self.figures)
