"""The network: a model bundle in ONNX Runtime."""
