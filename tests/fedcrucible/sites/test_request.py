"""A site's request: what it holds, what never leaves the site, and every file that is none."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from fedcrucible.engines.flower.node_keys import fingerprint, is_fingerprint_of, spoken_fingerprint
from fedcrucible.sites.document import LARGEST
from fedcrucible.sites.request import make_request, read_request
from fedcrucible_core.config.errors import ConfigError


def test_the_key_is_made_once_and_stays(tmp_path: Path) -> None:
    private, path, made = make_request("hospital-a", tmp_path / "keys")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(private.parent.stat().st_mode) == 0o700
    secret = private.read_text()
    again = make_request("hospital-a", tmp_path / "keys")[2]
    assert private.read_text() == secret
    assert again.public_key == made.public_key
    text = path.read_text()
    assert "PRIVATE" not in text
    assert all(line not in text for line in secret.splitlines())
    assert read_request(path).versions["flwr"]


def test_fingerprints_can_be_read_out_in_either_form(tmp_path: Path) -> None:
    key = make_request("hospital-a", tmp_path)[2].key
    spoken = spoken_fingerprint(key)
    assert len(spoken.split()) == 16
    for told in (fingerprint(key), fingerprint(key)[7:], spoken, spoken.upper().replace(" ", ""), f" {spoken}\n"):
        assert is_fingerprint_of(told, key)
    for told in ("", "SHA256:", spoken[:-5], fingerprint(key)[:-1], fingerprint(key).lower(), "\udcff", "ß" * 64):
        assert not is_fingerprint_of(told, key)


@pytest.mark.parametrize(
    "name",
    ["", "a", "A1", "../x", "a/b", "a\\b", ".ssh", "a b", "a\nb", "a\x1b[2J", "-rf", "a-", "0", "123", "a" * 41, "ä-b",
     "con.txt", "a;b", "$(x)", "a\u202eb"],
)  # fmt: skip
def test_a_name_can_be_nothing_but_a_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="small letters, digits and hyphens") as caught:
        make_request(name, tmp_path)
    assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == []


def test_what_lies_at_the_key_s_place_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "hospital-a").write_text("something else")
    with pytest.raises(ConfigError, match="holds no usable key"):
        make_request("hospital-a", tmp_path)
    assert (tmp_path / "hospital-a").read_text() == "something else"


CHANGES: dict[str, dict[str, Any]] = {
    "another name": {"site": "hospital-b"},
    "another version": {"versions": {"flwr": "1.0"}},
    "a path for a name": {"site": "../../etc/passwd"},
    "control characters": {"site": "a\x1b[2Jb"},
    "a long name": {"site": "a" * 10_000},
    "a number for a name": {"site": 7},
    "no key": {"public_key": ""},
    "a key of two lines": {"public_key": "ecdsa-sha2-nistp384 AAAA\necdsa-sha2-nistp384 BBBB"},
    "an RSA key": {"public_key": "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ=="},
    "a list of versions": {"versions": ["1.0"]},
    "a thousand versions": {"versions": {str(n): "1" for n in range(1000)}},
    "a version that clears the screen": {"versions": {"flwr": "\x1b[2J"}},
    "an unknown entry": {"command": "rm -rf /"},
    "another format": {"format": "fedcrucible-site-request-2"},
    "no signature": {"signature": ""},
    "a signature of something else": {"signature": "MGUCMEqi"},
    "a signature that is no text": {"signature": None},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_request_is_one_clear_error(change: str, request_file: Path) -> None:
    content = json.loads(request_file.read_text()) | CHANGES[change]
    request_file.write_text(json.dumps(content))
    with pytest.raises(ConfigError) as caught:
        read_request(request_file)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"[]", b"null", b"17", b"[" * 20_000, b"1" * 20_000, b'{"a":' * 9_000, b"{" + b" " * LARGEST,
     b"\0" * 100, b'{"site": "\\ud800"}'],
)  # fmt: skip
def test_other_files_are_one_clear_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.request.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"^request = ") as caught:
        read_request(path)
    assert str(caught.value).isprintable()


def test_folders_pipes_and_nothing_are_one_clear_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "absent", tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ConfigError, match=r"can't be read|no plain file"):
            read_request(path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as stream:
        stream.truncate(2**40)  # a sparse terabyte
    with pytest.raises(ConfigError, match="larger than 64 KiB"):
        read_request(path)
