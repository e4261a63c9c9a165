"""A network as read from disk, whatever wrote it."""

import dataclasses
import pathlib
from typing import Any

from viton_jax.choices import Fidelity

NETWORKS = ('encoder_decoder', 'refinement', 'appearance_flow')


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """A network as read from disk.

  Attributes:
    path: the step's folder, or the file.
    step: training steps behind it.
    network: one of `NETWORKS`.
    features: channels of the first convolution (ngf).
    fidelity: 'original' or 'fixed'.
    size: (height, width) it was trained at.
    variables: {'params': ..., 'batch_stats': ...}, NumPy arrays; the moving
      averages where the training kept some.
    config: the resolved training config, as a dict.
    flow: of a refinement network, the appearance flow network before it.
  """

  path: pathlib.Path
  step: int
  network: str
  features: int
  fidelity: Fidelity
  size: tuple[int, int]
  variables: dict[str, Any]
  config: dict[str, Any]
  flow: 'Checkpoint | None' = None

  @property
  def all_variables(self) -> dict[str, Any]:
    """`variables`, and those of `flow`, if there is one, under its name."""
    if self.flow is None:
      return self.variables
    return {**self.variables, 'flow': self.flow.variables}

  @property
  def num_downsamples(self) -> int:
    """Downsamples of an encoder-decoder; 0 for the other network."""
    return num_downsamples_of(self.variables['params'])

  @property
  def metadata(self) -> dict[str, Any]:
    """What `describe` gives of it."""
    return describe(
      self.network,
      features=self.features,
      fidelity=self.fidelity,
      size=self.size,
      step=self.step,
      config=self.config,
    )


def num_downsamples_of(params: dict[str, Any]) -> int:
  """The encoder's convolutions among the names of parameters."""
  return sum(
    name.startswith('encoder_') and not name.endswith('_norm')
    for name in params
  )


def describe(
  network: str,
  *,
  features: int,
  fidelity: Fidelity,
  size: tuple[int, int],
  step: int,
  config: dict[str, Any],
) -> dict[str, Any]:
  """The metadata that goes with a checkpoint; `read` returns the same."""
  return {
    'network': network,
    'features': features,
    'fidelity': fidelity,
    'height': size[0],
    'width': size[1],
    'step': step,
    'config': config,
  }
