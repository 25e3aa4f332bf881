import contextlib
import errno
import os
import socket

import pytest

from pitcore.actuation import arming
from pitcore.calibration import store
from pitcore.config import BoardCalibration
from pitcore.control import point, server
from pitcore.durable import replace_file
from pitcore.errors import OutputError, PitcoreError
from pitcore.metrics import Metrics
from pitcore.output_path import PNG, VERDICT_FILE, Kind, fix_of, is_same, line_of, listening_fix, try_file, try_folder
from pitcore.page import roles
from pitcore.sinks import jsonl

JSON = Kind("a report", (b'{"schema"',))
STRANGER = 12345


@pytest.fixture
def shared(tmp_path):
    """A folder as ``/tmp``, into which a stranger has put a link to a file of ours."""
    if os.geteuid():
        pytest.skip("only root can make another user's link")
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    (tmp_path / "mine").write_text("mine")
    (folder / "link").symlink_to(tmp_path / "mine")
    os.lchown(folder / "link", STRANGER, STRANGER)
    (folder / "way").symlink_to(tmp_path)
    os.lchown(folder / "way", STRANGER, STRANGER)
    return folder


@pytest.mark.parametrize("name", ["link", "way/mine", "way/new", "../shared/way/mine"])
def test_a_link_of_another_user_is_never_followed(shared, name):
    with pytest.raises(OutputError, match=f"is a symbolic link of another user \\(uid {STRANGER}\\)"):
        try_file(shared / name)
    with pytest.raises(OSError, match="symbolic link of another user"):
        replace_file(shared / name, lambda file: file.write(b"theirs"))
    assert (shared.parent / "mine").read_text() == "mine"
    assert not (shared.parent / "new").exists()


def test_a_folder_behind_a_link_of_another_user_is_refused(shared):
    with pytest.raises(OutputError, match="symbolic link of another user"):
        try_folder(shared / "way" / "out")


def test_an_own_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    replace_file(tmp_path / "link", lambda file: file.write(b"new"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_links_in_a_circle_end_with_a_reason(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OutputError, match="Too many levels of symbolic links"):
        try_file(tmp_path / "a")


def test_a_device_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a named pipe"):
        replace_file(tmp_path / "pipe", lambda file: file.write(b"x"))
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(
    ("kind", "content", "fits"),
    [
        (JSON, b'{"schema": 1}', True),
        (JSON, b"", True),
        (JSON, b'{"sch', True),
        (JSON, b"[sink]\n", False),
        (PNG, b"\x89PNG\r\n\x1a\nmore", True),
        (PNG, b'{"schema": 1}', False),
        (VERDICT_FILE, b'{"schema":"pitcore.event/1"}\n', True),
        (VERDICT_FILE, bytes(4096), True),
        (VERDICT_FILE, b'{"seq":1,"t_ns":2}\n', False),
        (None, b"anything", True),
    ],
)
def test_a_file_of_another_kind_is_refused_and_stays(tmp_path, kind, content, fits):
    path = tmp_path / "file"
    path.write_bytes(content)
    if fits:
        try_file(path, kind)
    else:
        with pytest.raises(OutputError, match="is there already and is not"):
            try_file(path, kind)
    assert path.read_bytes() == content


def test_a_try_leaves_nothing_behind(tmp_path):
    try_file(tmp_path / "file")
    try_file(tmp_path / "new" / "er" / "file", makes_folders=True)
    try_folder(tmp_path / "folder" / "in" / "folders")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_made_must_be_there(tmp_path):
    with pytest.raises(OutputError, match="No such file or directory; name a place that is there"):
        try_file(tmp_path / "new" / "file")


def test_a_file_that_must_be_new_is_not(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is there already"):
        try_file(tmp_path / "file", is_new=True)


def test_a_full_disk_shows_before_the_work(small_disk):
    with contextlib.suppress(OSError):
        (small_disk / "ballast").write_bytes(bytes(1 << 20))
    with pytest.raises(OutputError, match="No space left on device; free some space"):
        try_file(small_disk / "file")
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


def test_names_of_one_file_are_the_same(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    os.link(tmp_path / "file", tmp_path / "hard")
    (tmp_path / "other").touch()
    assert is_same(tmp_path / "file", tmp_path / "link")
    assert is_same(tmp_path / "hard", tmp_path / "link")
    assert is_same(tmp_path / "new", tmp_path / "." / "new")
    assert not is_same(tmp_path / "file", tmp_path / "other")
    assert not is_same(tmp_path / "file", tmp_path / "new")


def test_an_unexpected_error_is_a_line_with_its_path():
    assert line_of(PermissionError(13, "Permission denied", "/a")) == (
        "/a: Permission denied; name a place that this user may use"
    )
    assert line_of(OSError(28, "No space left on device")).startswith("standard output: No space left")
    assert line_of(OSError(9, "Bad file descriptor")) is None


def test_the_temporary_name_is_not_shown(tmp_path):
    with pytest.raises(OSError, match="No such file") as seen:
        replace_file(tmp_path / "no" / "file", lambda _: None)
    assert seen.value.filename == str(tmp_path / "no" / "file")


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EIO, "check the disk"),
        (errno.EACCES, "choose another [page] port"),
        (errno.EADDRINUSE, "choose another [page] port"),
        (errno.EADDRNOTAVAIL, "correct [page] bind: an address of this machine, or a name of one"),
        (errno.EMFILE, "raise the limit of open files (`ulimit -n`)"),
    ],
)
def test_the_fix_of_an_address_is_that_of_the_fault(number, fix):
    assert listening_fix(OSError(number, ""), "page") == fix


def test_a_name_that_is_unknown_is_a_fault_of_bind():
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert listening_fix(error, "page").startswith("correct [page] bind")


@contextlib.contextmanager
def failing(monkeypatch, number):
    """Let every write to a state fail."""

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        for module in (roles, arming, point, store):
            patch.setattr(module, "replace_file", fail)
        patch.setattr(server.os, "ftruncate", fail)
        patch.setattr(jsonl, "_open_whole", fail)
        yield


MEASURED = BoardCalibration(schema="pitcore.calibration/1", height_px=240, width_px=320, planes={})
WRITERS = {
    "tokens": (lambda path: roles.add_token(path / "f", "viewer", "anna"), "run this as the user of the service"),
    "arming": (lambda path: arming.Arming(path / "f", "valves").arm("anna"), "fix the disk or [control] state_dir"),
    "point": (lambda path: point.choose(path, "strict", "anna"), "correct [control] state_dir"),
    "calibration": (lambda path: store.save(path / "f", MEASURED), "correct [calibration] file"),
    "socket": (lambda path: server.ControlServer(path / "f"), "choose another [control] socket"),
    "sink": (
        lambda path: jsonl.JsonlSink(path / "f", rotate_bytes=1 << 20, keep=1, metrics=Metrics()),
        "choose another [sink] path",
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_not_taken_for_a_wrong_place(tmp_path, monkeypatch, name):
    write, place = WRITERS[name]
    for number, fix in ((errno.ENOSPC, "free some space"), (errno.EACCES, place)):
        with failing(monkeypatch, number), pytest.raises(PitcoreError) as seen:
            write(tmp_path)
        assert str(seen.value).endswith(f"; {fix}")
    assert fix_of(OSError(errno.EROFS, ""), place) != place
