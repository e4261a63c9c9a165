"""The networks that figures look through: which are needed, which are there."""

from collections.abc import Sequence
import dataclasses
import pathlib
from typing import Any

from viton_jax.errors import InputError, shown
from viton_jax.evaluation.protocols import Figure
from viton_jax.metrics import weights
from viton_jax.perception import model_files

# Net of LPIPS -> the files that it may come from, in the models' folder; and
# what a name of the user's must hold.
_FETCHED = {
  'alex': ('lpips/alexnet.ckpt',),
  'vgg': ('lpips/vgg16.ckpt',),
  'squeeze': ('squeezenet1_1-b8a52dc0.pth',),
}
_HEADS = 'lpips_heads/squeeze.pth'
_DISTS = 'dists/weights.pt'
_FETCH = {
  'alex': '`python -m viton_jax.perception fetch lpips` brings them',
  'vgg': '`python -m viton_jax.perception fetch lpips` brings them',
  'squeeze': "get torchvision's squeezenet1_1-b8a52dc0.pth (4958839 bytes, "
  'BSD-3-Clause) and give it as --lpips_weights; `python -m '
  'viton_jax.perception fetch lpips_heads` brings the heads',
  'dists': '`python -m viton_jax.perception fetch lpips` and `... fetch dists` '
  'bring them',
  'fid_inception': f'{weights.INCEPTION_REMEDY} and give it as '
  '--inception_weights',
  'torchvision_inception': f'{weights.TORCHVISION_INCEPTION_REMEDY} and give '
  'it as --inception_weights',
}


@dataclasses.dataclass(frozen=True)
class Networks:
  """The weights that figures need.

  Attributes:
    params: 'alex', 'vgg', 'squeeze', 'dists', 'fid_inception' and
      'torchvision_inception', of those that are needed and there.
    files: of each: name, size in bytes and SHA-256; for the protocol's card.
    left_out: figure -> why it cannot be measured.
  """

  params: dict[str, Any]
  files: dict[str, list[dict[str, Any]]]
  left_out: dict[str, str]

  def sentences(self) -> list[str]:
    """What is left out and why, a sentence for each reason."""
    return [
      'left out: '
      f'{", ".join(x for x, y in self.left_out.items() if y == why)}: {why}'
      for why in dict.fromkeys(self.left_out.values())
    ]


def needed_by(figure: Figure) -> str | None:
  """The network of a figure, or None."""
  if figure.kind == 'lpips':
    return figure.variant
  if figure.kind == 'dists':
    return 'dists'
  return figure.extractor


def load(
  figures: Sequence[Figure],
  *,
  lpips_weights: Sequence[str] = (),
  inception_weights: str | None = None,
) -> Networks:
  """Reads the weights of figures, as far as they are there.

  Args:
    figures: to be measured.
    lpips_weights: files of the user's; which net each is of, its name says:
      alex, vgg or squeeze. One alone may have any name where one net is
      needed.
    inception_weights: the published file of the network that the figures look
      through.

  Raises:
    InputError: a file is damaged, of another network or of none.
  """
  wanted = dict.fromkeys(x for x in map(needed_by, figures) if x)
  given = _given(lpips_weights, [x for x in wanted if x in _FETCHED])
  params, files, missing = {}, {}, {}
  for name in wanted:
    read = _read(name, given, inception_weights)
    if read is None:
      missing[name] = f'its weights are missing: {_FETCH[name]}'
      continue
    params[name] = read.params
    files[name] = [dataclasses.asdict(file) for file in read.files]
  left_out = {
    figure.name: missing[name]
    for figure in figures
    if (name := needed_by(figure)) in missing
  }
  return Networks(params, files, left_out)


def _given(paths: Sequence[str], wanted: list[str]) -> dict[str, str]:
  found = {}
  for path in paths:
    name = pathlib.PurePath(path).name.lower()
    nets = [net for net in _FETCHED if net in name]
    if not nets and len(paths) == len(wanted) == 1:
      nets = wanted
    if len(nets) != 1:
      raise InputError(
        f'--lpips_weights {shown(path)}: the name does not say which network '
        "this is; let it hold 'alex', 'vgg' or 'squeeze'"
      )
    found[nets[0]] = path
  return found


def _read(name: Any, given, inception_weights) -> weights.Weights | None:
  if name == 'fid_inception':
    return inception_weights and weights.read_inception(inception_weights)
  if name == 'torchvision_inception':
    return inception_weights and weights.read_torchvision_inception(
      inception_weights
    )
  folder = model_files.models_folder()
  if name == 'dists':
    vgg = given.get('vgg') or _existing(folder, _FETCHED['vgg'])
    own = _existing(folder, (_DISTS,))
    return weights.read_dists(vgg, own) if vgg and own else None
  path = given.get(name) or _existing(folder, _FETCHED[name])
  if path is None:
    return None
  heads = _existing(folder, (_HEADS.replace('squeeze', name),))
  return weights.read_lpips(name, path, heads=heads)


def _existing(folder: pathlib.Path, names: Sequence[str]):
  return next((folder / x for x in names if (folder / x).is_file()), None)
