"""Prints what is in packed files and compares it with their SHA-256 sums.

  python -m input_pipeline.packed records/train.packed

`python -m input_pipeline.prepare --format packed` writes such files;
input_pipeline/formats/packed.py says how they are laid out.
"""

import argparse
import pathlib

from input_pipeline.formats.packed import check_sums
from viton_jax import errors


def main(argv: list[str] | None = None) -> None:
  """Runs the command line."""
  parser = argparse.ArgumentParser(
    prog='python -m input_pipeline.packed',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('files', nargs='+', type=pathlib.Path)
  for path in parser.parse_args(argv).files:
    header = check_sums(path)
    count = header.num_examples[header.split]
    print(
      f'{path}: {count} examples of {header.width} x {header.height}, '
      f'{header.fidelity}, {header.num_bytes / 1e9:.3f} GB; SHA-256 right'
    )
    for field in header.fields:
      print(
        f'  {field.name:15} {field.dtype:4} {field.shape}, '
        f'{field.nbytes / max(count, 1) / 1000:.1f} kB each'
      )


if __name__ == '__main__':
  errors.run(main)
