"""The attacker's view on a real client: training, colluders, memory, what is computed once, the simulated server."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from flwr.app import Context, Message, RecordDict

from attacks.adversary import ATTACKS, Adversary
from attacks.poisoner import POISONERS, Poisoner
from attacks.schedule import malicious_partitions
from client_app import benign, malicious
from client_app.app import app
from client_app.attacker import Attacker
from client_app.collusion import colluding_partitions
from client_app.local_data import clean_data, data_info
from client_app.memory import read_memory, write_memory
from client_app.round_cache import RoundCache
from client_app.session import Session, train_reply
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.learning.models import ModelSpec
from fedcrucible_core.learning.training import TrainingHook
from fedcrucible_core.learning.vector import flatten_buffers, flatten_parameters
from fedcrucible_core.learning.weights import Weights
from strategies.messages import MODEL, from_arrays, train_content
from strategies.sampling import sample
from tests.support.quick_attacks import COLOUR_ALONE, quick_keys

SETTINGS: dict[str, Scalar] = {
    "federation.clients": 6,
    "task.train_samples": 240,
    "partition.name": "iid",
    "model.name": "resnet8",
    "model.resnet8.width": 4,
    "adversary.malicious_ids": "1,3,4",
    "training.batch_size": 16,
    "run.device": "cpu",
}


def config(**more: Scalar) -> RunConfigBase:
    return load({**SETTINGS, **{key.replace("__", "."): value for key, value in more.items()}})


def session(partition: int = 1, number: int = 1, chosen: RunConfigBase | None = None, **more: object) -> Session:
    chosen = chosen or config()
    spec = chosen.component("model", chosen.model.name)
    assert isinstance(spec, ModelSpec)
    model = spec.build(data_info(chosen), chosen.run.seed)
    received = Weights(flatten_parameters(model), flatten_buffers(model))
    return Session(chosen, partition, number, 6, model, received, torch.device("cpu"), **more)


def message() -> Message:
    """The training message of round 1."""
    grid = LocalGrid(app, 6, {})  # gives this process the identity that messages carry
    return grid.create_message(train_content(session().received, 1, 6), "train", 2, "")


def view(name: str = "lp", **more: object) -> Attacker:
    made = session(**more)
    return Attacker.of(made, Adversary.of(load({"attack.name": name})).poisoner)


class TestTraining:
    def test_the_clean_model_is_what_an_honest_client_uploads(self) -> None:
        honest = benign.update(session())
        ours = view().clean_model()
        assert torch.equal(ours.parameters, honest.weights.parameters)
        assert torch.equal(ours.buffers, honest.weights.buffers)
        assert ours.loss == honest.loss

    def test_training_starts_where_it_is_told_with_the_settings_given(self) -> None:
        attacker = view()
        first = attacker.train(attacker.clean)
        again = attacker.train(attacker.clean, start=first.weights, purpose="second")
        assert not torch.equal(first.parameters, again.parameters)
        assert not torch.equal(first.buffers, again.buffers)
        still = attacker.train(attacker.clean, settings=attacker.training.model_copy(update={"lr": 1e-30}))
        assert torch.allclose(still.parameters, attacker.w_global, atol=1e-20)
        other = attacker.train(attacker.clean, purpose="other")
        assert not torch.equal(first.parameters, other.parameters), "each purpose has its own shuffles"
        assert torch.equal(attacker.train(attacker.clean).parameters, first.parameters)

    def test_every_round_and_every_client_shuffles_anew(self) -> None:
        data = view().clean
        trained = [
            view(partition=partition, number=number).train(data).parameters
            for partition, number in ((1, 1), (1, 2), (3, 1), (4, 1))
        ]
        for i, one in enumerate(trained):
            assert not any(torch.equal(one, other) for other in trained[:i])
        assert torch.equal(view().train(data).parameters, trained[0])

    def test_a_hook_reaches_the_loop(self) -> None:
        class Freeze(TrainingHook):
            def after_backward(self, model: torch.nn.Module) -> None:
                for parameter in model.parameters():
                    assert parameter.grad is not None
                    parameter.grad.zero_()

        attacker = view()
        assert torch.equal(attacker.train(attacker.clean, hook=Freeze()).parameters, attacker.w_global)

    def test_predictions_are_those_of_the_vectors_given(self) -> None:
        attacker = view()
        trained = attacker.train(attacker.clean)
        images = attacker.clean.inputs
        attacker.train(attacker.clean, purpose="in between")
        attacker.session.load(trained.weights)
        attacker.session.model.eval()
        with torch.no_grad():
            expected = attacker.session.model(images).argmax(1)
        attacker.train(attacker.clean, purpose="in between")
        assert torch.equal(attacker.predict(trained.weights, images), expected)
        share = float((expected == attacker.clean.labels).double().mean())
        assert attacker.accuracy(trained.weights, attacker.clean) == share

    def test_the_gradient_is_the_received_models(self) -> None:
        attacker = view()
        first = attacker.gradient(attacker.clean)
        attacker.train(attacker.clean)
        assert torch.equal(attacker.gradient(attacker.clean), first)
        assert first.shape == attacker.w_global.shape

    def test_poisoned_copies_are_added_to_clean_images(self) -> None:
        attacker = view()
        rows = torch.tensor([0, 5, 7, 9])
        both = attacker.with_poisoned_copies(rows, "p")
        assert torch.equal(both.inputs[:4], attacker.clean.inputs[rows])
        assert torch.equal(both.labels[:4], attacker.clean.labels[rows])
        others = int((attacker.clean.labels[rows] != attacker.target).sum())
        assert len(both) == 4 + others
        assert bool((both.labels[4:] == attacker.target).all())
        assert bool((both.inputs[4:, :, -1, -1] == 1).all())

    def test_data_attacks_upload_what_they_always_did(self) -> None:
        made = session()
        attack = made.config.component("attack", "badnets")
        assert isinstance(attack, Poisoner)
        seen = Attacker.of(made, attack)
        expected = made.fit(seen.poisoned, "train")
        upload = malicious.update(made)
        assert torch.equal(upload.weights.parameters, expected.parameters)
        assert torch.equal(upload.weights.buffers, expected.buffers)
        assert (upload.num_examples, upload.loss) == (len(seen.poisoned), expected.loss)

    def test_a_resting_attacker_is_honest(self) -> None:
        resting = session(chosen=config(adversary__start_round=5, attack__name="sign-flip"))
        assert malicious.update(resting).weights.equals(benign.update(resting).weights)


class TestCollusion:
    def test_members_are_the_groups_participants(self) -> None:
        assert colluding_partitions(session(3)) == (1, 3, 4)
        assert [member.partition for member in view(partition=3).colluders] == [1, 3, 4]

    def test_members_who_are_not_sampled_are_not_there(self) -> None:
        chosen = config(federation__fraction_train=0.5, federation__clients=20, adversary__malicious_fraction=0.4,
                        adversary__malicious_ids="")  # fmt: skip
        group = malicious_partitions(chosen)
        for number in range(1, 8):
            drawn = sample(range(20), chosen, number, frozenset(group))
            expected = tuple(partition for partition in drawn if partition in group)
            if expected:
                assert colluding_partitions(session(expected[0], number, chosen)) == expected

    def test_one_that_nobody_expected_is_a_member_all_the_same(self) -> None:
        chosen = config(federation__fraction_train=0.34, federation__min_replies=1)  # 2 of 6
        for number in range(1, 9):
            assert all(own in colluding_partitions(session(own, number, chosen)) for own in (1, 3, 4))

    @pytest.mark.parametrize(
        ("partition", "settings", "node"),
        [
            (3, {"adversary__collusion": "alone"}, {}),
            (3, {}, {"shares_data": False}),
            (2, {}, {}),  # made malicious by hand
        ],
    )
    def test_alone(self, partition: int, settings: dict[str, Scalar], node: dict[str, object]) -> None:
        assert colluding_partitions(session(partition, 1, config(**settings), **node)) == (partition,)

    def test_a_data_folder_of_its_own_makes_a_node_alone(self) -> None:
        seen: list[bool] = []

        def answer(made: Session) -> object:
            seen.append(made.shares_data)
            return benign.update(made)

        chosen = config()
        for node in ({}, {"data-dir": "/nowhere"}):
            context = Context(1, 2, {"partition-id": 1, **node}, RecordDict(), dict(flatten(chosen)))
            train_reply(message(), context, answer)
        assert seen == [True, False]

    def test_a_members_clean_update_is_what_that_member_computes_itself(self) -> None:
        updates = view(partition=4).clean_updates()
        for row, partition in zip(updates, (1, 3, 4), strict=True):
            own = benign.update(session(partition))
            assert torch.equal(row, own.weights.parameters - session().received.parameters)

    def test_a_member_poisons_with_its_own_part(self) -> None:
        members = view(partition=3).colluders
        assert [member.part for member in members] == [0, 1, 2]
        for member, partition in zip(members, (1, 3, 4), strict=True):
            assert torch.equal(member.clean.labels, clean_data(config(), partition, torch.device("cpu")).labels)

    def test_another_members_memory_stays_with_it(self) -> None:
        made = session(3)
        write_memory(made.state, {"secret": torch.ones(2)})
        seen = Attacker.of(made, made.config.component("attack", "lp"))
        assert [set(member.memory) for member in seen.colluders] == [set(), {"secret"}, set()]


class TestOnce:
    def test_one_computation_a_round_for_all_members(self) -> None:
        cache, calls = RoundCache(), list[int]()

        def compute() -> int:
            calls.append(1)
            return len(calls)

        assert [cache.once(session(p), "a", compute) for p in (1, 3, 4)] == [1, 1, 1]
        assert cache.once(session(1), "b", compute) == 2
        assert cache.once(session(1, number=2), "a", compute) == 3
        assert cache.once(session(1, number=2), "a", compute) == 3
        assert cache.once(session(1, number=1), "a", compute) == 4, "an earlier round is forgotten"

    def test_another_model_or_configuration_is_another_round(self) -> None:
        cache, made = RoundCache(), session()
        assert cache.once(made, "a", lambda: 1) == 1
        moved = Weights(made.received.parameters + 1, made.received.buffers)
        assert cache.once(replace(made, received=moved), "a", lambda: 2) == 2
        assert cache.once(made, "a", lambda: 3) == 3
        assert cache.once(session(chosen=config(run__seed=9)), "a", lambda: 4) == 4

    def test_a_group_of_three_trains_three_clean_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        trained: list[int] = []
        fit = Session.fit

        def counting(self: Session, *args: object, **more: object) -> object:
            trained.append(self.partition)
            return fit(self, *args, **more)

        monkeypatch.setattr(Session, "fit", counting)
        chosen = config(attack__name="alie", run__seed=77)
        for partition in (1, 3, 4):
            malicious.update(session(partition, 1, chosen))
        assert sorted(trained) == [1, 3, 4]


class TestMemory:
    def test_tensors_come_back_bit_for_bit(self) -> None:
        state = RecordDict()
        kept = {
            "f": torch.tensor([[1.5, float("-inf")], [3e-45, -0.0]]),
            "i": torch.tensor(7, dtype=torch.int64),
            "b": torch.tensor([True, False]),
        }
        write_memory(state, kept)
        found = read_memory(state)
        assert found.keys() == kept.keys()
        for name, tensor in kept.items():
            assert found[name].dtype == tensor.dtype
            assert found[name].shape == tensor.shape
            assert torch.equal(found[name], tensor)

    def test_what_was_read_may_be_changed(self) -> None:
        state = RecordDict()
        write_memory(state, {"a": torch.zeros(2)})
        read_memory(state)["a"].add_(1)
        assert read_memory(state)["a"].tolist() == [0, 0]

    def test_nothing_is_kept_where_nothing_is_remembered(self) -> None:
        state = RecordDict()
        write_memory(state, {})
        assert len(state) == 0
        write_memory(state, {"a": torch.zeros(1)})
        write_memory(state, {})
        assert read_memory(state) == {}

    def test_an_upload_leaves_its_memory_in_the_nodes_state(self) -> None:
        chosen = config(attack__name="neurotoxin", attack__neurotoxin__reference="last-update")
        made = session(chosen=chosen)
        malicious.update(made)
        assert torch.equal(read_memory(made.state)["neurotoxin.global"], made.received.parameters)


class TestSimulation:
    def crowd(self, attacker: Attacker) -> torch.Tensor:
        """Six updates close together and three far away."""
        rng = torch.Generator().manual_seed(1)
        rows = 0.01 * torch.randn(9, len(attacker.w_global), generator=rng)
        rows[6:] += 1.0
        return rows

    @pytest.mark.parametrize("rule", ["server", "clip-fed-filter", "flame"])
    def test_filters_reject_the_far_ones(self, rule: str) -> None:
        attacker = view(chosen=config(strategy="clip-fed"))
        accepted = attacker.simulate(rule, self.crowd(attacker))
        assert accepted is not None
        assert accepted.tolist()[6:] == [False] * 3
        assert int(accepted.sum()) >= 5

    def test_averaging_rejects_nobody(self) -> None:
        attacker = view(chosen=config(strategy="fedavg"))
        accepted = attacker.simulate("server", self.crowd(attacker))
        assert accepted is not None
        assert bool(accepted.all())

    def test_the_rules_own_settings_count(self) -> None:
        loose = config(**{"defense__fedavg__max_weight": 0.5}, strategy="fedavg")
        assert view(chosen=loose).simulate("server", self.crowd(view())) is not None

    def test_a_rule_that_cannot_judge_says_nothing(self) -> None:
        attacker = view()
        broken = self.crowd(attacker)
        broken[0, 0] = float("nan")
        assert attacker.simulate("fedavg", broken) is None

    def test_the_simulation_is_the_same_every_time(self) -> None:
        attacker = view()
        rows = self.crowd(attacker)
        assert torch.equal(attacker.simulate("flame", rows), attacker.simulate("flame", rows))


@pytest.mark.parametrize("name", [n for n in ATTACKS if n != "none" and n not in COLOUR_ALONE])
def test_two_nodes_of_one_partition_upload_the_same(name: str) -> None:
    texts: dict[str, Scalar] = {"task__dataset": "wn4", "model__name": "distilbert-tiny"}
    more = texts if name in POISONERS and POISONERS[name].task == "text" else quick_keys(name)
    chosen = config(**more, attack__name=name)
    first, second = (malicious.update(session(3, 1, chosen)) for _ in range(2))
    assert first.weights.equals(second.weights)


def test_the_reply_holds_the_upload() -> None:
    chosen = config(attack__name="sign-flip")
    context = Context(1, 2, {"partition-id": 1}, RecordDict(), dict(flatten(chosen)))
    reply = train_reply(message(), context, malicious.update)
    sent = from_arrays(reply.content.array_records[MODEL])
    honest = benign.update(session(chosen=chosen)).weights.parameters
    g = session().received.parameters
    assert torch.allclose(sent.parameters - g, -(honest - g), atol=1e-6)
