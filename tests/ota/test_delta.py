import bz2
import io
import random
import struct
from contextlib import suppress

import bsdiff4
import pytest
import zstandard

from pitcore.errors import Refusal, UpdateError
from pitcore.ota import delta

LENGTH = 3 * delta.CHUNK + 17  # more than one piece, and no whole number of them


def versions():
    """Two archives as alike as a model and its retrained last layer."""
    draw = random.Random(5)  # noqa: S311  data for a test
    old = draw.randbytes(LENGTH - 1000)
    new = bytearray(old[:50_000] + draw.randbytes(1000) + old[50_000:])
    for _ in range(500):
        new[draw.randrange(LENGTH)] ^= 1
    return old, bytes(new)


def zstd_patch(old, new):
    base = zstandard.ZstdCompressionDict(old, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    parameters = zstandard.ZstdCompressionParameters.from_level(9, window_log=23, enable_ldm=True)
    return zstandard.ZstdCompressor(dict_data=base, compression_params=parameters).compress(new)


MAKE = {"zstd": zstd_patch, "bsdiff4": bsdiff4.diff}


@pytest.fixture
def applied(tmp_path):
    def run(method, old, patch, length):
        (tmp_path / "base").write_bytes(old)
        (tmp_path / "patch").write_bytes(patch)
        out = io.BytesIO()
        try:
            delta.apply(method, tmp_path / "base", tmp_path / "patch", out, length)
        finally:
            assert len(out.getvalue()) <= length
        return out.getvalue()

    return run


@pytest.mark.parametrize("method", MAKE)
def test_a_patch_makes_the_new_archive_to_the_bit(applied, method):
    old, new = versions()
    patch = MAKE[method](old, new)
    assert len(patch) < len(new) / 10
    assert applied(method, old, patch, len(new)) == new


def test_patches_of_unrelated_and_of_equal_files_can_be_applied(applied):
    for old, new in ((b"a" * 5000, bytes(range(256)) * 9), (b"abc", b"abc" * 3)):
        assert applied("bsdiff4", old, bsdiff4.diff(old, new), len(new)) == new


@pytest.mark.parametrize("method", MAKE)
def test_a_patch_bomb_stops_at_the_signed_length(applied, method):
    old = b"x" * 1000
    patch = MAKE[method](old, bytes(64 * 2**20))
    assert len(patch) < 100_000
    with pytest.raises(UpdateError) as refused:
        applied(method, old, patch, 5000)
    assert refused.value.refusal is Refusal.PATCH_BOMB


def bsdiff_of(controls, difference, extra, promised):
    packed = [bz2.compress(part) for part in (controls, difference, extra)]
    return b"BSDIFF40" + struct.pack("<qqq", len(packed[0]), len(packed[1]), promised) + b"".join(packed)


def step(add, copy, seek):
    return struct.pack("<QQQ", *(value if value >= 0 else -value | 1 << 63 for value in (add, copy, seek)))


BAD_BSDIFF = {
    "a step behind the end of the base": bsdiff_of(step(20, 0, 0), bytes(20), b"", 20),
    "a step before its beginning": bsdiff_of(step(1, 0, -5) + step(1, 0, 0), bytes(2), b"", 2),
    "a negative count": bsdiff_of(step(-1, 5, 0), b"", bytes(5), 5),
    "a negative length": b"BSDIFF40" + struct.pack("<qqq", -1, 2, 3),
    "steps without end": bsdiff_of(step(0, 0, 0) * 100_000, b"", b"", 10),
    "less than it promises": bsdiff_of(step(0, 3, 0), b"", bytes(3), 10),
    "fewer bytes than signed": bsdiff_of(step(0, 9, 0), b"", bytes(9), 9),
    "another format": b"PK\3\4" + bytes(100),
    "no bytes at all": b"",
}


@pytest.mark.parametrize("name", BAD_BSDIFF)
def test_a_patch_with_false_lengths_is_refused(applied, name):
    with pytest.raises(UpdateError) as refused:
        applied("bsdiff4", b"0123456789", BAD_BSDIFF[name], 10)
    assert refused.value.refusal in {Refusal.CORRUPT_PATCH, Refusal.PATCH_BOMB}


def test_a_step_that_adds_more_than_was_signed_is_a_patch_bomb(applied):
    patch = bsdiff_of(step(8, 0, 0), bytes(8), b"", 5)
    with pytest.raises(UpdateError) as refused:
        applied("bsdiff4", b"0123456789", patch, 5)
    assert refused.value.refusal is Refusal.PATCH_BOMB


class FullDisk(io.RawIOBase):
    def writable(self):
        return True

    def write(self, content):
        raise UpdateError(Refusal.NO_SPACE, f"no room for {len(content)} bytes")


@pytest.mark.parametrize("method", MAKE)
def test_a_disk_that_fills_up_while_a_patch_is_applied_is_reported(tmp_path, method):
    old, new = versions()
    (tmp_path / "base").write_bytes(old)
    (tmp_path / "patch").write_bytes(MAKE[method](old, new))
    with pytest.raises(UpdateError) as refused:
        delta.apply(method, tmp_path / "base", tmp_path / "patch", FullDisk(), len(new))
    assert refused.value.refusal is Refusal.NO_SPACE


@pytest.mark.parametrize("method", MAKE)
def test_damaged_and_truncated_patches_are_refused(applied, method):
    old, new = versions()
    patch = MAKE[method](old, new)
    draw = random.Random(7)  # noqa: S311  data for a test
    for _ in range(30):
        rotten = bytearray(patch)
        rotten[draw.randrange(len(patch))] ^= 1 << draw.randrange(8)
        for bad in (bytes(rotten), patch[: draw.randrange(len(patch))]):
            with suppress(UpdateError):  # any other error fails the test; without one, the caller's hash decides
                assert len(applied(method, old, bad, len(new))) == len(new)


def test_an_unknown_method_is_refused(applied):
    with pytest.raises(UpdateError, match="unknown"):
        applied("xdelta", b"a", b"b", 1)
