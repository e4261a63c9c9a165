"""Prepared data on disk: records, packed files, records of the original."""
