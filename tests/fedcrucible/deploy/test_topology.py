"""The description of a deployment: what is taken, what is refused and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcrucible.deploy.compose import compose
from fedcrucible.deploy.topology import load_topology
from fedcrucible_core.config.errors import ConfigError

SITES = """
[[sites]]
name = "a"
partition = 0
[[sites]]
name = "b"
partition = 1
role = "malicious"
"""


def described(folder: Path, text: str) -> Path:
    path = folder / "lab.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_and_relative_places(tmp_path: Path) -> None:
    topology = load_topology(described(tmp_path, SITES.replace("partition = 0", 'partition = 0\ndata = "images"')))
    assert topology.keys_folder == tmp_path / "keys"
    assert topology.database == tmp_path / "state" / "superlink.db"
    a, b = topology.sites
    assert (topology.node_port(a), topology.node_port(b)) == (8001, 8002)
    assert topology.data_folder(a) == str(tmp_path / "images")
    assert topology.data_folder(b) == ""
    assert topology.node_config(a, "/data") == "partition-id=0 num-partitions=2 role='benign' data-dir='/data'"
    assert topology.node_config(b, "") == "partition-id=1 num-partitions=2 role='malicious'"


def test_what_a_site_allows_and_hides_is_its_nodes_to_know(tmp_path: Path) -> None:
    text = SITES.replace("partition = 0", "partition = 0\nmeasure_asr = false") + 'hidden_file = "attack.toml"\n'
    topology = load_topology(described(tmp_path, text))
    a, b = topology.sites
    assert topology.node_config(a, "").endswith("role='benign' measure-asr=false")
    assert topology.node_config(b, "").endswith(f"role='malicious' hidden-file='{tmp_path / 'attack.toml'}'")
    with pytest.raises(ConfigError, match=r"hidden_file = 'attack\.toml': compose files of ours"):
        compose(topology, "compose.yml")


@pytest.mark.parametrize(
    ("table", "dialled", "here"),
    [
        ("", "127.0.0.1:8000", "127.0.0.1:8000"),
        ('names = ["a.example.org", "10.0.0.5"]\naddress = "0.0.0.0"', "a.example.org:8000", "127.0.0.1:8000"),
        ('names = ["fd00::5"]\naddress = "fd00::5"\nport = 9000', "[fd00::5]:9000", "[fd00::5]:9000"),
    ],
)
def test_who_dials_what(tmp_path: Path, table: str, dialled: str, here: str) -> None:
    topology = load_topology(described(tmp_path, f"[superlink]\n{table}\n{SITES}"))
    assert (topology.dialled, topology.dialled_here) == (dialled, here)
    assert {"superlink", "localhost", "127.0.0.1", *topology.superlink.names} <= set(topology.certificate_names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "sites = None: must be given"),
        ("sites = [", "topology = .*can't be read as TOML"),
        (SITES.replace("role", "rle"), r"sites\.1\.rle = 'malicious': unknown key; did you mean 'role'\?"),
        (SITES.replace('"malicious"', '"evil"'), r"sites\.1\.role = 'evil': .*'benign', 'malicious' or 'by-seed'"),
        (SITES.replace("partition = 1", "partition = 2"), r"sites\.partition = \[0, 2\]: 0 to 1, each once"),
        (SITES.replace('"b"', '"a"'), r"sites\.name = \['a', 'a'\]: no two sites"),
        (SITES.replace('"b"', '"superlink"'), r"sites\.1\.name = 'superlink': another name than"),
        (SITES.replace('"b"', '"../b"'), r"sites\.1\.name = '\.\./b'"),
        (SITES + "port = 8000", r"sites\.port = \[8001, 8000\]: up to 65535, each once, and not 8000"),
        (SITES + "own_data = true", r"sites\.1 = .*own_data = true needs data"),
        (SITES.replace("malicious", "benign") + 'hidden_file = "a.toml"', r"sites\.1 = .*hidden_file is for role"),
        (SITES + 'hidden_file = "$a"', r"sites\.1\.hidden_file = .*without quotes"),
        (SITES + 'data = "it\'s"', r"sites\.1\.data = .*without quotes"),
        (SITES + "[superlink]\nport = 0\n", r"superlink\.port = 0: "),
        (SITES + '[superlink]\nport = "8000"\n', r"superlink\.port = '8000': "),
        (SITES + '[superlink]\nnames = ["https://x"]\n', r"superlink\.names = .*host names or addresses"),
        ('folder = "/"' + SITES, "folder = '/': unknown key"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_topology(described(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"topology = '.*none\.toml'"):
        load_topology(tmp_path / "none.toml")


def test_an_unknown_site_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="site = 'c': sites: a, b"):
        load_topology(described(tmp_path, SITES)).site("c")
