"""A small emulated belt on which something can be wrong, and the whole loop over it with the tiny bundle."""

from contextlib import contextmanager

from pitcore.calibration.survey import Survey
from pitcore.config import Config, DisturbanceConfig, EmulatedSourceConfig, FrameConfig, LineConfig, ModelConfig
from pitcore.emulator.emulated import EmulatedSource
from pitcore.emulator.spec import BeltSpec
from pitcore.loop.app import App, Options
from pitcore.loop.frame_reader import FrameReader
from pitcore.metrics import Metrics
from pitcore.sinks.memory import MemorySink

HEIGHT, WIDTH, ADVANCE = 240, 640, 120


def line_config(bundle, **sections):
    """A configuration of the small belt."""
    sections.setdefault("line", LineConfig(nothing_seen_s=3.0))
    return Config(
        model=ModelConfig(bundle=str(bundle)),
        frame=FrameConfig(height_px=HEIGHT, width_px=WIDTH),
        source=EmulatedSourceConfig(advance_px=ADVANCE, cherries_per_frame=6.0),
        **sections,
    )


def line_source(frames, disturbance=None, **spec):
    """The small belt itself; ``spec`` changes what it is like."""
    fields = {"height_px": HEIGHT, "width_px": WIDTH, "advance_px": ADVANCE, "cherries_per_frame": 6.0, "seed": 3}
    return EmulatedSource(BeltSpec(frames=frames, **(fields | spec)), disturbance=disturbance)


def wrong(**fields):
    """A disturbance."""
    return DisturbanceConfig(**fields)


def run_line(config, source):
    """Run the loop to the end of the belt; return the sink, the metrics and the app."""
    memory, metrics = MemorySink(), Metrics()
    app = App(config, source, Options(sinks=[memory], timings=False), metrics)
    app.run()
    return memory, metrics, app


@contextmanager
def survey_of(source, config):
    """A survey of a source, as ``pitcore calibrate`` opens it."""
    with FrameReader(source, config) as reader:
        yield Survey(source, reader.read, config, lambda: None)
