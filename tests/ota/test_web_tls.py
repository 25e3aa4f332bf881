"""The fetcher over TLS: the certificate counts, and the watchdog reaches through the encryption."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pitcore.errors import Refusal, UpdateError
from pitcore.ota.download import Wanted, download
from pitcore.ota.fetcher import Fetcher
from pitcore.ota.minimum_speed import SpeedLimits
from tests.ota.server import serving
from tests.ota.test_download import refused_on_a_kept_connection


def certificate(folder):
    """A self-signed certificate of 127.0.0.1, with its key."""
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    path = folder / "tls.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + signed.public_bytes(Encoding.PEM)
    )
    return path


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "model.tar").write_bytes(b"model" * 50_000)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))
    with serving(tmp_path / "site", tls=context) as site:
        yield site


def fetch(site, part, limits):
    content = (site.root / "model.tar").read_bytes()
    fetcher = Fetcher(limits)
    try:
        download(fetcher, Wanted(f"{site.url}/model.tar", len(content), lambda file: file.read() == content), part)
    finally:
        fetcher.close()


def test_a_server_with_an_untrusted_certificate_is_refused(site, tmp_path):
    with pytest.raises(UpdateError) as caught:
        fetch(site, tmp_path / "part", SpeedLimits())
    assert caught.value.refusal is Refusal.UNREACHABLE
    assert site.requests == []


def test_a_file_comes_over_tls_and_a_slow_one_is_aborted(site, tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls.pem"))
    site.faults = {"model": "dripped-headers"}
    with pytest.raises(UpdateError) as caught:
        fetch(site, tmp_path / "part", SpeedLimits(min_rate=10**9, spare_s=0.5))
    assert caught.value.refusal is Refusal.TOO_SLOW
    site.faults = {}
    fetch(site, tmp_path / "part", SpeedLimits())
    assert (tmp_path / "part").stat().st_size == 250_000


def test_a_slow_file_on_a_reused_tls_connection_is_aborted(site, tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls.pem"))
    refused_on_a_kept_connection(site)
