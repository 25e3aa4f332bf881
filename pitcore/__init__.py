"""pitcore: finds every cherry in a frame and says clean, maybe, pit or side.

Importing this package loads no native code and changes no processor mode. It does switch ONNX Runtime's telemetry off,
which by default names the machine and sends events to its maker: a board sends no data.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when ONNX Runtime is loaded, so before anything imports it

__version__ = "0.1.0"
