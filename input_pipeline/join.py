"""Joins several prepared sets to one, to train on all of them.

  python -m input_pipeline.join photo_records plain_records --out_dir both

They must have been prepared alike: format, size, fidelity, and with what an
exchange tells or without. Files of records are linked where the file system
can, else copied, packed files are copied; the sets stay as they are. A person
who is held out in one set but not in another would be trained and validated on:
give sets of different people.
"""

import argparse
import collections
import json
import os
import pathlib
import shutil

from input_pipeline import batches
from input_pipeline.formats import packed
from viton_jax import errors
from viton_jax.errors import InputError
from viton_jax.io import storage, structured

_INFO = 'dataset_info.json'
_REMEDY = 'prepare the records again'


def join(folders: list[pathlib.Path], out_dir: pathlib.Path) -> dict[str, int]:
  """Writes one set with the examples of several.

  Args:
    folders: what `input_pipeline.prepare` wrote, at least two.
    out_dir: a new folder; it is there when it is whole.

  Returns:
    split -> its number of examples.

  Raises:
    InputError: a folder has no finished set, they differ in kind, one is
      given twice, or out_dir is there already.
  """
  if len({folder.resolve() for folder in folders}) != len(folders):
    raise InputError('a set is given twice; give each once')
  if out_dir.exists():
    raise InputError(f'{out_dir}: is there already; give another --out_dir')
  fmt = 'packed' if packed.path_of(folders[0], 'train').exists() else 'records'
  infos = [batches.read_info(folder, fmt=fmt) for folder in folders]
  first = infos[0]
  for folder, info in zip(folders, infos, strict=True):
    for name in ('height', 'width', 'fidelity', 'exchanged'):
      if getattr(info, name) != getattr(first, name):
        raise InputError(
          f'{folder}: prepared with {name} {getattr(info, name)}, but '
          f'{folders[0]} with {getattr(first, name)}; {_REMEDY} alike'
        )
  with storage.partial_folder(out_dir.absolute()) as work:
    if fmt == 'packed':
      counts = _join_packed(folders, infos, work)
    else:
      records = work / first.folder.relative_to(folders[0])
      records.mkdir(parents=True)
      counts = _join_files(infos, records)
      for name in ('features.json', 'metadata.json'):
        shutil.copy(first.folder / name, records / name)
    with (work / 'manifest.jsonl').open('wb') as manifest:
      for folder in folders:
        manifest.write((folder / 'manifest.jsonl').read_bytes())
    storage.write_json(
      work / 'prepare.json',
      {'settings': {'joined': [str(x) for x in folders]}, 'done': True},
    )
    work.rename(out_dir)
  return counts


def _join_packed(
  folders: list[pathlib.Path],
  infos: list[batches.RecordsInfo],
  out_dir: pathlib.Path,
) -> dict[str, int]:
  """Copies the examples of each split to one file, and counts them."""
  counts = collections.Counter()
  for info in infos:
    counts.update(info.num_examples)
  first = infos[0]
  for split in counts:
    parts = [
      packed.open_arrays(packed.path_of(folder, split))
      for folder, info in zip(folders, infos, strict=True)
      if info.num_examples.get(split)
    ]
    person, garment = (max(x[i].itemsize for x in parts) for i in packed.IDS)
    header = packed.plan(
      split,
      dict(counts),
      height=first.height,
      width=first.width,
      fidelity=first.fidelity,
      id_bytes=(person, garment),
      exchanged=first.exchanged,
    )
    packed.write(packed.path_of(out_dir, split), header, _examples(parts))
  return dict(counts)


def _examples(parts):
  for arrays in parts:
    for row in range(len(arrays['person'])):
      yield {name: values[row] for name, values in arrays.items()}


def _join_files(
  infos: list[batches.RecordsInfo], records: pathlib.Path
) -> dict[str, int]:
  """Links all files under new numbers, and counts what is in them."""
  described = [
    structured.read_object(info.folder / _INFO, remedy=_REMEDY)
    for info in infos
  ]
  splits = {}
  for info, content in zip(infos, described, strict=True):
    for split in content['splits']:
      name = split['name']
      files = sorted(info.folder.glob(f'try_on-{name}.tfrecord-*'))
      if len(files) != len(split['shardLengths']):
        raise InputError(
          f'{info.folder}: has {len(files)} files of {name} instead of '
          f'{len(split["shardLengths"])}; copy or prepare them again'
        )
      known = splits.setdefault(
        name, {**split, 'numBytes': 0, 'shardLengths': [], 'files': []}
      )
      known['numBytes'] += int(split['numBytes'])
      known['shardLengths'] += split['shardLengths']
      known['files'] += files
  for name, split in splits.items():
    files = split.pop('files')
    split['numBytes'] = str(split['numBytes'])
    for i, path in enumerate(files):
      target = f'try_on-{name}.tfrecord-{i:05d}-of-{len(files):05d}'
      _link(path, records / target)
  content = {**described[0], 'splits': list(splits.values())}
  (records / _INFO).write_text(json.dumps(content, indent=2))
  return {
    name: sum(map(int, split['shardLengths'])) for name, split in splits.items()
  }


def _link(path: pathlib.Path, target: pathlib.Path) -> None:
  try:
    os.link(path, target)
  except OSError:  # Another file system, or one without links.
    shutil.copy(path, target)


def main(argv: list[str] | None = None) -> None:
  """Runs the command line."""
  parser = argparse.ArgumentParser(
    prog='python -m input_pipeline.join',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add('folders', nargs='+', type=pathlib.Path, help='prepared sets')
  add('--out_dir', required=True, type=pathlib.Path, help='a new folder')
  arguments = parser.parse_args(argv)
  if len(arguments.folders) < 2:
    raise InputError('one set is given; give at least two')
  counts = join(arguments.folders, arguments.out_dir)
  print(
    f'joined {len(arguments.folders)} sets in {arguments.out_dir}: '
    + ', '.join(f'{count} {name}' for name, count in counts.items())
  )


if __name__ == '__main__':
  errors.run(main)
