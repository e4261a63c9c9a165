"""The folder of a batch job: its shards, who works on them, what is done."""
