"""Certificates and keys: what Flower accepts, readable by their owner alone."""

from __future__ import annotations

import ipaddress
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

from fedcrucible.engines.flower.keys import create_node_key, create_server_certificate


def test_the_server_certificate_names_every_host_and_is_signed_by_the_authority(tmp_path: Path) -> None:
    files = create_server_certificate(tmp_path / "keys", ["superlink", "10.0.0.5"])
    authority = x509.load_pem_x509_certificate(files.authority.read_bytes())
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["superlink"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("10.0.0.5")]
    ssl.create_default_context(cafile=str(files.authority))
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.certificate, files.key)


def test_private_files_are_for_their_owner_alone_and_never_overwritten(tmp_path: Path) -> None:
    server, node = create_server_certificate(tmp_path), create_node_key(tmp_path, "node-0")
    for path in (server.key, node.private):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ca.crt", "node-0", "node-0.pub", "server.key", "server.pem",
    ]  # fmt: skip
    with pytest.raises(FileExistsError):
        create_node_key(tmp_path, "node-0")


def test_node_keys_are_openssh_pairs_on_a_nist_curve(tmp_path: Path) -> None:
    node = create_node_key(tmp_path, "node-0")
    private = load_ssh_private_key(node.private.read_bytes(), None)
    public = load_ssh_public_key(node.public.read_bytes())
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert private.public_key() == public
    assert public.curve.name == "secp384r1"
