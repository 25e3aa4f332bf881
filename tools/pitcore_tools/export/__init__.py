"""Export: from a trained network to an ONNX graph with nothing left to fold."""
