"""Tests that answers of proxies and login pages are reported as faults of the network, not of the publisher."""

import base64
import gzip

import pytest

from pitcore.errors import Refusal, UpdateError
from pitcore.ota.fetcher import Fetcher
from pitcore.ota.minimum_speed import SpeedLimits
from pitcore.ota.response import check_headers, check_text_file, checked
from pitcore.ota.web import proxy_of
from tests.ota.gateway import gateway

METADATA = b'{"signatures": [], "signed": {}}'
URL = "http://updates.example.org/metadata/timestamp.json"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)


def fetched(url, authorization=None):
    fetcher = Fetcher(SpeedLimits(silence_s=10), authorization=authorization)
    fetcher.begin(20.0)
    try:
        return fetcher.download_bytes(url, 10_000)
    finally:
        fetcher.close()


def refused(call, *arguments):
    with pytest.raises(UpdateError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "answer",
    [
        b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "x"><html><body>log in</body></html>',
        b"<!--\n<WISPAccessGatewayParam/>\n--><html></html>",
        b"\xef\xbb\xbf<!DOCTYPE html>",
        "<html>".encode("utf-16"),
        b'{"captive": true, "user-portal-url": "https://portal.example/"}',
        b'{"error": "login required"}',
        b"Access denied. Please log in at http://portal.example/",
        b"",
        b" \n",
        gzip.compress(METADATA, mtime=0),
    ],
)
def test_a_login_page_of_the_network_is_distinguished_from_metadata(answer):
    with gateway(200, {"Content-Type": "application/json"}, answer) as site:
        error = refused(fetched, f"{site.url}/metadata/timestamp.json")
    assert error.refusal is Refusal.CAPTIVE_PORTAL
    assert "log this network in" in str(error)
    assert "publish" not in str(error)


PAGES = {
    b"<!DOCTYPE html><html><head>\n<TITLE lang=en>Hotel&nbsp;Krone:\n log in</TITLE></head>": "Hotel Krone: log in",
    b"<html><!-- <title> --><style>b{}</style><body><h1>Welcome</h1>to <b>Wi-Fi</b><script>x": "Welcome to Wi-Fi",
    "<html><title>Anmelden \u00fcber</title>".encode(): "Anmelden \u00fcber",
    "<html><title>utf-16</title>".encode("utf-16"): "utf-16",
    b"<html><title>a\x1b]0;b\x07&#27;[2J</title>": r"a\x1b]0;b\x07[2J",
    b"<html><title></title><p>" + b"word " * 10_000: ("word " * 12),
    b"<": "",
}


@pytest.mark.parametrize("page", PAGES)
def test_the_message_shows_the_title_or_the_first_words_of_a_page_cleaned(page):
    pieces = [page[start : start + 7] for start in range(0, len(page), 7)]
    message = str(refused(list, checked(iter(pieces), URL)))
    assert f"a web page instead of the file; it begins with '{PAGES[page]}'; log this network in" in message


def test_a_page_that_is_cut_off_is_still_a_page():
    def cut():
        yield b"<html><title>Log in</title>"
        raise UpdateError(Refusal.CUT_SHORT, "cut")

    assert "'Log in'" in str(refused(list, checked(cut(), URL)))


def test_a_login_page_is_distinguished_from_an_archive_for_pieces_of_any_size():
    page = (bytes([letter]) for letter in b"\xef\xbb\xbf \n<html>")
    assert refused(list, checked(page, URL)).refusal is Refusal.CAPTIVE_PORTAL
    archive = [b"\x00", b"\xef", b"card.json", b"<html>"]
    assert b"".join(checked(iter(archive), URL)) == b"".join(archive)
    assert b"".join(checked(iter([b"\x00\x00"]), URL)) == b"\x00\x00"


def test_metadata_under_a_wrong_type_are_taken():
    with gateway(200, {"Content-Type": "text/html"}, METADATA) as site:
        assert fetched(f"{site.url}/metadata/timestamp.json") == METADATA
    check_text_file(b'{"schema":"pitcore.channel/1"', URL)


def test_a_server_that_compresses_is_refused_with_the_fix_and_a_patch_keeps_its_name():
    answer = (200, {"Content-Encoding": "gzip"}, gzip.compress(METADATA, mtime=0))
    with gateway(*answer) as site:
        error = refused(fetched, f"{site.url}/metadata/timestamp.json")
    assert error.refusal is Refusal.UNAVAILABLE
    assert "compress" in str(error)
    check_headers({"Content-Encoding": "zstd"}, "http://host/models/a.from-1.zstd")


def test_a_busy_server_is_reported_as_busy_and_asked_once():
    with gateway(503, {"Retry-After": "120"}, b"") as site:
        error = refused(fetched, f"{site.url}/metadata/timestamp.json")
    assert error.refusal is Refusal.UNAVAILABLE
    assert "asks to wait 120 s" in str(error)
    assert "URL" not in str(error)
    assert len(site.requests) == 1


def basic(said):
    return f"Basic {base64.b64encode(said).decode()}"


def test_a_servers_login_is_sent_and_follows_no_redirect_to_another_server():
    with (
        gateway(200, {}, METADATA) as other,
        gateway(302, {"Location": f"{other.url}/timestamp.json"}, b"") as site,
    ):
        assert fetched(f"{site.url}/timestamp.json", basic(b"board:s3cr3t")) == METADATA
    assert site.requests[0].headers["Authorization"] == basic(b"board:s3cr3t")
    assert other.requests[0].headers["Authorization"] is None
    with gateway(401, {}, b"") as site:
        assert refused(fetched, f"{site.url}/timestamp.json").refusal is Refusal.NOT_SET_UP


def test_a_proxys_login_is_sent_and_a_proxy_without_a_scheme_is_one(monkeypatch):
    with gateway(200, {}, METADATA) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removeprefix("http://").replace("127", "board:s3cr3t@127", 1))
        assert fetched(URL) == METADATA
    assert proxy.requests[0].path == URL
    assert proxy.requests[0].headers["Proxy-Authorization"] == basic(b"board:s3cr3t")


def test_a_proxy_that_refuses_says_what_to_set_without_showing_the_password(monkeypatch):
    with gateway(407, {"Proxy-Authenticate": "Basic"}, b"") as proxy:
        for scheme in ("http", "https"):
            monkeypatch.setenv(f"{scheme}_proxy", proxy.url.replace("127", "board:s3cr3t@127", 1))
            error = refused(fetched, URL.replace("http", scheme, 1))
            assert "http://NAME:PASSWORD@HOST:PORT" in str(error)
            assert "s3cr3t" not in str(error)


def test_a_proxy_that_cannot_be_read_is_named_by_its_variable(monkeypatch):
    monkeypatch.setenv("all_proxy", "socks5://board:s3cr3t@127.0.0.1:1080")
    error = refused(proxy_of, URL)
    assert error.refusal is Refusal.NOT_SET_UP
    assert "all_proxy" in str(error)
    assert "s3cr3t" not in str(error)
    monkeypatch.setenv("no_proxy", "example.org")
    assert proxy_of(URL) is None
