"""Reading a SuperNode's keys, and their fingerprints: two forms of one SHA-256."""

from __future__ import annotations

import base64
import hmac
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

from fedcrucible_core.config.errors import ConfigError
from strategies import bindings

LARGEST = 16 * 1024
"""Bytes of a key file."""
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_WANTED = "a key on a NIST curve in OpenSSH's format, as `fedcrucible site request` makes it"


def read_private_key(path: Path, key: str = "key") -> ec.EllipticCurvePrivateKey:
    """A SuperNode's private key.

    Raises:
        ConfigError: (``key``) no readable file, a public key, one with a passphrase, or of another kind.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(key, str(path), f"can't be read: {error.strerror}; needs {_WANTED}") from None
    if content.startswith(b"ecdsa-sha2-") or b" PUBLIC KEY" in content:
        raise ConfigError(key, str(path), "is a public key; needs the private one, the file without .pub")
    if len(content) > LARGEST:
        raise ConfigError(key, str(path), f"is no key file; needs {_WANTED}")
    try:
        found = load_ssh_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        why = "has a passphrase, which a SuperNode can't give" if "assword" in str(error) else "holds no usable key"
        raise ConfigError(key, str(path), f"{why}; needs {_WANTED}") from None
    if not isinstance(found, ec.EllipticCurvePrivateKey) or not isinstance(found.curve, _CURVES):
        raise ConfigError(key, str(path), f"holds a key of another kind; needs {_WANTED}")
    return found


def read_public_key(path: Path, key: str = "public_key") -> ec.EllipticCurvePublicKey:
    """A SuperNode's public key from its file, ``NAME.pub``. Raises ConfigError (``key``)."""
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(key, str(path), f"can't be read: {error.strerror}; needs {_WANTED}") from None
    try:
        return parse_public_key(content[:LARGEST].decode("ascii").strip(), key)
    except (UnicodeDecodeError, ConfigError):
        raise ConfigError(key, str(path), f"holds no public key; needs {_WANTED}") from None


def parse_public_key(line: str, key: str = "public_key") -> ec.EllipticCurvePublicKey:
    """A SuperNode's public key from its line in OpenSSH's format. Raises ConfigError."""
    try:
        found = load_ssh_public_key(line.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(key, line, f"is no public key; needs {_WANTED}") from None
    if not isinstance(found, ec.EllipticCurvePublicKey) or not isinstance(found.curve, _CURVES):
        raise ConfigError(key, line, f"is a key of another kind; needs {_WANTED}")
    return found


def public_line(key: ec.EllipticCurvePublicKey) -> str:
    """The key's line in OpenSSH's format, without a comment."""
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """``SHA256:...``, as ``ssh-keygen -lf`` shows it and ``federation.node_partitions`` takes it."""
    return bindings.fingerprint(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def spoken_fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """The same digest as 16 groups of four hexadecimal digits: letters without case, for the telephone."""
    return grouped(_digest(key))


def grouped(digest: bytes) -> str:
    """Bytes as groups of four hexadecimal digits."""
    text = digest.hex()
    return " ".join(text[place : place + 4] for place in range(0, len(text), 4))


def is_fingerprint_of(told: str, key: ec.EllipticCurvePublicKey) -> bool:
    """Whether what was read out is this key's fingerprint, in either form, whole."""
    squeezed = "".join(told.split())
    forms = (fingerprint(key), fingerprint(key).removeprefix("SHA256:"))
    digits = squeezed.lower().replace("-", "").replace(":", "")
    spoken = hmac.compare_digest(digits.encode(errors="replace"), _digest(key).hex().encode())
    return spoken or any(hmac.compare_digest(squeezed.encode(errors="replace"), form.encode()) for form in forms)


def _digest(key: ec.EllipticCurvePublicKey) -> bytes:
    return base64.b64decode(fingerprint(key).removeprefix("SHA256:") + "=")
