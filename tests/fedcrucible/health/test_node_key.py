"""A node's key: the file, and what the SuperLink's answers mean; docs/deployment.md has the real one's."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fedcrucible.engines.flower.keys import ServerCertificate, create_node_key, create_server_certificate
from fedcrucible.health import node_key
from tests.support.tls_server import Answers, serving


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    return create_server_certificate(tmp_path_factory.mktemp("keys"))


def test_a_good_key_is_told_by_its_fingerprint(tmp_path: Path) -> None:
    (found,), key = node_key.examine(create_node_key(tmp_path, "a").private)
    assert (found.status, key is not None) == ("ok", True)
    assert "SHA256:" in found.detail


def test_a_key_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    private = create_node_key(tmp_path, "a").private
    private.chmod(0o644)
    found, _ = node_key.examine(private)
    assert [finding.status for finding in found] == ["ok", "warn"]
    assert found[1].todo == f"chmod 600 {private}"


def _other_files(folder: Path) -> dict[str, tuple[bytes, str]]:
    public = create_node_key(folder, "right").public.read_bytes()
    encoding = Encoding.PEM, PrivateFormat.OpenSSH
    return {
        "public": (public, "public key"),
        "ed25519": (ed25519.Ed25519PrivateKey.generate().private_bytes(*encoding, NoEncryption()), "another kind"),
        "curve": (
            ec.generate_private_key(ec.SECP256R1()).private_bytes(
                Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
            ),
            "no usable key",
        ),
        "empty": (b"", "no usable key"),
        "huge": (b"x" * 10_000_000, "no key file"),
        "junk": (b"-----BEGIN OPENSSH PRIVATE KEY-----\n\x1b[2J\n", "no usable key"),
    }


def test_other_files_are_told_apart(tmp_path: Path) -> None:
    for name, (content, cause) in _other_files(tmp_path).items():
        path = tmp_path / name
        path.write_bytes(content)
        (found,), key = node_key.examine(path)
        assert (found.status, key) == ("fail", None), name
        assert cause in found.detail, name
    assert node_key.examine(tmp_path / "absent")[0][0].status == "fail"
    assert node_key.examine(tmp_path)[0][0].status == "fail"


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen to make a key with a passphrase")
def test_a_passphrase_is_no_use_to_a_node(tmp_path: Path) -> None:
    path = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "secret", "-f", str(path)], check=True)
    (found,), _ = node_key.examine(path)
    assert "has a passphrase" in found.detail


def _error(code: int) -> str:
    return json.dumps({"code": code, "detail": "as Flower says it"})


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (Answers(400, _error(2003)), "ok", "lets it in"),
        (Answers(412, _error(2004)), "fail", "never registered, revoked, or forgotten"),
        (Answers(412, _error(1001)), "fail", "version of Flower"),
        (Answers(401, '{"detail":"Invalid SuperNode authentication"}'), "fail", "refuses the signature"),
        (Answers(404, "<html>\x1b[31mnginx"), "fail", "no SuperLink of Flower 1.41"),
        (Answers(400, "[" * 50_000), "fail", "no SuperLink of Flower 1.41"),
        (Answers(200, "not a protobuf \xff"), "fail", "can't be asked"),
        (Answers(200, ""), "warn", "what Flower 1.41 doesn't"),
    ],
)
def test_answers_have_a_meaning(
    answer: Answers, status: str, said: str, certificate: ServerCertificate, tmp_path: Path
) -> None:
    _, key = node_key.examine(create_node_key(tmp_path, "a").private)
    assert key is not None
    with serving(certificate, answer) as address:
        found = node_key.registered(address, certificate.authority.read_text(), key)
    assert (found.status, said in found.detail) == (status, True), found
    assert "\x1b" not in found.detail


def test_the_limits_are_flower_s_own() -> None:
    from flwr.common.constant import HEARTBEAT_MIN_INTERVAL
    from flwr.supercore.error import ApiErrorCode

    assert node_key.NO_INTERVAL < HEARTBEAT_MIN_INTERVAL
    assert ApiErrorCode(node_key.KNOWN).name == "FLEET_INVALID_HEARTBEAT_INTERVAL"
    assert ApiErrorCode(node_key.UNKNOWN).name == "FLEET_NODE_ACTIVATION_FAILED"
    assert ApiErrorCode(node_key.VERSION).name == "RUNTIME_VERSION_INCOMPATIBLE"
