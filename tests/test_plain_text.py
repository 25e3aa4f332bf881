"""Files from other editors are read correctly, or the invisible character is named."""

import pytest

from pitcore.config.load import decode_config, load_config
from pitcore.errors import CardError, ConfigError
from pitcore.model_card import decode_card
from pitcore.plain_text import decode_text
from pitcore_tools.yaml_text import read_yaml

TEXT = '[sink]\npath = "v.jsonl"\n'


def test_a_configuration_that_begins_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "board.toml"
    path.write_bytes(TEXT.encode("utf-8-sig"))
    assert load_config(path).sink.path == "v.jsonl"


@pytest.mark.parametrize(("encoding", "said"), [("utf-16", "but UTF-16; save it as UTF-8"), ("latin-1", "at byte 9")])
def test_another_encoding_is_named(tmp_path, encoding, said):
    path = tmp_path / "board.toml"
    path.write_bytes(f"[sink]\n# \u00e4\n{TEXT}".encode(encoding))
    with pytest.raises(ConfigError, match=said):
        load_config(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("path = \u201cv.jsonl\u201d", r'line 2 has U\+201C \(left double quotation mark\): write " there'),
        ("path =\u00a0'v.jsonl'", r"line 2 has U\+00A0 \(no-break space\): write a plain space there"),
        ("\ufeffpath = 'v.jsonl'", r"line 2 has U\+FEFF .*: write nothing there"),
        ("rotate_bytes = \u22121", r"line 2 has U\+2212 \(minus sign\): write - there"),
    ],
)
def test_typographic_characters_are_named_with_their_line(line, said):
    with pytest.raises(ConfigError, match=said):
        decode_config(f"[sink]\n{line}\n", "board.toml")


def test_typographic_characters_in_a_text_or_comment_are_accepted():
    assert (
        decode_config("[sink]  # \u201cthe\u00a0line\u201d\npath = '\u2019s.jsonl'", "x").sink.path == "\u2019s.jsonl"
    )


def test_a_card_with_a_key_twice_is_refused_whichever_would_count():
    with pytest.raises(CardError, match="key 'accept' is given twice"):
        decode_card(b'\xef\xbb\xbf{"decision": {"accept": 0.1, "accept": 1.0}}', "card.json")


def test_yaml_reads_a_power_of_ten_as_a_number_and_a_key_once(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1e-3\nb: [-2E+4, .5e1, 3]\nc: 1e-3x\n")
    assert read_yaml(path) == {"a": 1e-3, "b": [-2e4, 5.0, 3], "c": "1e-3x"}
    path.write_text("a: {x: 1, x: 2}\n")
    with pytest.raises(ValueError, match="key 'x' is given twice"):
        read_yaml(path)


def test_a_mark_inside_a_text_stays():
    assert decode_text("a\ufeffb".encode()) == "a\ufeffb"
