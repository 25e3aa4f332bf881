"""Reads the files by which the board and the MQTT broker know each other: password and certificates."""

from __future__ import annotations

import ssl
from pathlib import Path

from pitcore.config import MqttConfig
from pitcore.sinks.output_state import reason_of


def read_password(file: str | None) -> str | None:
    """Read the password; done for each connection, so that a new one needs no restart. Raises ValueError."""
    if file is None:
        return None
    try:
        text = Path(file).read_bytes()[:4096].decode().strip()
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}; put the password there, in one line") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: is not text; put the password there, in one line") from error
    if not text or "\n" in text:
        raise ValueError(f"{file}: no password in one line; put it there")
    return text


def tls_context(config: MqttConfig) -> ssl.SSLContext:
    """Return the TLS context: it checks the broker's certificate and sends the configured one. Raises ValueError."""
    file = config.ca_file
    try:
        context = ssl.create_default_context(cafile=file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if config.cert_file is not None:
            file = config.cert_file
            context.load_cert_chain(config.cert_file, config.key_file, password="")
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"{file}: {reason_of(error)}; it must be a readable certificate in PEM form") from error
    return context
