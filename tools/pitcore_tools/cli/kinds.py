"""Kinds of files that the tools write, so that no file of another kind is overwritten."""

from __future__ import annotations

from pitcore.output_path import PNG, Kind
from pitcore_tools.evaluate.logits import COLUMNS

LOGITS_FILE = Kind("a table of logits", (",".join(COLUMNS).encode(),))
GRAPH = Kind("an ONNX graph", (b"\x08",))  # its first field is the version, a number
NET = Kind("an ONNX graph or a checkpoint", (*GRAPH.beginnings, b"PK\x03\x04", b"\x80"))  # torch: a ZIP, or a pickle
PLOT = Kind("a plot", (*PNG.beginnings, b"<?xml", b"%PDF", b"%!PS", b"\xff\xd8\xff", b"RIFF"))
