"""The plain configs against ml_collections': same files, same flags."""

import json

from absl import flags
import ml_collections
from ml_collections import config_flags
import pytest

from configs import defaults
from viton_jax.training import config_dict
from viton_jax.training.config_dict import PlainConfigDict, plain_config_file

# ml_collections reads config files in an old way.
pytestmark = pytest.mark.filterwarnings(
  'ignore:the load_module:DeprecationWarning'
)


def parse_plain(monkeypatch, *arguments):
  with monkeypatch.context() as patch:
    patch.setattr(defaults, 'ConfigDict', PlainConfigDict)
    values = flags.FlagValues()
    holder = plain_config_file('config', None, '', flag_values=values)
    rest = values(['program', *arguments])
    return holder.value, rest[1:]


def parse_theirs(*arguments):
  values = flags.FlagValues()
  argv = ['program', *arguments]
  holder = config_flags.DEFINE_config_file(
    'config', flag_values=values, sys_argv=argv
  )
  rest = values(argv)
  return holder.value, rest[1:]


@pytest.mark.parametrize(
  'arguments',
  [
    ('--config', 'configs/stage1.py'),
    ('--config=configs/stage2.py:smoke', '--config.seed', '7'),
    (
      *('--config', 'configs/demo.py:stage2', '--config.data.dir=/a b'),
      *('--config.loss.image', '2', '--config.remat'),
      *('--config.schedule_steps=(3, 5)', '--config.learning_rate=1e-3'),
      *('--config.ema=0', 'left', '--config.vgg=x=y'),
    ),
    ('--config=configs/stage1.py', '--config.remat=true'),
    ('--config=configs/stage1.py', '--noconfig.remat'),
  ],
)
def test_reads_what_ml_collections_reads(monkeypatch, arguments):
  ours, our_rest = parse_plain(monkeypatch, *arguments)
  theirs, their_rest = parse_theirs(*arguments)
  assert isinstance(ours, PlainConfigDict)
  assert isinstance(theirs, ml_collections.ConfigDict)
  assert json.loads(ours.to_json()) == json.loads(theirs.to_json())
  types = {k: type(v) for k, v in ours.to_dict().items()}
  assert types == {k: type(v) for k, v in theirs.to_dict().items()}
  assert our_rest == their_rest


@pytest.mark.parametrize(
  'argument',
  ['--config.learning_rat=1', '--config.seed=x', '--config.loss=3'],
)
def test_refuses_what_ml_collections_refuses(monkeypatch, argument):
  arguments = ('--config', 'configs/stage1.py', argument)
  with pytest.raises((flags.Error, AttributeError, ValueError, KeyError)):
    parse_theirs(*arguments)
  with pytest.raises(flags.Error, match=argument.split('=')[0].strip('-')):
    parse_plain(monkeypatch, *arguments)


@pytest.mark.parametrize('kind', [PlainConfigDict, ml_collections.ConfigDict])
def test_both_keep_types_and_names(kind):
  config = kind({'a': 1, 'b': {'c': 0.5}, 'd': 'x'})
  config.b.c = 2
  assert isinstance(config['b']['c'], float) and config.b.c == 2.0
  with pytest.raises(TypeError):
    config.a = 0.5
  with pytest.raises(TypeError):
    config.d = 3
  config.e = True
  assert config.lock() is config
  with pytest.raises(AttributeError, match='new'):
    config.new = 1
  with pytest.raises(AttributeError, match='new'):
    config.b.new = 1
  with pytest.raises(KeyError):
    config['new']
  config.a = 5
  assert dict(**config.b) == {'c': 2.0}
  assert config.to_dict() == {'a': 5, 'b': {'c': 2.0}, 'd': 'x', 'e': True}
  assert 'a' in config and 'z' not in config and config.get('z', 9) == 9
  assert sorted(config) == ['a', 'b', 'd', 'e']


def test_ml_collections_is_used_where_it_is():
  assert config_dict.ConfigDict is ml_collections.ConfigDict
