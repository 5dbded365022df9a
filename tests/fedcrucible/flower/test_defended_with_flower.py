"""Beside Flower's own parts: server optimisers inside, clipping and noise at clients or around, secure aggregation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, Context, Message
from flwr.clientapp.mod import LocalDpMod, fixedclipping_mod
from flwr.clientapp.typing import ClientAppCallable
from flwr.serverapp.strategy import (
    DifferentialPrivacyClientSideFixedClipping,
    DifferentialPrivacyServerSideFixedClipping,
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedMedian,
    FedProx,
    FedXgbBagging,
    FedYogi,
    Krum,
)

from fedcrucible.flower import Defended
from fedcrucible_core.config import ConfigError
from tests.support.own_app import Values, app_of, content, honest, run, values

START = {"a.weight": np.ones((3, 2), np.float32), "a.bias": np.zeros(3, np.float32)}
NORM = {
    **START, "bn.running_mean": np.zeros(2, np.float32), "bn.running_var": np.full(2, 0.1, np.float32),
    "bn.num_batches_tracked": np.array(0), "mask": np.array([True, False]),
}  # fmt: skip


@pytest.mark.parametrize("optimiser", [FedAdam, FedYogi, FedAdagrad, FedAvgM])
def test_a_server_optimiser_is_fed_with_the_aggregate(optimiser: type[FedAvg]) -> None:
    """With the mean as the rule that is the optimiser's own strategy."""
    parameters: dict[str, Any] = {"server_momentum": 0.9} if optimiser is FedAvgM else {"eta": 0.05}
    alone = run(optimiser(**parameters), START, rounds=3)
    fed = run(Defended("fedavg", inner=optimiser(**parameters)), START, rounds=3)
    for key in START:
        np.testing.assert_allclose(fed.arrays[key].numpy(), alone.arrays[key].numpy(), atol=1e-5)
        assert fed.arrays[key].numpy().dtype == np.float32
    assert not np.allclose(fed.arrays["a.weight"].numpy(), run(Defended(), START, rounds=3).arrays["a.weight"].numpy())


def test_it_leaves_statistics_and_whole_numbers_alone() -> None:
    found = values(run(Defended("median", inner=FedAdam(eta=1.0)), NORM, rounds=4).arrays)
    assert found["bn.num_batches_tracked"] == 4
    assert found["bn.num_batches_tracked"].dtype == np.int64
    assert (found["bn.running_var"] > 0).all()
    assert found["mask"].tolist() == [True, False]


def test_its_memory_survives_a_restart(tmp_path: Any) -> None:
    for name, optimiser in (("adam", lambda: FedAdam(eta=0.05)), ("m", lambda: FedAvgM(server_momentum=0.9))):
        whole = run(Defended("median", inner=optimiser()), START, rounds=4)  # type: ignore[no-untyped-call]
        place = tmp_path / name
        kept = {"record": place, "settings": {"output.report": False}}
        run(Defended("median", inner=optimiser(), **kept), START, rounds=2)  # type: ignore[no-untyped-call]
        again = Defended("median", inner=optimiser(), resume=True, **kept)  # type: ignore[no-untyped-call]
        rest = run(again, START, rounds=4)
        for key in START:
            np.testing.assert_array_equal(rest.arrays[key].numpy(), whole.arrays[key].numpy())


def test_what_an_inner_strategy_sends_reaches_clients() -> None:
    seen: list[Any] = []

    def note(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        seen.append(message.content.config_records["config"]["proximal-mu"])
        return call_next(message, context)

    strategy = Defended("fedavg", inner=FedProx(proximal_mu=0.25), fraction_evaluate=0.0)
    run(strategy, START, app=app_of(honest, mods=[note]))
    assert seen == [0.25] * 5


@pytest.mark.parametrize("inner", [Krum(), FedMedian(), FedXgbBagging(), Defended("krum")])
def test_what_judges_single_replies_has_no_use_for_one_aggregate(inner: FedAvg) -> None:
    with pytest.raises(ConfigError, match="inner"):
        Defended("fedavg", inner=inner)


def test_a_privacy_wrapper_inside_is_refused_with_where_it_belongs() -> None:
    wrapper: Any = DifferentialPrivacyServerSideFixedClipping(FedAvg(), 0.1, 1.0, 5)
    with pytest.raises(ConfigError, match="around Defended"):
        Defended("fedavg", inner=wrapper)


@pytest.mark.parametrize("rule", ["fedavg", "krum", "flame"])
def test_a_privacy_wrapper_around_a_defence(rule: str) -> None:
    wrapper = DifferentialPrivacyServerSideFixedClipping(Defended(rule), 0.0, 0.05, 5)
    found = run(wrapper, START, rounds=2)
    moved = np.linalg.norm(np.concatenate([(found.arrays[k].numpy() - v).ravel() for k, v in START.items()]))
    assert 0 < moved <= 2 * 0.05 * 1.3  # flame adds noise of its own


def test_clients_that_clip() -> None:
    wrapper = DifferentialPrivacyClientSideFixedClipping(Defended("median"), 0.0, 0.05, 5)
    found = run(wrapper, START, app=app_of(honest, mods=[fixedclipping_mod]), rounds=2)
    assert 0 < np.abs(found.arrays["a.weight"].numpy() - 1).max() < 0.1


@pytest.mark.parametrize("rule", ["fedavg", "flame", "trimmed-mean"])
def test_clients_that_add_noise_of_their_own(rule: str) -> None:
    """LocalDpMod wants replies in the very order of what was sent, round after round."""
    mod = LocalDpMod(clipping_norm=1.0, sensitivity=0.001, epsilon=10.0, delta=1e-5)
    strategy = Defended(rule)
    floats = {key: v for key, v in NORM.items() if v.dtype.kind == "f"}
    backwards = dict(reversed(floats.items()))
    found = run(strategy, backwards, app=app_of(honest, mods=[mod]), rounds=3)
    assert strategy.outcome.dropped == {}
    assert list(found.arrays) == list(backwards)


def test_noise_that_makes_a_variance_negative_is_said_to_be_that() -> None:
    mod = LocalDpMod(clipping_norm=100.0, sensitivity=1.0, epsilon=0.5, delta=1e-5)
    strategy = Defended("median")
    floats = {key: v for key, v in NORM.items() if v.dtype.kind == "f"}
    run(strategy, floats, app=app_of(honest, mods=[mod]), clients=12)
    assert strategy.outcome.dropped
    assert all("noise on statistics does that" in cause for cause in strategy.outcome.dropped.values())


def test_secure_aggregation_is_refused_with_the_reason() -> None:
    strategy = Defended("krum")
    for called in (strategy.configure_fit, strategy.aggregate_fit, strategy.initialize_parameters):
        with pytest.raises(ConfigError, match="SecAgg"):
            called(1, None, None)


def test_trees_are_refused_with_where_they_belong() -> None:
    with pytest.raises(ConfigError, match="FedXgbBagging"):
        run(Defended("krum"), ArrayRecord([np.frombuffer(b"", np.uint8)]))

    def reply(arrays: dict[str, Values], client: int, round: int) -> Any:
        return content({"0": np.zeros(100 + client, np.uint8)})

    strategy = Defended("krum")
    run(strategy, {"0": np.zeros(3, np.float32)}, reply)
    assert "FedXgbBagging" in strategy.outcome.dropped[0]
