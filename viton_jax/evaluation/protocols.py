"""The protocols of papers and libraries, as data: what is computed, and how.

The one place that says which size, resize, window, padding, range and library
a published figure means. Sources are repository@commit; see docs/evaluation.md.
"""

import dataclasses
from typing import Any, Literal

from viton_jax.errors import InputError, shown

Kind = Literal[
  'l1', 'mse', 'psnr', 'ssim', 'ms_ssim', 'lpips', 'dists', 'fid', 'kid', 'is'
]
TruthResize = Literal['bilinear', 'lanczos', 'area']
Extractor = Literal['fid_inception', 'torchvision_inception']
DISTRIBUTIONS = ('fid', 'kid', 'is')
FID_BIASED_BELOW = 2000  # Pictures.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
  """One figure of a protocol.

  Attributes:
    name: in metrics.json.
    kind: what it is.
    library: whose figure it equals, with the version where it matters.
    variant: which of `viton_jax.metrics`: a key of `structural.SSIM`, a variant
      of `ms_ssim` or `inception_score`, a net of LPIPS, or how KID is drawn.
    resize: (height, width) to which both pictures are brought first, by
      Pillow's bilinear filter; None: as the protocol has them.
    extractor: the network that FID, KID and IS look through.
    prepared: how pictures are brought to that network, see
      `metrics.inception`.
    tap: its layer.
    splits: of IS.
    seed: of what the library draws at random; None: nothing is.
    scale: by which the value is multiplied, as the papers print it.
    higher: whether a higher value is better.
    optional: measured only if --figures names it, because it takes long.
    hides: what the figure does not see.
  """

  name: str
  kind: Kind
  library: str
  variant: Any = ''
  resize: tuple[int, int] | None = None
  extractor: Extractor | None = None
  prepared: Any = ''
  tap: str = ''
  splits: int | None = None
  seed: int | None = None
  scale: float = 1.0
  higher: bool = False
  optional: bool = False
  hides: str = ''

  @property
  def of_pairs(self) -> bool:
    """Whether each pair has a value of its own."""
    return self.kind not in DISTRIBUTIONS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
  """How somebody evaluates.

  Attributes:
    name: of the command's --protocol.
    source: where it was read.
    size: (height, width) that both pictures are brought to by Pillow's
      bilinear filter, before the figures of pairs; None: the results' size.
    truth_resize: how the truth is brought to the results' size where they
      differ: by Pillow's filter, or by the means of areas, as for training.
    real_set: what the results' distribution is compared with: the true
      pictures of the 'pairs', or 'all' pictures of the truth's folder.
    figures: of the protocol.
    notes: what differs from the source, and what else must be known.
  """

  name: str
  source: str
  figures: tuple[Figure, ...]
  size: tuple[int, int] | None = None
  truth_resize: TruthResize = 'bilinear'
  real_set: Literal['pairs', 'all'] = 'pairs'
  notes: tuple[str, ...] = ()


_SSIM_HIDES = 'a small shift of a pattern counts as much as a wrong pattern'
_LPIPS_HIDES = 'colours that are a little off everywhere, and small print'
_FID_HIDES = 'whether a person wears the right garment; needs many pictures'
_IS_HIDES = 'the truth: it never looks at it, and its classes are ImageNet'


def _ssim(variant: str, library: str, name: str = 'ssim') -> Figure:
  return Figure(
    name=name,
    kind='ssim',
    variant=variant,
    library=library,
    higher=True,
    hides=_SSIM_HIDES,
  )


def _lpips(net: str, **others) -> Figure:
  figure = Figure(
    name='lpips',
    kind='lpips',
    variant=net,
    library=f'lpips 0.1.4, {net} v0.1, input [-1, 1]',
    hides=_LPIPS_HIDES,
  )
  return dataclasses.replace(figure, **others)


def _fid(prepared: str, library: str, tap: str = '2048') -> Figure:
  return Figure(
    name='fid',
    kind='fid',
    extractor='fid_inception',
    prepared=prepared,
    tap=tap,
    library=library,
    hides=_FID_HIDES,
  )


def _kid(prepared: str, variant: str, library: str, **others) -> Figure:
  figure = Figure(
    name='kid',
    kind='kid',
    variant=variant,
    extractor='fid_inception',
    prepared=prepared,
    tap='2048',
    library=library,
    scale=1000.0,
    hides=_FID_HIDES,
  )
  return dataclasses.replace(figure, **others)


def _is(variant: str, prepared: str, library: str, **others) -> Figure:
  figure = Figure(
    name='is',
    kind='is',
    variant=variant,
    prepared=prepared,
    library=library,
    higher=True,
    hides=_IS_HIDES,
  )
  return dataclasses.replace(figure, **others)


_HR_SSIM = _ssim(
  'hr_viton',
  "scikit-image structural_similarity on PIL 'L', Gaussian 11 x 11, sigma 1.5, "
  'no sample covariance, range 255, border of 5 px left out',
)
_HR_LPIPS = _lpips('alex', resize=(128, 128))
_TV_HR_IS = _is(
  'sbarratt',
  'hr-viton',
  'torchvision inception_v3, PIL bilinear to 299 x 299, splits = 1',
  extractor='torchvision_inception',
  splits=1,
)
_TF_FID = _fid('torch-fidelity', 'torch-fidelity 0.4.0, TF1 bilinear')
_TF_KID = _kid(
  'torch-fidelity',
  'torch-fidelity',
  'torch-fidelity 0.4.0, 100 subsets of 1,000, RandomState(2020)',
  seed=2020,
)
_TF_IS = _is(
  'torch-fidelity',
  'torch-fidelity',
  'torch-fidelity 0.4.0, 1,008 logits without bias, 10 splits, shuffled by '
  'seed 2020',
  extractor='fid_inception',
  tap='logits_unbiased',
  splits=10,
  seed=2020,
)
_CLEAN_FID = _fid('clean-fid', 'clean-fid 0.1.35, PIL bicubic in mode F')
_CLEAN_KID = _kid(
  'clean-fid',
  'clean-fid',
  'clean-fid 0.1.35, 100 subsets of min(n, 1,000); unseeded there, seed 0 here',
  seed=0,
)

_ALL = (
  Protocol(
    name='viton_jax',
    source='this project',
    truth_resize='area',
    figures=(
      _ssim(
        'skimage_rgb_gaussian',
        'scikit-image structural_similarity on RGB, Gaussian 11 x 11, sigma '
        '1.5, no sample covariance, border of 5 px left out; equals '
        'torchmetrics <= 1.4.1',
      ),
      Figure(
        name='ms_ssim',
        kind='ms_ssim',
        variant='torchmetrics',
        library='torchmetrics 1.9, 5 scales',
        higher=True,
        hides=_SSIM_HIDES,
      ),
      Figure(
        name='l1',
        kind='l1',
        library='mean absolute difference in grey levels, 0 to 255',
        hides='structure: blur costs less than sharp cloth a little off',
      ),
      Figure(
        name='psnr',
        kind='psnr',
        library='10 log10(255^2 / mean squared difference); equal pictures '
        'count as 100 dB',
        higher=True,
        hides='structure: blur costs less than sharp cloth a little off',
      ),
      _lpips('alex'),
      _lpips('vgg', name='lpips_vgg', optional=True),
      Figure(
        name='dists',
        kind='dists',
        library='DISTS-pytorch 0.1, VGG16',
        optional=True,
        hides='where a texture lies: it compares statistics of it',
      ),
      _CLEAN_FID,
      _kid(
        'clean-fid',
        'unbiased',
        'unbiased estimate over all pictures, clean-fid features',
      ),
      _kid(
        'clean-fid',
        'clean-fid',
        'clean-fid 0.1.35, 100 subsets of min(n, 1,000), seed 0',
        name='kid_subsets',
        seed=0,
      ),
      # Another resize than that of FID would cost a third of the time.
      _is(
        'torch-fidelity',
        'clean-fid',
        "torch-fidelity's score (1,008 logits without bias, 10 splits, "
        "shuffled by seed 2020) of clean-fid's resize",
        extractor='fid_inception',
        tap='logits_unbiased',
        splits=10,
        seed=2020,
      ),
    ),
    notes=(
      'with a drawn data set also what is known there: the garment region, '
      'its texture, mask and warp',
    ),
  ),
  Protocol(
    name='hr-viton',
    source='hr-viton@2715bdd evaluate.py',
    figures=(
      _HR_SSIM,
      Figure(
        name='mse',
        kind='mse',
        library='torch mse_loss on [0, 1]',
        hides='structure',
      ),
      _HR_LPIPS,
      _TV_HR_IS,
    ),
    notes=(
      'the truth is brought to the size of the results by PIL bilinear',
      'sums are divided by the number of pairs here; the source divides by '
      'the number of ground-truth pictures, which differs where some are '
      'missing',
    ),
  ),
  Protocol(
    name='ladi-vton',
    source='ladi-vton@b127ad9 src/utils/val_metrics.py (OOTDiffusion too); '
    'torchmetrics 0.11.4, clean-fid 0.1.35',
    size=(512, 384),
    real_set='all',
    figures=(
      _ssim('torchmetrics_0_11_4', 'torchmetrics 0.11.4, RGB, range 1'),
      _lpips('alex'),
      _CLEAN_FID,
      _CLEAN_KID,
      _is(
        'torchmetrics',
        'torch-fidelity',
        'torchmetrics 0.11.4, TF1 bilinear, 10 chunks; its shuffle has no '
        'seed and is left out here',
        extractor='fid_inception',
        tap='logits_unbiased',
        splits=10,
      ),
    ),
    notes=(
      'both pictures are brought to 512 x 384 by PIL bilinear; FID and KID '
      'take them at their original size, IS at 512 x 384 there and as stored '
      'here',
      'FID and KID compare with all pictures of the truth folder',
    ),
  ),
  Protocol(
    name='catvton',
    source='CatVTON@3b79536 eval.py',
    truth_resize='lanczos',
    real_set='all',
    figures=(
      _ssim('torchmetrics_0_11_4', 'torchmetrics <= 1.4.1, RGB, range 1'),
      _lpips('squeeze'),
      _CLEAN_FID,
      _CLEAN_KID,
    ),
    notes=(
      'where the heights of the first pictures differ, the source writes the '
      'truth again under its own name, a .jpg at quality 75, and so scores a '
      'perfect result 0.941; here the resized truth stays in memory',
      'FID and KID compare with all pictures of the truth folder',
    ),
  ),
  Protocol(
    name='acgpn',
    source='ACGPN@f5f5598 README; pytorch-ssim@3add453; sbarratt '
    'inception-score',
    figures=(
      _ssim(
        'pytorch_ssim',
        'pytorch-ssim@3add453, Gaussian 11 x 11, zero padding, whole map',
      ),
      _is(
        'sbarratt',
        'sbarratt',
        'sbarratt with resize to 299 x 299, [-1, 1], splits = 1',
        extractor='torchvision_inception',
        splits=1,
      ),
      _is(
        'sbarratt',
        'sbarratt-unresized',
        'sbarratt without resize, [-1, 1], splits = 1',
        name='is_unresized',
        extractor='torchvision_inception',
        splits=1,
      ),
    ),
    notes=('the source does not say whether IS resizes: both are given',),
  ),
  Protocol(
    name='pf-afn',
    source='PF-AFN, pytorch-fid 0.3.0',
    figures=(
      _fid('pytorch-fid', 'pytorch-fid 0.3.0, bilinear, float64 statistics'),
    ),
  ),
  Protocol(
    name='flow-style',
    source='Flow-Style-VTON: pytorch-ssim@3add453, pytorch-fid 0.3.0',
    figures=(
      _ssim(
        'pytorch_ssim',
        'pytorch-ssim@3add453, Gaussian 11 x 11, zero padding, whole map',
      ),
      _fid('pytorch-fid', 'pytorch-fid 0.3.0, bilinear, float64 statistics'),
    ),
  ),
  Protocol(
    name='dci-vton',
    source="DCI-VTON: hr-viton's SSIM and LPIPS, torch-fidelity",
    figures=(_HR_SSIM, _HR_LPIPS, _TF_FID, _TF_KID, _TF_IS),
  ),
  Protocol(
    name='clean-fid',
    source='clean-fid 0.1.35',
    real_set='all',
    figures=(_CLEAN_FID, _CLEAN_KID),
  ),
  Protocol(
    name='torch-fidelity',
    source='torch-fidelity 0.4.0',
    real_set='all',
    figures=(_TF_IS, _TF_FID, _TF_KID),
  ),
)
PROTOCOLS = {protocol.name: protocol for protocol in _ALL}
NOT_REPRODUCED = {
  'cp-vton-plus': "its SSIM is MATLAB's ssim on the whole (h, w, 3) array as a "
  'volume, with a three-dimensional window, whose source is not published',
  'viton': 'its repository has no metric code, and the paper names neither '
  'the network nor the splits of its inception score',
}


def find(name: str) -> Protocol:
  """The protocol of a name.

  Raises:
    InputError: there is none, or it cannot be reproduced.
  """
  if name in NOT_REPRODUCED:
    raise InputError(
      f'--protocol {name}: cannot be reproduced: {NOT_REPRODUCED[name]}; use '
      'another of --list_protocols'
    )
  if name not in PROTOCOLS:
    raise InputError(
      f'--protocol {shown(name)}: is unknown; use one of {", ".join(PROTOCOLS)}'
    )
  return PROTOCOLS[name]


def choose(protocol: Protocol, names: str | None) -> tuple[Figure, ...]:
  """The figures to be measured: those that are named, else the usual ones.

  Args:
    protocol: whose.
    names: with commas between them; 'all' for all; None: all but the optional.

  Raises:
    InputError: the protocol has no such figure.
  """
  if names is None:
    return tuple(x for x in protocol.figures if not x.optional)
  if names == 'all':
    return protocol.figures
  by_name = {figure.name: figure for figure in protocol.figures}
  wanted = dict.fromkeys(names.split(','))
  for name in wanted:
    if name not in by_name:
      raise InputError(
        f'--figures {shown(name)}: {protocol.name} has no such figure; name '
        f'some of {", ".join(by_name)}'
      )
  return tuple(by_name[name] for name in wanted)
