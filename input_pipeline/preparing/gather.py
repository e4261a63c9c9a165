"""Gathers finished parts into TFRecords or packed files."""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import errno
import functools
import io
import os
import pathlib
import shutil

from input_pipeline.formats import original_records, packed
from input_pipeline.preparing import parts
from viton_jax import errors
from viton_jax.errors import InputError
from viton_jax.runtime.progress import progress


@dataclasses.dataclass(frozen=True)
class Slice:
  """Those examples of one part that belong to a split.

  Attributes:
    number: of the part.
    first: place of its first example in the split.
    wanted: places in the part.
  """

  number: int
  first: int
  wanted: frozenset[int]


def split_slices(
  manifest: list[dict], held_out: frozenset[str]
) -> dict[str, list[Slice]]:
  """Says which split each prepared pair belongs to.

  Args:
    manifest: a line a pair, in order.
    held_out: persons of the validation split; without any there is none.

  Returns:
    split -> its slices, in order.
  """
  slices = {'train': []} | ({'validation': []} if held_out else {})
  counts = dict.fromkeys(slices, 0)
  for number, start in enumerate(range(0, len(manifest), parts.CHUNK)):
    lines = manifest[start : start + parts.CHUNK]
    for split in slices:
      wanted = frozenset(
        place
        for place, line in enumerate(lines)
        if line['status'] == 'ok'
        and (line['person_id'] in held_out) == (split == 'validation')
      )
      if wanted:
        slices[split].append(Slice(number, counts[split], wanted))
        counts[split] += len(wanted)
  return slices


def read_slice(parts_dir: pathlib.Path, one: Slice) -> Iterator[tuple]:
  """Yields (place in the split, example); see `parts.read_examples`."""
  examples = parts.read_examples(parts_dir, one.number, one.wanted)
  yield from enumerate(examples, start=one.first)


def _read_slices(parts_dir, slices):
  for one in slices:
    for _, example in read_slice(parts_dir, one):
      yield example


def write_records(
  work: parts.Work,
  slices: dict[str, list[Slice]],
  *,
  out_dir: pathlib.Path,
  on_beam: Callable | None = None,
  beam_options=None,
) -> int:
  """Writes the record files through TFDS.

  Args:
    work: the job, all parts done.
    slices: see `split_slices`.
    out_dir: where `try_on/` goes.
    on_beam: (parts_dir, slices) -> Beam transform that reads them; None: this
      process writes.
    beam_options: of Beam's pipeline.

  Returns:
    bytes of all records.

  Raises:
    InputError: the disk is full.
  """
  original_records.tensorflow()  # First, so that it leaves the GPU alone.
  # Not at the top: both import TensorFlow, which packed files do without.
  import tensorflow_datasets as tfds

  from input_pipeline.try_on.try_on_dataset_builder import TryOn, TryOnConfig

  read = on_beam or (lambda *x: functools.partial(_read_slices, *x))
  # What a killed run has left half-written.
  for folder in out_dir.glob('try_on/*/*incomplete*'):
    shutil.rmtree(folder)
  tfds.disable_progress_bar()
  # TFDS reports a download although there is none.
  with (
    _explaining_a_full_disk(out_dir),
    errors.log_errors_only(),
    contextlib.redirect_stdout(io.StringIO()),
  ):
    builder = TryOn(
      data_dir=os.fspath(out_dir),
      config=TryOnConfig(
        name=f'{work.height}x{work.width}_{work.fidelity}',
        height=work.height,
        width=work.width,
        fidelity=work.fidelity,
        exchanged=work.exchanged,
      ),
      splits={
        name: read(work.parts_dir, found) for name, found in slices.items()
      },
    )
    builder.download_and_prepare(
      download_dir=os.fspath(work.parts_dir / 'downloads'),
      download_config=tfds.download.DownloadConfig(beam_options=beam_options),
    )
  return sum(split.num_bytes for split in builder.info.splits.values())


@contextlib.contextmanager
def _explaining_a_full_disk(out_dir: pathlib.Path) -> Iterator[None]:
  """TFDS and TensorFlow wrap it in errors of several kinds."""
  try:
    yield
  except Exception as error:
    cause: BaseException | None = error
    while cause is not None:
      full = getattr(cause, 'errno', None) in (errno.ENOSPC, errno.EDQUOT)
      if full or 'No space left on device' in str(cause):
        raise InputError(
          f'{out_dir}: the disk is full; free some space and give the same '
          'command to go on'
        ) from error
      cause = cause.__cause__ or cause.__context__
    raise


def write_packed(
  work: parts.Work,
  manifest: list[dict],
  slices: dict[str, list[Slice]],
  *,
  out_dir: pathlib.Path,
) -> int:
  """Writes a packed file for each split.

  Args:
    work: the job, all parts done.
    manifest: a line a pair.
    slices: see `split_slices`.
    out_dir: where the files go.

  Returns:
    bytes of all files.

  Raises:
    InputError: the disk is too full; then nothing is written.
  """
  for partial in out_dir.glob(f'.*{packed.SUFFIX}.*.partial'):
    partial.unlink()  # What a killed run has left half-written.
  headers = _plan(work, manifest, slices)
  size = sum(header.num_bytes for header in headers)
  packed.check_free_space(out_dir, size, 'packed examples')
  bar = progress(sum(headers[0].num_examples.values()), 'pack', unit='pair')

  def counted(examples):
    for example in examples:
      yield example
      bar.update(1)

  with contextlib.closing(bar):
    for header in headers:
      examples = _read_slices(work.parts_dir, slices[header.split])
      packed.write(
        packed.path_of(out_dir, header.split), header, counted(examples)
      )
  return size


def bytes_needed_for_packed(work: parts.Work) -> int:
  """Bytes of packed files and of the parts that are still to be made.

  Both are there together before the parts are deleted. Assumes that no pair
  fails; how pairs are split makes no difference.
  """
  lines = [
    {'person_id': person, 'garment_id': garment}
    for person, garment in work.layout.pairs
  ]
  everything = [Slice(0, 0, frozenset(range(len(lines))))]
  (header,) = _plan(work, lines, {'train': everything})
  to_do = work.num_pairs(work.missing()) / len(lines)
  return round(header.num_bytes * (1 + to_do))


def check_free_space_for_packed(
  work: parts.Work, out_dir: pathlib.Path
) -> None:
  """Raises InputError if the disk is too full for parts and packed files."""
  packed.check_free_space(
    out_dir,
    bytes_needed_for_packed(work),
    f'{len(work.layout)} packed pairs, and as much again while they are '
    'prepared,',
  )


def _plan(work, manifest, slices) -> list[packed.Header]:
  person_id, garment_id = (
    max(len(line[name].encode()) for line in manifest) for name in packed.IDS
  )
  num_examples = {
    split: sum(len(one.wanted) for one in found)
    for split, found in slices.items()
  }
  return [
    packed.plan(
      split,
      num_examples,
      height=work.height,
      width=work.width,
      fidelity=work.fidelity,
      id_bytes=(person_id, garment_id),
      exchanged=work.exchanged,
    )
    for split in slices
  ]
