"""Runs model files: TensorFlow frozen graphs in JAX, ONNX in onnxruntime."""
