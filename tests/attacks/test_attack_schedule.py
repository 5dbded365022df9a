"""Who attacks and when."""

import pytest

from attacks.schedule import is_attack_round, malicious_partitions
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar


def config(clients: int = 10, seed: int = 1, name: str = "badnets", **adversary: Scalar) -> RunConfigBase:
    keys: dict[str, Scalar] = {f"adversary.{key}": value for key, value in adversary.items()}
    keys |= {"attack.name": name, "federation.clients": clients, "run.seed": seed}
    return load(keys)


@pytest.mark.parametrize(
    ("settings", "rounds"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"start_round": 3}, [3, 4, 5, 6, 7, 8]),
        ({"start_round": 3, "stop_round": 5}, [3, 4, 5]),
        ({"start_round": 2, "every": 3}, [2, 5, 8]),
        ({"start_round": 2, "stop_round": 7, "every": 3}, [2, 5]),
        ({"start_round": 4, "stop_round": 4}, [4]),
        ({"start_round": 5, "stop_round": 4}, []),
        ({"name": "none"}, []),
    ],
)
def test_attack_rounds(settings, rounds) -> None:
    chosen = config(**settings)
    assert [r for r in range(1, 9) if is_attack_round(chosen, r)] == rounds


@pytest.mark.parametrize(
    ("fraction", "clients", "count"),
    [(0.3, 20, 6), (0.29, 100, 29), (0.2, 100, 20), (0.3, 3, 0), (0.0, 20, 0), (1.0, 20, 20), (0.99, 10, 9)],
)
def test_number_is_floored(fraction, clients, count) -> None:
    ids = malicious_partitions(config(clients, malicious_fraction=fraction))
    assert len(ids) == len(set(ids)) == count
    assert list(ids) == sorted(ids)
    assert all(0 <= i < clients for i in ids)


def test_the_seed_alone_decides_and_larger_fractions_include_smaller() -> None:
    def drawn(fraction, seed, name="badnets"):
        return malicious_partitions(config(50, seed, name, malicious_fraction=fraction))

    assert drawn(0.3, 1) == drawn(0.3, 1)
    assert drawn(0.3, 1) != drawn(0.3, 2)
    assert set(drawn(0.2, 1)) < set(drawn(0.4, 1))


def test_listed_partitions_come_before_the_fraction() -> None:
    assert malicious_partitions(config(malicious_ids=" 7, 0,3", malicious_fraction=0.9)) == (0, 3, 7)


def test_without_attack_nobody_is_malicious() -> None:
    assert malicious_partitions(config(name="none", malicious_ids="1", malicious_fraction=0.5)) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,10", "'10' is no partition; allowed: comma-separated numbers 0 to 9"),
        ("-1", "'-1' is no partition"),
        ("1;2", "'1;2' is no partition"),
        ("1,,2", "'' is no partition"),
        ("one", "'one' is no partition"),
        ("²", "'²' is no partition"),
        ("2,02", "2 is listed twice"),
    ],
)
def test_ids_that_name_nobody_are_refused(text, message) -> None:
    with pytest.raises(ConfigError) as caught:
        malicious_partitions(config(malicious_ids=text))
    assert caught.value.key == "adversary.malicious_ids"
    assert message in str(caught.value)
