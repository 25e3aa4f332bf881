"""Imports run one way: a stage that reaches sideways or upwards cannot be replaced or understood alone."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pitcore"

# Each layer may import itself and every layer before it; the stages of one layer never import one another.
CONTRACTS = {
    "child_process",
    "plain_text",
    "text_table",
    "wall_clock",
    "errors",
    "verdict",
    "frame",
    "model_card",
    "config",
    "metrics",
    "durable",
    "health",
    "output_path",
    "palette",
    "entry",  # which imports no program until it starts one
}
STAGES = {"camera", "preprocess", "inference", "decision", "belt", "actuation", "sinks", "ota"}
ON_STAGES = {"emulator", "machine", "calibration"}
WATCH = {"line_watch"}
LOOP = {"loop"}
SERVICES = {"control", "service", "doctor", "support", "bench", "outputs", "page", "capture", "shadow"}
COMMANDS = {"cli"}
LAYERS = [CONTRACTS, STAGES, ON_STAGES, WATCH, LOOP, SERVICES, COMMANDS]
# The C++ core is in preprocess. Code that runs a network needs its crops' memory and its flush-to-zero guard; the belt
# has its boxes matched there. Cameras stamp their frames with the belt's encoder, and the actuator fires by the belt's
# schedule.
ALLOWED_BETWEEN_STAGES = {
    ("inference", "preprocess"),
    ("inference", "ota"),
    ("belt", "preprocess"),
    ("camera", "belt"),
    ("actuation", "belt"),
    ("actuation", "preprocess"),
    ("actuation", "sinks"),
}


def imported(path: Path) -> set[str]:
    """Parts of pitcore that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            names |= {node.module} if node.module != "pitcore" else {f"pitcore.{alias.name}" for alias in node.names}
    return names


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_package_imports_only_lower_layers(path):
    part = part_of(path)
    level = next(number for number, layer in enumerate(LAYERS) if part in layer)
    for name in imported(path):
        if not name.startswith("pitcore."):
            continue
        other = name.split(".")[1].removesuffix("__version__") or part
        if other == part or (part, other) in ALLOWED_BETWEEN_STAGES:
            continue
        other_level = next(number for number, layer in enumerate(LAYERS) if other in layer)
        sideways = level == other_level and part in STAGES
        assert other_level <= level, f"{part} imports {other}, which lies above it"
        assert not sideways, f"stage {part} imports stage {other}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_the_board_never_imports_the_workstation(path):
    roots = {name.split(".")[0] for name in imported(path)}
    assert not roots & {"torch", "onnx", "sklearn", "matplotlib", "rich", "yaml", "pitcore_tools"}


def test_pybind11_stays_in_the_bindings():
    offenders = [
        path.name
        for path in (ROOT / "csrc").rglob("*")
        if path.suffix in {".h", ".cpp"} and "bindings" not in path.parts and "pybind11" in path.read_text()
    ]
    assert not offenders


def test_networks_are_opened_only_by_the_function_that_restores_the_callers_mode():
    mine = {
        ROOT / "pitcore" / "inference" / "session.py",
        ROOT / "pitcore" / "doctor" / "software.py",
    }  # under the guard
    sources = [*(ROOT / "pitcore").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]
    opening = {path for path in sources if "InferenceSession(" in path.read_text(encoding="utf-8")}
    assert opening == mine
