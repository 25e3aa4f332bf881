"""A service in this process: it chooses, loads and proves models as ``pitcore run`` does, and runs them at each look.

The whole service, in a process of its own and with a belt, is in tests/ota/test_board.py.
"""

from collections import Counter
from pathlib import Path

from pitcore.config import Config, ModelConfig, RuntimeConfig
from pitcore.decision.policy import judge_probability, probabilities
from pitcore.errors import ControlError, NotRunningError, PitcoreError
from pitcore.inference.choice import open_session
from pitcore.ota.gate import Gate, Health
from pitcore.ota.shares import Verdicts
from pitcore.ota.slots import refund

GATE = Gate(frames=4, cherries=0, timeout_s=60.0, max_infer_ms=0.0, poll_s=0.0)
LOOK_FRAMES = 3


class Line:
    """Implements ``Service``.

    Args:
        root: of the store.
        crops: (N, S, S, 2) that come along at each look; None is an empty belt.
    """

    def __init__(self, root: Path, crops=None):
        self.root, self.crops = root, crops
        self.config = Config(model=ModelConfig(store=str(root)), runtime=RuntimeConfig(max_cherries=4))
        self.session, self.frames, self.model_faults, self.machine_faults = None, 0, 0, 0
        self.verdicts = Counter()

    def start(self):
        self.session = open_session(self.config, service=True)
        self.frames, self.model_faults, self.machine_faults = 0, 0, 0
        self.verdicts.clear()
        return self

    def stop(self):
        """A clean stop."""
        refund(self.root, self.session.bundle.sha256)
        self.session = None

    def die(self):
        self.session = None

    @property
    def label(self):
        return self.session.bundle.label

    def reload(self):
        self._must_run()
        try:
            self.session = open_session(self.config, service=True, running_sha256=self.session.bundle.sha256)
            self.verdicts.clear()
        except PitcoreError as error:
            raise ControlError(str(error)) from error

    def health(self):
        self._must_run()
        for _ in range(LOOK_FRAMES):
            self.session.run(1)
        self.frames += LOOK_FRAMES
        self._judge()
        verdicts = Verdicts(**self.verdicts)
        faults = self.model_faults + self.machine_faults
        return Health(self.session.bundle.sha256, self.frames, self.model_faults, faults, None, verdicts, verdicts)

    def _judge(self):
        """Judge what comes along as the service does."""
        card = self.session.bundle.card
        for crop in () if self.crops is None else self.crops:
            self.session.batch[0] = crop
            shares = probabilities(self.session.run(1)[0].tolist(), card.labels, card.calibration)
            self.verdicts[judge_probability(shares["pit"], card.thresholds)[0]] += 1

    def lives(self):
        return self.session is not None

    def _must_run(self):
        if self.session is None:
            raise NotRunningError("no service runs here")
