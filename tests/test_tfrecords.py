"""Our TFRecords, read by TensorFlow; CRC-32C against published values."""

import numpy as np
import pytest

from viton_jax.io import tfrecords


@pytest.mark.parametrize(
  'data, checksum',
  [
    (b'123456789', 0xE3069283),  # The check value of the CRC catalogue.
    # RFC 3720, appendix B.4.
    (bytes(32), 0x8A9136AA),
    (b'\xff' * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
  ],
)
def test_published_checksums_masked(data, checksum):
  rotated = int(f'{checksum:032b}'[-15:] + f'{checksum:032b}'[:-15], 2)
  expected = (rotated + 0xA282EAD8) % 2**32
  assert tfrecords.masked_crc32c(data) == expected


def test_tensorflow_reads_what_we_write(tmp_path):
  import tensorflow as tf

  points = np.linspace(-1, 1, 200, dtype=np.float32)
  rows = [
    {'name': 'größe', 'data': b'\x00\xff' * n, 'n': n, 'points': points}
    for n in (0, 1, 63, 100, 70_000)
  ]
  path = tmp_path / 'a.tfrecord'
  payloads = [tfrecords.encode_example(row) for row in rows]
  path.write_bytes(b''.join(map(tfrecords.frame, payloads)))
  # The dataset checks both checksums of every record.
  read = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
  assert read == payloads
  for row, payload in zip(rows, read, strict=True):
    features = tf.train.Example.FromString(payload).features.feature
    assert sorted(features) == sorted(row)
    assert features['name'].bytes_list.value[0].decode() == row['name']
    assert features['data'].bytes_list.value[0] == row['data']
    assert list(features['n'].int64_list.value) == [row['n']]
    np.testing.assert_array_equal(features['points'].float_list.value, points)
  negative = tf.train.Example.FromString(tfrecords.encode_example({'n': -5}))
  assert negative.features.feature['n'].int64_list.value[0] == -5
