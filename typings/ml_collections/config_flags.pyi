from typing import Any

from absl import flags

def DEFINE_config_file(
  name: str,
  default: str | None = ...,
  help_string: str = ...,
  flag_values: flags.FlagValues = ...,
  lock_config: bool = ...,
  accept_new_attributes: bool = ...,
  sys_argv: list[str] | None = ...,
) -> flags.FlagHolder[Any]: ...
