import pytest

from tests.camera import board
from tests.camera.board import BOTTOM, TOP
from tests.camera.fake_picamera2 import Sensor


@pytest.fixture
def bench():
    with board.installed() as connected:
        yield connected


@pytest.fixture
def opened(bench):
    """Builds, starts and closes sources."""
    sources = []

    def build(*sensors, **more):
        bench.connect(*(sensors or (Sensor(TOP), Sensor(BOTTOM))))
        source = board.source_of(**more)
        sources.append(source)
        source.start()
        return source

    yield build
    for source in sources:
        source.close()
