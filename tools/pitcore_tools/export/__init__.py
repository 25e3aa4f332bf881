"""Exports a trained network as an ONNX graph with folded batch norms."""
