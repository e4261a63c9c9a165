"""Options with few values: their types, and the one check of them."""

from typing import Any, Literal, get_args

from viton_jax.errors import InputError

# 'original' is VITON's released code to the digit, which the published weights
# need; 'fixed' is without its defects.
Fidelity = Literal['fixed', 'original']
# How a try-on is put together: the photo stays where nothing changes, or the
# networks' image is all of it.
Composition = Literal['changes', 'whole']
# Where the garment is matched to its place on the person: on the processors, or
# in the same program as the networks; see `engine.matching_of`.
Matching = Literal['host', 'device', 'auto']
MATCHING_HELP = (
  "where garments are matched: 'host': the processors, between the networks; "
  "'device': in one program with them; 'auto': the host, the reference "
  '(default: %(default)s)'
)
# Of convolutions; parameters are float32.
DType = Literal['float32', 'bfloat16']
# Prepared data; 'original_records' are those of VITON's own scripts.
DataFormat = Literal['records', 'packed', 'original_records']
# What `input_pipeline.prepare` writes.
PreparedFormat = Literal['records', 'packed']
# Where training images lie: on disk, in this machine's or a device's memory.
Cache = Literal['none', 'host', 'device']
# What an iterator of NumPy batches can do of that.
HostCache = Literal['none', 'host']
ImageFormat = Literal['png', 'jpeg', 'webp']
# Of config.loss.lpips.
LossLpips = Literal['alex', 'vgg']
# Of a network's image in validation.
ValidationMetric = Literal['l1', 'ssim', 'lpips']
# Of the pictures of the steps to a try-on.
StepFormat = Literal['jpeg', 'png']


def values_of(choice: Any) -> tuple[str, ...]:
  """The values of a Literal type of this module, for a flag's choices."""
  return get_args(choice)


def check(name: str, value: Any, choice: Any) -> None:
  """Raises InputError unless `value` is one of the Literal type `choice`.

  Args:
    name: of the option, for the message.
    value: what was given.
    choice: a type of this module.
  """
  values = values_of(choice)
  if value not in values:
    raise InputError(
      f'{name} is {value!r}; it must be one of {", ".join(map(repr, values))}'
    )
