"""Keypoints of the people in a photo."""
