"""ONNX Runtime's Linux builds name the machine and send events to their maker, unless told not to."""

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


def test_a_board_never_gets_a_device_id_nor_a_queue_of_events_to_send(tmp_path):
    assert files_made(tmp_path, SESSION) == []
