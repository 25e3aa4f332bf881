"""Each usual mistake in a file is reported with its place, its value and the right way to write it."""

from typing import get_type_hints

import pytest

from pitcore.config import Config, decode_config, load_actuation, load_config
from pitcore.config.messages import _classes_in, _metas_in
from pitcore.config.section import cannot_be_read
from pitcore.errors import ConfigError
from tests.config.test_cameras import CAMERA, PI, SECOND

SYNTAX = [
    ("px_per_tick = 0,5", "write px_per_tick = 0.5 (a decimal point), not 0,5"),
    ("px_per_tick = -0,5  # of the encoder", "write px_per_tick = -0.5"),
    ("px_per_tick = .5", "write px_per_tick = 0.5"),
    ("px_per_tick = 1.", "write px_per_tick = 1.0"),
    ("enabled = True", "write enabled = true, not True"),
    ("enabled = off", "write enabled = false, not off"),
    ("point = balanced", 'write point = "balanced" (text in quotes), not balanced'),
    ("start = 6:00", 'write start = "06:00"'),
    ("start = 06:00", 'write start = "06:00"'),
    ("exposure_us = 150us", "write exposure_us = 150 (no unit), not 150us"),
    ("port = 0502", "write port = 502"),
    ("port: 502", "write KEY = VALUE in one line"),
    ("port =", "give port a value, or remove the line"),
    ('path = "x', "close the quote or bracket that is open"),
    ("threshold = [14, 14", "close the quote or bracket that is open"),
    ('path = "C:\\x"', "write / or \\\\ in place of \\"),
    ("path = /var/log/x", "text in quotes"),
]
TYPES = [
    ('[[page.shifts]]\nname = "a"\nstart = "6:00"', "[page] shifts[0].start: ", 'write HH:MM, as "06:00", not "6:00"'),
    (PI + CAMERA + 'exposure_us = "150us"\n' + SECOND, "[source] cameras[0].exposure_us: ", "such as 150, not"),
    ('[belt]\npx_per_tick = "0,5"', "[belt] px_per_tick: ", "without quotes and unit, such as 0.5, not"),
    ("[frame]\nheight_px = 0.5", "[frame] height_px: ", "write a whole number without quotes, not 0.5"),
    ('[page]\nenabled = "yes"', "[page] enabled: ", 'write true or false without quotes, not "yes"'),
    ("[sink]\npath = 5", "[sink] path: ", "write text in quotes, not 5"),
    ('[frame]\nplanes = "top"', "[frame] planes: ", "write a list, as [FIRST, SECOND]"),
    ("[sink]\nkeep = 0", "[sink] keep: ", "write at least 1, not 0"),
    ('[mqtt]\nhost = ""', "[mqtt] host: ", 'write at least 1 characters, not ""'),
    ("sink = 5", "[sink]: ", "write a section, not 5"),
    (PI, "[source]: ", "give cameras"),
    (
        PI + "frames_per_s = 500.0\npair_within_us = 5000\n" + CAMERA + SECOND,
        "[source]: pair_within_us = 5000 ",
        "2000 us at frames_per_s = 500: pairs would not be unique; lower it to at most 1000",
    ),
]


@pytest.mark.parametrize(("line", "fix"), SYNTAX)
def test_a_line_that_is_not_toml_is_shown_as_it_must_be_written(line, fix):
    with pytest.raises(ConfigError) as caught:
        decode_config(f"[x]\n{line}\n", "board.toml")
    message = str(caught.value)
    assert message.startswith("board.toml: not valid TOML: ")
    assert fix in message
    assert "\n" not in message


@pytest.mark.parametrize(("text", "place", "fix"), TYPES)
def test_a_value_of_the_wrong_kind_is_reported_with_its_place_and_how_to_write_it(text, place, fix):
    with pytest.raises(ConfigError) as caught:
        decode_config(text, "board.toml")
    message = str(caught.value)
    assert message.startswith(f"board.toml: {place}")
    assert fix in message
    assert "regex" not in message


def test_a_section_that_is_read_alone_has_the_same_messages(tmp_path):
    path = tmp_path / "board.toml"
    for text, said in (
        ("max_on_ms = '5ms'", r"\[actuation\] max_on_ms: .*, such as 5, not"),
        ("a = 0,5", "write a = 0.5"),
    ):
        path.write_text(f"[actuation]\n{text}\n")
        with pytest.raises(ConfigError, match=f"{said}.*; shut off the air"):
            load_actuation(path)


def test_a_password_in_an_address_is_not_shown():
    with pytest.raises(ConfigError) as caught:
        decode_config('[update]\nurl = ["https://anna:secret@host"]', "board.toml")
    assert "secret" not in str(caught.value)


def sections(kind=Config):
    yield kind
    for hint in get_type_hints(kind).values():
        for part in _classes_in(hint):
            yield from sections(part)


def test_every_pattern_says_in_words_what_fits_it():
    for kind in sections():
        for key, hint in get_type_hints(kind, include_extras=True).items():
            for meta in _metas_in(hint):
                assert meta.pattern is None or meta.description, f"{kind.__name__}.{key}"


def test_a_file_that_this_user_may_not_read_is_not_called_missing(tmp_path):
    said = cannot_be_read(tmp_path / "board.toml", PermissionError(13, "Permission denied"), "give another")
    assert "it is there, but this user may not read it" in said
    with pytest.raises(ConfigError, match="No such file or directory; give --config an existing TOML file"):
        load_config(tmp_path / "none.toml")
