import errno
import hashlib
import json
from pathlib import Path

import pytest

from pitcore.errors import BundleError, CardError
from pitcore.model_card import ModelCard, load_bundle, unread
from tests.conftest import tiny_card, write_card


def test_a_whole_bundle_loads_and_is_named_by_its_card(tiny_bundle):
    bundle = load_bundle(tiny_bundle)
    assert bundle.label == "tiny@1.2.3"
    assert bundle.sha256 == hashlib.sha256((tiny_bundle / "card.json").read_bytes()).hexdigest()
    assert bundle.card.batch_shape == (64, 64, 2)


OPTIONAL = {"points", "reference"}  # a card of an older schema has neither


@pytest.mark.parametrize("key", [*sorted(set(ModelCard.__struct_fields__) - OPTIONAL), "thresholds"])
def test_a_card_has_no_defaults(tiny_bundle, key):
    card = tiny_card(tiny_bundle)
    del card[key]
    write_card(tiny_bundle, card)
    with pytest.raises(CardError, match=rf"card\.json: .*{key}"):
        load_bundle(tiny_bundle)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"extra": 1}, "unknown field `extra`"),
        ({"schema": "pitcore.card/2"}, "unknown field `thresholds`"),
        ({"thresholds": {"accept": 0.9, "reject": 0.1}}, "must not be above reject"),
        ({"thresholds": {"accept": 0.1, "reject": 1.5}}, r"\$\.thresholds\.reject"),
        ({"thresholds": {"accept": 0.1}}, "reject"),
        ({"calibration": {"method": "platt", "slope": 0.0, "intercept": 0.0}}, r"\$\.calibration\.slope"),
        ({"labels": ["clean", "maybe"]}, "hold clean and pit"),
        ({"labels": ["clean", "pit", "pit"]}, "must differ"),
        ({"planes": ["top", "top"]}, "planes must differ"),
        ({"scale": [1.0]}, "one number for each of the 2 planes"),
        ({"scale": [0.5, 0.5]}, "uint8 input needs scale 1"),
        ({"crop_size_px": 8}, r"\$\.crop_size_px"),
        ({"resize": "stretch"}, r"\$\.resize"),
        ({"files": {}}, "files must name exactly"),
    ],
)
def test_an_impossible_card_is_one_clear_error(tiny_bundle, change, said):
    write_card(tiny_bundle, tiny_card(tiny_bundle) | change)
    with pytest.raises(CardError, match=said) as caught:
        load_bundle(tiny_bundle)
    assert "\n" not in str(caught.value)


def test_nan_thresholds_are_refused(tiny_bundle):
    text = json.dumps(tiny_card(tiny_bundle)).replace('"accept": 0.2', '"accept": NaN')
    (tiny_bundle / "card.json").write_text(text)
    with pytest.raises(CardError):
        load_bundle(tiny_bundle)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[]", b"null"])
def test_a_card_that_is_no_json_object_is_refused(tiny_bundle, raw):
    (tiny_bundle / "card.json").write_bytes(raw)
    with pytest.raises(CardError):
        load_bundle(tiny_bundle)


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz", "metrics.json"])
def test_one_changed_byte_is_found(tiny_bundle, name):
    path = tiny_bundle / name
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(BundleError, match=f"{name}: hash .* is not the card's"):
        load_bundle(tiny_bundle)


def test_a_missing_file_is_named(tiny_bundle):
    (tiny_bundle / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx: No such file or directory; the bundle is incomplete"):
        load_bundle(tiny_bundle)


def test_a_folder_without_a_card_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="no model bundle here"):
        load_bundle(tmp_path)


def test_an_unreadable_file_is_not_blamed_on_the_card():
    message = str(unread(Path("/m/card.json"), PermissionError(errno.EACCES, "Permission denied"), ""))
    assert message == "/m/card.json: Permission denied; let this user read the model's folder and files"
