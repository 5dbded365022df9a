"""The certificate of the CA that nodes trust: read from a file, and told by its fingerprint."""

from __future__ import annotations

import hmac
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from fedcrucible.engines.flower.node_keys import grouped
from fedcrucible_core.config.errors import ConfigError

LARGEST = 256 * 1024
"""Bytes of a file of certificates."""
_WANTED = "needs the CA's certificate in PEM, ca.crt of the server"


def read_authority(path: Path, key: str = "ca") -> str:
    """The PEM text of a file of certificates.

    Raises:
        ConfigError: (``key``) no readable file, none in it, or a private key beside them: that must not go to nodes.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(key, str(path), f"can't be read: {error.strerror}; {_WANTED}") from None
    if len(content) > LARGEST:
        raise ConfigError(key, str(path), f"is larger than {LARGEST // 1024} KiB; {_WANTED}")
    return checked_authority(content, key, str(path))


def checked_authority(content: bytes, key: str, value: str) -> str:
    """The PEM text, where it is that of certificates alone. Raises ConfigError."""
    if b"PRIVATE KEY" in content:
        raise ConfigError(key, value, f"holds a private key, which must stay where it is; {_WANTED}")
    try:
        text = content.decode("ascii")
        x509.load_pem_x509_certificates(content)
    except ValueError:
        raise ConfigError(key, value, f"holds no certificate; {_WANTED}") from None
    return text


def is_authority(told: str, pem: str) -> bool:
    """Whether what was read out is the first certificate's whole fingerprint; blanks, colons, case don't count."""
    squeezed = "".join(told.split()).replace(":", "").replace("-", "").lower()
    return hmac.compare_digest(squeezed.encode(errors="replace"), authority_fingerprint(pem).replace(" ", "").encode())


def authority_fingerprint(pem: str) -> str:
    """SHA-256 of the first certificate, as ``openssl x509 -fingerprint -sha256`` computes it, in groups of four."""
    return grouped(x509.load_pem_x509_certificates(pem.encode("ascii"))[0].fingerprint(hashes.SHA256()))
