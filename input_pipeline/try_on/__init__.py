"""The TFDS data set `try_on`; see `try_on_dataset_builder`."""
