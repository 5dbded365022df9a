"""The contract of every partitioner, and worked numbers of main-class groups."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.partition import (
    PARTITIONERS,
    ByColumnPartitioner,
    DirichletPartitioner,
    IidPartitioner,
    MainClassPartitioner,
    ShardsPartitioner,
)

EVERY = pytest.mark.parametrize("name", list(PARTITIONERS))
LOOSE = {"dirichlet": {"min_samples": 1}}
DIGESTS = ("023a7537efddc545", "3dbef3ec44b45a66")


def random_labels(count: int, num_classes: int = 10, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, num_classes, size=count)


def assert_disjoint_cover(parts: list[np.ndarray], count: int) -> None:
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(count))
    for part in parts:
        assert part.dtype == np.int64
        assert len(part) > 0
        assert np.all(np.diff(part) > 0)


@EVERY
@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 300), clients=st.integers(1, 40), num_classes=st.integers(1, 12), seed=st.integers(0, 99))
def test_parts_are_a_disjoint_cover_or_refused(name, count, clients, num_classes, seed: int) -> None:
    labels = random_labels(count, num_classes, seed)
    partitioner = PARTITIONERS.create(name, LOOSE.get(name))
    try:
        parts = partitioner.split(labels, clients, num_classes, np.random.default_rng(seed))
    except ConfigError:
        assert count < 20 * clients  # only scarce images may be refused
        return
    assert len(parts) == clients
    assert_disjoint_cover(parts, count)


@EVERY
@pytest.mark.parametrize("clients", [1, 3, 20, 25, 100])
def test_same_generator_state_gives_same_parts(name, clients) -> None:
    labels = random_labels(3000)
    before = labels.copy()
    first, second, other = (
        PARTITIONERS.create(name).split(labels, clients, 10, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert clients == 1 or any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert np.array_equal(labels, before)


@EVERY
def test_more_clients_than_images_is_refused_by_name(name) -> None:
    with pytest.raises(ConfigError, match=r"federation.clients = 6: allowed: 1 to the 5 training images"):
        PARTITIONERS.create(name).split(random_labels(5), 6, 10, np.random.default_rng(0))


@EVERY
@pytest.mark.parametrize("labels", [np.zeros((3, 2), dtype=np.int64), np.zeros(3), np.array([0, 10]), np.array([-1])])
def test_what_is_no_vector_of_classes_is_refused(name, labels) -> None:
    with pytest.raises(ValueError, match="labels must"):
        PARTITIONERS.create(name).split(labels, 1, 10, np.random.default_rng(0))


@pytest.mark.parametrize(("count", "clients"), [(100, 7), (20, 20), (21, 20)])
def test_iid_sizes_differ_by_at_most_one(count, clients) -> None:
    sizes = [len(p) for p in IidPartitioner().split(random_labels(count), clients, 10, np.random.default_rng(0))]
    assert max(sizes) - min(sizes) <= 1


def test_iid_classes_are_independent_of_clients() -> None:
    labels = random_labels(20_000)
    parts = IidPartitioner().split(labels, 20, 10, np.random.default_rng(0))
    assert chi2_contingency([np.bincount(labels[p], minlength=10) for p in parts]).pvalue > 0.01


def test_dirichlet_keeps_the_minimum_with_500_clients() -> None:
    parts = DirichletPartitioner(beta=0.5).split(random_labels(20_000), 500, 10, np.random.default_rng(3))
    assert_disjoint_cover(parts, 20_000)
    assert min(map(len, parts)) >= 10


def test_dirichlet_repair_moves_only_what_is_missing() -> None:
    partitioner = DirichletPartitioner(beta=0.05, min_samples=30, tries=1)
    labels = random_labels(4000)
    drawn = partitioner._draw(labels, 100, 10, np.random.default_rng(0))
    owners = partitioner.owners(labels, 100, 10, np.random.default_rng(0))
    sizes = np.bincount(drawn, minlength=100)
    missing = np.maximum(30 - sizes, 0).sum()
    assert missing > 0
    assert (owners != drawn).sum() == missing
    assert np.bincount(owners, minlength=100).min() == 30


def test_dirichlet_repairs_the_best_of_its_draws() -> None:
    partitioner = DirichletPartitioner(beta=0.3, min_samples=30, tries=6)
    labels = random_labels(4000)
    rng = np.random.default_rng(0)
    draws = [partitioner._draw(labels, 100, 10, rng) for _ in range(6)]
    minima = [np.bincount(drawn, minlength=100).min() for drawn in draws]
    best = draws[int(np.argmax(minima))]
    owners = partitioner.owners(labels, 100, 10, np.random.default_rng(0))
    assert min(minima) < max(minima) < 30
    assert (owners != best).sum() == np.maximum(30 - np.bincount(best, minlength=100), 0).sum()


def test_dirichlet_says_how_many_images_a_repair_moved() -> None:
    labels = random_labels(4000)
    partitioner = DirichletPartitioner(beta=0.3, min_samples=30, tries=6)
    rng = np.random.default_rng(0)
    best = max(
        (partitioner._draw(labels, 100, 10, rng) for _ in range(6)), key=lambda d: np.bincount(d, minlength=100).min()
    )
    missing = np.maximum(30 - np.bincount(best, minlength=100), 0).sum()
    assert partitioner.notes(labels, 100, 10, np.random.default_rng(0)) == (
        f"partition repaired: {missing} of 4000 training images were moved to clients whom the best of 6 draws left "
        "with fewer than 30",
    )


@pytest.mark.parametrize("name", sorted(PARTITIONERS))
def test_a_partition_that_was_not_repaired_has_no_notes(name) -> None:
    partitioner = PARTITIONERS.create(name, {"beta": 100.0} if name == "dirichlet" else None)
    assert partitioner.notes(random_labels(2000), 4, 10, np.random.default_rng(0)) == ()


def test_the_partition_is_that_of_before_there_were_notes() -> None:
    """No draw of the generator has moved: the parts of one seed, repaired and not, by checksum."""
    labels = random_labels(2000)
    for options, expected in (({"beta": 0.5}, 0), ({"beta": 0.05, "tries": 3}, 1)):
        parts = DirichletPartitioner(**options).split(labels, 40, 10, np.random.default_rng(5))
        total = hashlib.sha256(b"".join(np.asarray(p, dtype=np.int64).tobytes() for p in parts)).hexdigest()[:16]
        assert total == DIGESTS[expected]


def test_dirichlet_with_exactly_enough_images_gives_everyone_the_minimum() -> None:
    parts = DirichletPartitioner(min_samples=10).split(random_labels(500), 50, 10, np.random.default_rng(0))
    assert [len(p) for p in parts] == [10] * 50


def test_dirichlet_names_an_impossible_minimum() -> None:
    with pytest.raises(ConfigError, match=r"min_samples = 10: allowed: 1 to 9 with 499 training images and 50 clients"):
        DirichletPartitioner().split(random_labels(499), 50, 10, np.random.default_rng(0))


def test_dirichlet_skew_falls_with_beta() -> None:
    labels = random_labels(20_000)

    def largest_share(beta):
        parts = DirichletPartitioner(beta=beta).split(labels, 20, 10, np.random.default_rng(0))
        return np.mean([np.bincount(labels[p]).max() / len(p) for p in parts])

    shares = [largest_share(beta) for beta in (0.05, 0.5, 5.0, 1000.0)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.6
    assert shares[-1] < 0.15


def test_dirichlet_proportions_have_the_right_spread() -> None:
    # Var of a share of Dir(b,...,b) over n clients is (1/n)(1-1/n)/(n*b+1).
    labels = np.zeros(200_000, dtype=np.int64)
    partitioner = DirichletPartitioner(beta=0.5, min_samples=1, tries=1)
    shares = [
        np.bincount(partitioner.owners(labels, 10, 1, np.random.default_rng(s)), minlength=10) / len(labels)
        for s in range(150)
    ]
    assert np.var(shares) == pytest.approx(0.1 * 0.9 / (10 * 0.5 + 1), rel=0.15)


@pytest.mark.parametrize("q", [0.1, 0.2, 0.4, 0.6, 1.0])
@pytest.mark.parametrize("clients", [10, 100])
def test_main_class_own_fraction_is_q(q, clients) -> None:
    labels = random_labels(50_000)
    parts = MainClassPartitioner(q=q).split(labels, clients, 10, np.random.default_rng(1))
    assert_disjoint_cover(parts, 50_000)
    own = [(labels[part] == j * 10 // clients).sum() for j, part in enumerate(parts)]
    assert abs(sum(own) / 50_000 - q) < 0.02


def test_main_class_default_sends_six_and_two_thirds_percent_to_each_other_group() -> None:
    labels = random_labels(50_000)
    parts = MainClassPartitioner().split(labels, 10, 10, np.random.default_rng(1))
    for group, part in enumerate(parts):
        shares = np.bincount(labels[part], minlength=10) / np.bincount(labels, minlength=10)
        assert shares[group] == pytest.approx(0.4, abs=0.025)
        assert np.delete(shares, group) == pytest.approx(np.full(9, 0.0667), abs=0.015)


def test_main_class_q_of_one_group_is_iid() -> None:
    labels = random_labels(50_000)
    parts = MainClassPartitioner(q=0.1).split(labels, 20, 10, np.random.default_rng(0))
    assert chi2_contingency([np.bincount(labels[p], minlength=10) for p in parts]).pvalue > 0.01


@pytest.mark.parametrize("clients", [10, 13, 50, 100])
def test_main_class_q_one_gives_single_class_clients(clients) -> None:
    labels = random_labels(4999)
    parts = MainClassPartitioner(q=1.0).split(labels, clients, 10, np.random.default_rng(0))
    assert all(len(np.unique(labels[part])) == 1 for part in parts)


def test_main_class_leftovers_go_to_the_smallest_clients_of_the_group() -> None:
    labels = np.repeat(np.arange(2), [11, 7])
    parts = MainClassPartitioner(q=1.0).split(labels, 6, 2, np.random.default_rng(0))
    assert [len(p) for p in parts] == [4, 4, 3, 3, 2, 2]


def test_main_class_with_fewer_clients_than_classes_shares_groups() -> None:
    labels = random_labels(20_000)
    parts = MainClassPartitioner(q=1.0).split(labels, 4, 10, np.random.default_rng(0))
    for group, part in enumerate(parts):
        assert set(np.unique(labels[part])) == {c for c in range(10) if c % 4 == group}


@pytest.mark.parametrize("per_client", [1, 2, 5])
def test_shards_give_about_that_many_classes(per_client) -> None:
    labels = np.repeat(np.arange(10), 600)
    parts = ShardsPartitioner(per_client=per_client).split(labels, 20, 10, np.random.default_rng(0))
    assert [len(p) for p in parts] == [300] * 20
    assert max(len(np.unique(labels[p])) for p in parts) <= per_client


def test_shards_straddle_at_most_one_border_each() -> None:
    labels = random_labels(2000)
    parts = ShardsPartitioner(per_client=2).split(labels, 20, 10, np.random.default_rng(0))
    assert max(len(np.unique(labels[p])) for p in parts) <= 4


def test_shards_name_too_many() -> None:
    with pytest.raises(ConfigError, match=r"partition.shards.per_client = 3: allowed: 1 to 2 with 50"):
        ShardsPartitioner(per_client=3).split(random_labels(50), 20, 10, np.random.default_rng(0))


def test_a_client_left_empty_is_named() -> None:
    labels = np.repeat([0, 1, 2, 3, 4, 6, 7, 8, 9], 20)
    with pytest.raises(ConfigError, match=r"partition.name = 'main-class': leaves client 5 of 10 without images"):
        MainClassPartitioner(q=1.0).split(labels, 10, 10, np.random.default_rng(0))


def by_id(ids: np.ndarray, clients: int, seed: int = 0) -> Sequence[np.ndarray]:
    labels = random_labels(len(ids))
    return ByColumnPartitioner(column="site").split(labels, clients, 10, np.random.default_rng(seed), ids)


def test_as_many_clients_as_ids_are_one_id_each_in_order() -> None:
    ids = random_labels(200, 6)
    parts = by_id(ids, 6)
    assert [np.unique(ids[part]).tolist() for part in parts] == [[i] for i in range(6)]
    assert_disjoint_cover(parts, 200)


@settings(max_examples=50, deadline=None)
@given(count=st.integers(1, 200), different=st.integers(1, 30), clients=st.integers(1, 30), seed=st.integers(0, 99))
def test_an_id_is_never_split_and_sizes_are_balanced(count, different, clients, seed: int) -> None:
    ids = random_labels(count, different, seed)
    known, sizes = np.unique(ids, return_counts=True)
    if clients > len(known):
        with pytest.raises(ConfigError):
            by_id(ids, clients, seed)
        return
    parts = by_id(ids, clients, seed)
    assert_disjoint_cover(parts, count)
    owners = [set(ids[part].tolist()) for part in parts]
    assert sum(map(len, owners)) == len(known)
    # Longest first is within 4/3 of the best, which is at least the mean and at least the largest id.
    assert max(map(len, parts)) <= 4 / 3 * max(count / clients + sizes.max() * (clients < len(known)), sizes.max())


def test_dealing_ids_depends_on_the_seed_alone() -> None:
    ids = random_labels(300, 12)
    first, again, other = (by_id(ids, 4, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_largest_ids_are_dealt_first() -> None:
    ids = np.repeat(np.arange(5), [6, 5, 4, 3, 2])
    assert sorted(len(part) for part in by_id(ids, 2)) == [9, 11]


def test_more_clients_than_ids_are_refused_with_their_number() -> None:
    message = r"federation.clients = 7: allowed: 1 to 6, the ids in column 'site' of 200 training images"
    with pytest.raises(ConfigError, match=message):
        by_id(random_labels(200, 6), 7)
