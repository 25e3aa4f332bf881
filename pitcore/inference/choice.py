"""Which model a configuration means, and the best of them that works on this machine.

A configuration names one bundle, or the store of `pitcore update`, or neither: then it is the model that came with
pitcore. What lies in the store and in which order it may be tried, ``pitcore.ota.slots`` knows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from pitcore.config import Config, operating_point
from pitcore.errors import BundleError, ConfigError, UnreadableBundleError
from pitcore.inference.session import Session
from pitcore.model_card import DEFAULT_BUNDLE, Bundle, load_bundle
from pitcore.ota.slots import Candidate, give_up, installed_models, models_to_load

log = logging.getLogger(__name__)


def open_bundle(config: Config) -> Bundle:
    """Load the model that the configuration names, for commands other than the service; check that it fits the frame.

    Raises:
        BundleError, CardError: it is missing, altered or invalid, or wants other planes.
    """
    bundle = next(_candidates(config)).bundle
    check_planes(bundle, config.frame.planes)
    return bundle


def open_session(
    config: Config, *, service: bool, running_sha256: str | None = None, workers: int | None = None
) -> Session:
    """Load the best model that fits the configuration and works on this machine.

    Where the models are those of `pitcore update`, one that does not work is passed over and the log says so: a model
    on trial is rolled back, and the last resort is the model that came with pitcore.

    Args:
        config: of the board.
        service: a model on trial may be loaded; its attempt is taken off on disk before.
        running_sha256: the model that runs now, on a reload.
        workers: cores that judge, instead of the configuration's.

    Raises:
        BundleError, CardError, ConfigError: none does.
    """
    runtime = config.runtime
    for candidate in _candidates(config, service=service, running_sha256=running_sha256):
        try:
            check_planes(candidate.bundle, config.frame.planes)
            operating_point(candidate.bundle.card, config.decision)
            return Session(
                candidate.bundle,
                capacity=runtime.max_cherries,
                threads=runtime.threads,
                sub_batch=runtime.sub_batch,
                workers=workers or runtime.workers,
            )
        except (BundleError, ConfigError) as error:
            is_last = candidate.role == "bundled"
            if is_last or config.model.store is None or (isinstance(error, ConfigError) and candidate.role != "trial"):
                raise  # a configuration that does not fit what was committed is for the technician to fix
            log.error("the %s model does not work here: %s", candidate.role, error)  # noqa: TRY400  no traceback for users
            if not isinstance(error, UnreadableBundleError):  # else its attempts are the limit
                give_up(Path(config.model.store), candidate, str(error))
    raise AssertionError("the last candidate is loaded or raises")


def _candidates(config: Config, *, service: bool = False, running_sha256: str | None = None) -> Iterator[Candidate]:
    """Yield the models a configuration allows, the best first."""
    model = config.model
    if model.store is not None:
        root = Path(model.store)
        yield from models_to_load(root, running_sha256) if service else installed_models(root)
    else:
        yield Candidate(load_bundle(DEFAULT_BUNDLE if model.bundle is None else Path(model.bundle)), "bundled")


def check_planes(bundle: Bundle, planes: Sequence[str]) -> None:
    """Compare what the model wants with what the cameras give. Raises BundleError."""
    if bundle.card.planes != list(planes):
        raise BundleError(
            f"{bundle.directory}: the model wants planes {', '.join(bundle.card.planes)}, but [frame] planes are "
            f"{', '.join(planes)}; use a model for these cameras, or correct [frame]"
        )
