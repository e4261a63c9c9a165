"""Batch inference: job folder, shards, pipeline, writers, report."""
