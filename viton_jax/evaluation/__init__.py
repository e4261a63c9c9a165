"""Evaluation: named protocols, pairs, shards, intervals, comparison, report."""
