"""The manifests for Kubernetes: what their pods would do."""

import argparse

import entry_points
from entry_points import shell
import pytest
import yaml

from configs import stage1
from viton_jax.job_folders import shards
from viton_jax.runtime import cluster
from viton_jax.server import options, process
from viton_jax.server.settings import Settings

FOLDER = entry_points.ROOT / 'launch'


def manifests(name: str) -> list[dict]:
  text = (FOLDER / 'kubernetes' / name).read_text()
  return list(yaml.safe_load_all(text))


def job_of(name: str) -> tuple[dict, dict]:
  """The spec of a file's Job and its one container."""
  document = manifests(name)[-1]
  spec = document['spec']
  if document['kind'] == 'JobSet':
    assert document['apiVersion'] == 'jobset.x-k8s.io/v1alpha2'
    (replicated,) = spec['replicatedJobs']
    assert replicated['replicas'] == 1
    spec = replicated['template']['spec']
  else:
    assert document['apiVersion'] == 'batch/v1' and document['kind'] == 'Job'
  (container,) = spec['template']['spec']['containers']
  return spec, container


def variables_of(container) -> dict[str, str]:
  return {x['name']: x['value'] for x in container.get('env', [])}


NAMES = ['infer.yaml', 'train-job.yaml', 'train-jobset.yaml', 'train-tpu.yaml']


@pytest.mark.parametrize('name', NAMES)
def test_jobs_are_indexed_and_complete(name):
  spec, container = job_of(name)
  assert spec['completionMode'] == 'Indexed'
  assert spec['completions'] == spec['parallelism']
  pod = spec['template']['spec']
  assert pod['restartPolicy'] == 'Never'
  assert pod['terminationGracePeriodSeconds'] >= 120
  mounted = {x['name'] for x in container['volumeMounts']}
  assert mounted == {x['name'] for x in pod['volumes']}
  (image,) = {container['image']}
  assert image in ('viton-jax:cuda', 'viton-jax:tpu')
  for rule in spec.get('podFailurePolicy', {}).get('rules', []):
    if 'onExitCodes' in rule:
      assert rule['onExitCodes']['containerName'] == container['name']
  words = container['command'] + container['args']
  assert 'viton_jax.infer' in ' '.join(words) or 'viton_jax.train' in words
  for value in variables_of(container).values():
    assert isinstance(value, str)  # Kubernetes refuses numbers here.


def test_no_kubernetes_file_is_left_out():
  there = {x.name for x in (FOLDER / 'kubernetes').iterdir()}
  assert there == {*NAMES, 'serve.yaml'}


@pytest.mark.parametrize(
  'name, host',
  [
    ('train-job.yaml', 'viton-train-0.viton-train'),
    ('train-jobset.yaml', 'viton-train-hosts-0-0.viton-train'),
  ],
)
def test_pods_of_a_training_start_together(name, host):
  spec, container = job_of(name)
  variables = variables_of(container)
  for index in range(spec['completions']):
    plan = cluster.from_environment(
      variables
      | {'JOB_COMPLETION_INDEX': str(index), 'KUBERNETES_SERVICE_HOST': 'x'}
    )
    assert plan.process_id == index
    assert plan.num_processes == spec['completions']
    assert plan.coordinator.rpartition(':')[0] == host
    port = int(plan.coordinator.rpartition(':')[2])
    assert {'containerPort': port} in container['ports']


def test_service_of_the_plain_job_is_headless():
  service, job = manifests('train-job.yaml')
  assert service['spec']['clusterIP'] == 'None'
  assert service['spec']['publishNotReadyAddresses'] is True
  assert service['spec']['selector'] == {'job-name': job['metadata']['name']}
  subdomain = job['spec']['template']['spec']['subdomain']
  assert subdomain == service['metadata']['name']


def test_pods_of_an_inference_stay_alone_and_cover_all_shards():
  spec, container = job_of('infer.yaml')
  variables = variables_of(container) | {'KUBERNETES_SERVICE_HOST': 'x'}
  found = set()
  for index in range(spec['completions']):
    here = variables | {'JOB_COMPLETION_INDEX': str(index)}
    assert cluster.from_environment(here) is None
    words = shell(
      '-c', container['args'][0].replace('exec python', 'echo'), **here
    ).stdout.split()
    found.add(shards.parse(words[words.index('--shard') + 1]))
  assert len(found) == spec['completions'] == found.pop().count


def test_flags_of_the_manifests_exist():
  """Inference's; those of the training are fields of its config."""
  config = stage1.get_config('')
  for name in ('train-job.yaml', 'train-jobset.yaml', 'train-tpu.yaml'):
    for word in job_of(name)[1]['args']:
      flag = word.removeprefix('--').partition('=')[0]
      if flag.startswith('config.'):
        value = config
        for part in flag.split('.')[1:]:
          value = value[part]
      else:
        assert flag in ('config', 'workdir')
  accepted = entry_points.run('viton_jax.infer', '--help').stdout
  words = job_of('infer.yaml')[1]['args'][0].split()
  for word in words:
    assert not word.startswith('--') or f'{word} ' in accepted.replace(
      '\n', ' '
    )


def test_tpu_pods_ask_for_a_whole_slice():
  spec, container = job_of('train-tpu.yaml')
  pod = spec['template']['spec']
  topology = pod['nodeSelector']['cloud.google.com/gke-tpu-topology']
  x, y = map(int, topology.split('x'))
  chips = container['resources']['limits']['google.com/tpu']
  assert x * y == chips * spec['completions']
  assert not variables_of(container)


@pytest.fixture(scope='module')
def serving() -> dict[str, dict]:
  """The documents of serve.yaml by their kind."""
  return {x['kind']: x for x in manifests('serve.yaml')}


@pytest.fixture(scope='module')
def server(serving) -> tuple[dict, dict]:
  """The pod of the server, and its one container."""
  pod = serving['Deployment']['spec']['template']['spec']
  (container,) = pod['containers']
  return pod, container


def test_the_server_is_asked_where_it_answers(serving, server):
  _, container = server
  given = dict(x.removeprefix('--').split('=') for x in container['args'])
  assert container['ports'] == [
    {'name': 'http', 'containerPort': int(given['port'])}
  ]
  routes = {}
  for kind in ('startup', 'readiness', 'liveness'):
    get = container[f'{kind}Probe']['httpGet']
    assert get['port'] == 'http'
    routes[kind] = get['path']
  assert routes == {
    'startup': '/healthz/ready',
    'readiness': '/healthz/ready',
    'liveness': '/healthz/live',
  }
  (port,) = serving['Service']['spec']['ports']
  assert port['targetPort'] == 'http'
  labels = serving['Deployment']['spec']['template']['metadata']['labels']
  for kind in ('Service', 'PodDisruptionBudget'):
    selector = serving[kind]['spec']['selector']
    assert selector.get('matchLabels', selector) == labels
  # Sessions are in one replica's memory, for as long as it keeps them.
  affinity = serving['Service']['spec']
  assert affinity['sessionAffinity'] == 'ClientIP'
  seconds = affinity['sessionAffinityConfig']['clientIP']['timeoutSeconds']
  assert seconds == Settings().session_ttl_s


def test_flags_of_the_server_exist_and_let_nobody_in_without_a_key(server):
  _, container = server
  parser = argparse.ArgumentParser()
  options.add_arguments(parser)
  given = parser.parse_args(container['args'])  # Else it ends the test.
  assert container['command'] == ['python', '-m', 'viton_jax.serve']
  assert given.api_keys and not given.no_auth
  mounts = [x['mountPath'] for x in container['volumeMounts']]
  for path in (given.api_keys, given.checkpoint, given.garments):
    assert any(str(path).startswith(f'{x}/') for x in mounts)
  for value in variables_of(container).values():
    assert any(value.startswith(x) for x in mounts)


def test_the_server_has_time_to_finish_and_few_rights(serving, server):
  pod, container = server
  _, seconds = container['lifecycle']['preStop']['exec']['command']
  drain = process.DRAIN_S
  assert pod['terminationGracePeriodSeconds'] > int(seconds) + drain
  dockerfile = (FOLDER / 'docker/Dockerfile').read_text()
  user = pod['securityContext']
  assert user['runAsNonRoot'] and f'--uid {user["runAsUser"]} ' in dockerfile
  assert container['securityContext'] == {
    'allowPrivilegeEscalation': False,
    'readOnlyRootFilesystem': True,
    'capabilities': {'drop': ['ALL']},
  }
  assert {x['name'] for x in container['volumeMounts']} == {
    x['name'] for x in pod['volumes']
  }
  assert {'cpu', 'memory'} <= set(container['resources']['requests'])
  scaler = serving['HorizontalPodAutoscaler']['spec']
  deployment = serving['Deployment']
  assert scaler['scaleTargetRef'] == {
    'apiVersion': deployment['apiVersion'],
    'kind': deployment['kind'],
    'name': deployment['metadata']['name'],
  }
  assert scaler['minReplicas'] == deployment['spec']['replicas'] > 1
