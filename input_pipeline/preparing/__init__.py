"""The work of `input_pipeline.prepare`: parts, their gathering, Beam."""
