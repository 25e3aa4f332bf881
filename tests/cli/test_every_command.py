"""Tests all commands of all programs, also future ones: wrong arguments that each must refuse, and failing streams."""

import fcntl
import io
import json
import os
import socket
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import click
import pytest

from pitcore.cli.errors import run_command
from pitcore.cli.parameters import InputPath, Number, OutputFile, OutputFolder, Text
from tests.cli.every_command import module_of
from tests.cli.forks import PROGRAMS

PATHS = (InputPath, OutputFile, OutputFolder)
KNOWN = (*PATHS, Number, Text, click.IntRange, click.Choice, click.types.BoolParamType)
READ_ONLY = "/sys/pitcore-test"  # even root cannot make a file there
LONG = {"peers", "denormals"}  # they measure, and read nothing that could be missing
LONG_OPTIONS = {"rejects"}  # so does this
FAILS_WITH_1 = {"doctor"}  # as its help says


def programs():
    """Each installed program and its click command."""
    for program, (_, name) in PROGRAMS.items():
        try:
            yield program, getattr(module_of(program), name)
        except ModuleNotFoundError as error:  # the tools and the updates are extras
            if error.name.startswith("pitcore"):
                raise


def walk(command, before):
    """Each command below one, itself included, with what is written before its own parameters."""
    yield command, before
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            yield from walk(below, [*before, *filled(command, only_required=True), name])


def value_of(kind):
    """A value that a type takes; an input is not there, so that nothing runs for long."""
    match kind:
        case click.Choice():
            return str(next(iter(kind.choices)))
        case click.IntRange() | Number():
            return str(kind.min + bool(kind.min_open) * 0.1 if isinstance(kind, Number) else kind.min)
        case InputPath():
            return "missing"
        case OutputFile():
            return "made.png"
        case OutputFolder():
            return "made"
        case _:
            return "x"


def types_of(parameter):
    """Type of each value of a parameter."""
    return parameter.type.types if isinstance(parameter.type, click.Tuple) else [parameter.type]


def written(parameter, *values):
    """A parameter with its values on a command line."""
    return [max(parameter.opts, key=len), *values] if isinstance(parameter, click.Option) else list(values)


def filled(command, *, only_required=False):
    """Arguments that fill the parameters of a command; flags stay off."""
    words = []
    for parameter in command.params:
        is_flag = getattr(parameter, "is_flag", False)
        if not is_flag and parameter.name not in LONG_OPTIONS and (parameter.required or not only_required):
            words += written(parameter, *map(value_of, types_of(parameter)))
    return words


COMMANDS = [
    (program, command, before) for program, root in programs() for command, before in walk(root, []) if command.name
]
ROOTS = dict(programs())
PARAMETERS = [
    pytest.param((program, before, parameter, index), id=f"{program}-{'-'.join([*before, parameter.name])}-{index}")
    for program, command, before in COMMANDS
    for parameter in command.params
    for index, _ in enumerate(types_of(parameter))
    if not getattr(parameter, "is_flag", False)
]


def parameters(*kinds):
    """Those of these types, for ``parametrize``."""
    found = []
    for one in PARAMETERS:
        _, _, parameter, index = one.values[0]
        if isinstance(types_of(parameter)[index], kinds):
            found.append(one)
    return pytest.mark.parametrize("place", found)


class RanTooFarError(BaseException):
    """The command was not refused."""


def refusal(place, value, *others):
    """Give a parameter a value, and return the one line that refuses it."""
    program, before, parameter, index = place
    values = [value_of(kind) for kind in types_of(parameter)]
    values[index] = value
    arguments = [*before, *others, *written(parameter, *values)]
    out, err = io.StringIO(), io.StringIO()
    with (
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "argv", [program, *arguments])
        patch.setattr(click.Command, "invoke", _only_groups(click.Command.invoke))
        run_command(ROOTS[program])
    assert ended.value.code == 2, err.getvalue()
    assert out.getvalue() == ""
    line = err.getvalue().rstrip("\n").rpartition("\n")[2]
    assert err.getvalue().count("\n") == (1 if line.startswith(f"{program}: ") else 4), err.getvalue()
    return line


def _only_groups(invoke):
    """A group continues with its command; a command that begins its work was not refused."""

    def only_groups(self, context):
        if not isinstance(self, click.Group):
            raise RanTooFarError(context.command_path)
        return invoke(self, context)

    return only_groups


@pytest.mark.parametrize("place", PARAMETERS)
def test_every_parameter_has_a_type_that_refuses_what_is_empty_or_not_finite(place):
    _, _, parameter, index = place
    assert isinstance(types_of(parameter)[index], KNOWN), "take a type of pitcore/cli/parameters.py"


@parameters(*PATHS, Text, Number, click.IntRange, click.Choice)
def test_an_empty_value_is_refused(place):
    refusal(place, "")


@parameters(Number)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_a_number_that_is_not_finite_is_refused(place, value):
    assert "is not a finite number" in refusal(place, value)


@parameters(OutputFile)
@pytest.mark.parametrize("kind", ["character device", "named pipe", "socket"])
def test_an_output_that_is_no_regular_file_is_refused_and_unchanged(place, tmp_path, kind):
    output = tmp_path / "output"
    if kind == "named pipe":
        os.mkfifo(output)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(output))
    else:
        output.symlink_to("/dev/null")
    before = output.stat().st_ino
    assert f"{output}: cannot be written: it is a {kind}" in refusal(place, str(output))
    assert output.stat().st_ino == before


@parameters(OutputFile, OutputFolder)
def test_a_place_that_cannot_be_written_is_refused_at_once(place):
    assert f"{READ_ONLY}: cannot be written: " in refusal(place, READ_ONLY)


@parameters(OutputFile, OutputFolder)
def test_an_output_of_the_wrong_shape_is_refused(place, tmp_path):
    is_file = isinstance(types_of(place[2])[place[3]], OutputFile)
    output = tmp_path / "output"
    output.mkdir() if is_file else output.touch()
    assert ("Is a directory" if is_file else "is a file") in refusal(place, str(output))


def inputs_beside(place):
    """Each input of the command that an output belongs to."""
    _, before, output, index = place
    kind = types_of(output)[index]
    command = next(one for program, one, words in COMMANDS if (program, words) == (place[0], before))
    return [] if kind.is_shared else [one for one in command.params if isinstance(one.type, InputPath)]


@parameters(OutputFile, OutputFolder)
@pytest.mark.parametrize("link", ["the same name", "symbolic", "hard"])
def test_an_output_that_is_an_input_is_refused_and_the_input_stays(place, tmp_path, link):
    kind = types_of(place[2])[place[3]]
    given, output = tmp_path / "given", tmp_path / "output"
    for number, beside in enumerate(inputs_beside(place)):
        is_folder = isinstance(kind, OutputFolder) or not beside.type.file_okay
        given.mkdir(exist_ok=True) if is_folder else given.write_bytes(b"")
        if link == "symbolic" and not number:
            output.symlink_to(given)
        elif link == "hard" and not number:
            if is_folder:
                pytest.skip("a folder has no hard links")
            os.link(given, output)
        elif link == "the same name":
            output = given
        if isinstance(kind, OutputFile) and is_folder:
            continue  # a folder where a file is wanted is refused anyway
        said = refusal(place, str(output), *written(beside, str(given)))
        assert "would overwrite" in said or "is there already" in said, said
        assert given.exists()


def _stream_cases():
    for program, command, before in COMMANDS:
        for streams in ("full", "all full", "closed"):
            if streams == "full" or not before:  # every command prints its help by the same code
                yield {"program": program, "arguments": [*before, "--help"], "streams": streams}
            if not isinstance(command, click.Group) and command.name not in LONG:
                yield {"program": program, "arguments": [*before, *filled(command)], "streams": streams}


STREAM_CASES = list(_stream_cases())


@pytest.fixture(scope="module")
def stream_results(tmp_path_factory):
    """Return the result of each case; the processes of pytest-xdist share one run."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "streams"
    place.mkdir(exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "results.json").exists():
            run_stream_cases(place)
    return json.loads((place / "results.json").read_text())


def run_stream_cases(place):
    (place / "cases.json").write_text(json.dumps(STREAM_CASES))
    command = [sys.executable, "-m", "tests.cli.every_command", place / "cases.json", place, place / "results.json"]
    subprocess.run(command, check=True)


@pytest.mark.parametrize(
    "number",
    range(len(STREAM_CASES)),
    ids=lambda number: "-".join(
        [STREAM_CASES[number]["program"], *STREAM_CASES[number]["arguments"][:3], STREAM_CASES[number]["streams"]]
    ),
)
def test_failing_streams_cause_no_traceback(stream_results, number):
    case, result = STREAM_CASES[number], stream_results[number]
    is_help = "--help" in case["arguments"]
    fails_with_1 = FAILS_WITH_1 & {case["program"], *case["arguments"]}
    run = {0, 1, 2, 3} if fails_with_1 else {0, 2, 3}
    told = {0} if case["streams"] == "closed" else {2}
    expected = told if is_help else run
    assert result["code"] in expected, result
    assert "Traceback" not in result["err"]
    assert "Exception ignored" not in result["err"]
    if is_help and case["streams"] == "full":
        assert (
            result["err"]
            == f"{case['program']}: standard output: No space left on device; send it to a place with room\n"
        )
