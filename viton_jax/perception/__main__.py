"""Pose estimation from the command line.

  python -m viton_jax.perception list
      which models are known, and which of their files are there

  python -m viton_jax.perception pose --image me.jpg --model graph_opt.pb \\
      --out keypoints.json --show skeleton.png
      the joints of the people in a photo, in OpenPose's JSON format
"""

import argparse
import time

from viton_jax import errors
from viton_jax.errors import InputError
from viton_jax.perception import keypoints, pose, specs


def parse_arguments() -> argparse.Namespace:
  form = argparse.RawDescriptionHelpFormatter
  parser = argparse.ArgumentParser(
      prog='python -m viton_jax.perception',
      description=__doc__,
      formatter_class=form,
  )
  commands = parser.add_subparsers(dest='command', required=True)
  folder = {
      'help': 'folder of the known models\' files (default: '
              '$VITON_JAX_MODELS, or ~/.cache/viton_jax/models)'
  }
  listing = commands.add_parser(
      'list', help='show the known models and which files are found',
      description='Shows the known models and which files are found.',
  )
  listing.add_argument('--models_dir', **folder)
  finding = commands.add_parser(
      'pose', help='find the joints of the people in a photo',
      formatter_class=form,
      description='Finds the joints of the people in a photo; the largest '
                  'person comes first.\n\nexample:\n'
                  '  python -m viton_jax.perception pose --image me.jpg \\\n'
                  '      --model graph_opt.pb --out keypoints.json',
  )
  add = finding.add_argument
  add('--image', required=True, help='JPEG or PNG photo')
  add('--model', help='model file, or the name of a known model (default: '
      f'{specs.DEFAULT_POSE})')
  add('--models_dir', **folder)
  add('--out', required=True, help='JSON file to write')
  add('--show', help='PNG file to write: the photo with skeletons')
  return parser.parse_args()


def list_models(arguments: argparse.Namespace) -> None:
  folder = specs.models_folder(arguments.models_dir)
  print(f'models folder: {folder}')
  found = 0
  for spec in specs.known_specs().values():
    state = specs.status(spec, folder)
    found += state != 'missing'
    print(
        f'\n{spec.name}: {state}\n'
        f'  task     {spec.task} ({spec.backend})\n'
        f'  about    {spec.summary}\n'
        f'  place    {folder / spec.file}\n'
        f'  size     {spec.size} bytes, sha256 {spec.sha256}\n'
        f'  licence  {spec.licence}\n'
        f'  source   {spec.source}'
    )
  print(f'\n{found} of {len(specs.known_specs())} known models found')


def find_pose(arguments: argparse.Namespace) -> None:
  image = pose.read_photo(arguments.image)
  start = time.perf_counter()
  people = pose.estimate_pose(
      image, arguments.model, models_dir=arguments.models_dir
  )
  seconds = time.perf_counter() - start
  if not people:
    raise InputError(
        f'{arguments.image}: nobody was found in it; give a photo that shows '
        'one person upright and large, or key points from another program'
    )
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


def main() -> None:
  arguments = parse_arguments()
  if arguments.command == 'list':
    list_models(arguments)
  else:
    find_pose(arguments)


if __name__ == '__main__':
  errors.run(main)
