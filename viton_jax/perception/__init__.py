"""Perception: what try-on must know of a photo, from pretrained networks.

  people = viton_jax.perception.find_people('me.jpg')
  labels = viton_jax.perception.parse_person('me.jpg', people[0].keypoints)

See docs/perception.md, and `python -m viton_jax.perception list`.
"""

from viton_jax.perception.parsing.parsers import choose_parser, parse_person
from viton_jax.perception.pose.estimation import (
  choose_pose,
  estimate_pose,
  find_people,
  read_photo,
)
from viton_jax.perception.pose.estimator import Person
from viton_jax.perception.pose.graph_pose import load_pose_model
from viton_jax.perception.pose.keypoints import (
  draw_people,
  openpose_json,
  write_openpose_json,
)

__all__ = [
  'Person',
  'choose_parser',
  'choose_pose',
  'draw_people',
  'estimate_pose',
  'find_people',
  'load_pose_model',
  'openpose_json',
  'parse_person',
  'read_photo',
  'write_openpose_json',
]
