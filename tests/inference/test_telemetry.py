"""ONNX Runtime's Linux builds give the machine an id and send events to their maker, unless this is switched off."""

import os

from tests.interpreter import run_script

SESSION = """
from pitcore.config import Config
from pitcore.loop.app import open_session

open_session(Config(), service=False)
"""


def files_made(home, code):
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("XDG_CACHE_HOME", None)
    run_script(code, env=environment)
    return sorted(path.name for path in home.rglob("*") if path.is_file())


def test_onnx_runtime_creates_no_device_id_and_no_telemetry_queue(tmp_path):
    assert files_made(tmp_path, SESSION) == []
