"""A node's own images are its partition: used whole, with the server's classes, shape and normalisation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from PIL import Image

from attacks.poisoner import Poisoner
from client_app.app import app
from client_app.collusion import colluding_partitions
from client_app.local_data import clean_data, data_info, local_rows, local_share, poisoned_data
from client_app.own_data import own_splits
from client_app.round_cache import RoundCache
from client_app.session import Session, local_model, own_info, run_config
from fedcrucible.engines.in_process import run_in_process
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.datasets import DATASETS, DatasetSource, PublishedData, Reading, load_task
from fedcrucible_core.learning.weights import Weights
from fedcrucible_core.records import files
from fedcrucible_core.records.reader import parsed, read
from fedcrucible_core.records.site_matrix import SiteMatrix
from fedcrucible_core.records.verification import verify
from fedcrucible_core.reports.pages.run_report import render_report
from server_app.plan import Plan
from server_app.run import execute
from strategies.messages import MODEL, from_arrays, train_content
from strategies.nodes import TooFewNodesError

CPU = torch.device("cpu")
SERVER = ("cat", "dog", "owl")


@dataclass(frozen=True)
class Folder:
    """What lies in a node's folder."""

    names: tuple[str, ...] = SERVER
    counts: tuple[int, ...] = (20, 20, 20)
    shape: tuple[int, int, int] = (1, 8, 8)
    mean: float = 0.5

    def write(self, root: Path) -> str:
        """Images whose pattern tells their class by name, whatever its number."""
        labels = np.repeat(np.arange(len(self.names)), self.counts)
        patterns = [np.random.default_rng(list(name.encode())).integers(0, 250, size=self.shape) for name in self.names]
        noise = np.random.default_rng(sum(self.counts)).integers(0, 5, size=(len(labels), *self.shape))
        images = (np.array(patterns)[labels] + noise).astype(np.uint8)
        root.mkdir(parents=True)
        np.savez(root / "set.npz", images=images, labels=labels, names=np.array(self.names), mean=self.mean)
        return str(root)


@pytest.fixture(autouse=True)
def invented() -> Iterator[None]:
    """A data set ``invented`` that is read from a folder."""

    @DATASETS.register("invented")
    class Invented(DatasetSource):
        """For tests."""

        def read(self, root: Path, reading: Reading = Reading()) -> PublishedData:  # noqa: B008
            if not (root / "set.npz").is_file():
                raise ConfigError("task.dataset", "invented", f"absent in {root}")
            with np.load(root / "set.npz") as saved:
                images, labels = torch.from_numpy(saved["images"]), torch.from_numpy(saved["labels"])
                names, mean = tuple(str(n) for n in saved["names"]), (float(saved["mean"]),)
            info = DataInfo("invented", names, tuple(images.shape[1:]), mean, (0.25,))
            data = Labeled(images, labels)
            return PublishedData(info, data, data)

        def prepare(self, root: Path) -> None:
            raise NotImplementedError

    yield
    del DATASETS._classes["invented"]


def settings(root: Path, **more: Scalar) -> dict[str, Scalar]:
    """A run whose server's folder is ``root``."""
    return {
        "strategy": "fedavg",
        "run.rounds": 1,
        "run.device": "cpu",
        "adversary.malicious_fraction": 0.0,
        "task.dataset": "invented",
        "task.data_dir": str(root),
        "task.train_samples": 0,
        "task.validation_fraction": 0.0,
        "model.name": "logistic",
        "partition.name": "iid",
        "federation.clients": 3,
        "federation.wait_for_clients_s": 0.0,
        "federation.own_data": True,
        "federation.max_examples": 500,
        "training.batch_size": 16,
        "output.report": False,
        **{key.replace("__", "."): value for key, value in more.items()},
    }


@pytest.fixture
def server(tmp_path: Path) -> Path:
    return Path(Folder().write(tmp_path / "server"))


def own(folder: str | Path, **more: Scalar) -> dict[str, Scalar]:
    return {"data-dir": str(folder), "own-data": True, **more}


def context(config: RunConfigBase, partition: int = 0, **node: Scalar) -> Context:
    node_config = {"partition-id": partition, **{key.replace("_", "-"): value for key, value in node.items()}}
    return Context(run_id=1, node_id=2, node_config=node_config, state=RecordDict(), run_config=dict(flatten(config)))


def trained(config: RunConfigBase, node: dict[str, Scalar], info: DataInfo) -> Weights:
    """What a node makes of the initial model."""
    grid = LocalGrid(app, 1, flatten(config), node_configs={0: node})
    model = Weights.of(local_model(config, CPU, info))
    message = Message(content=train_content(model, 1, 1, info), message_type="train", dst_node_id=2)
    (reply,) = grid.pull_messages(grid.push_messages([message]))
    assert not reply.has_error(), reply.error.reason
    return from_arrays(reply.content[MODEL])


class TestWhatANodeTrainsOn:
    def test_its_whole_folder_under_the_servers_numbers(self, server: Path, tmp_path: Path) -> None:
        folder = Folder(names=("owl", "unused", "cat"), counts=(7, 0, 4)).write(tmp_path / "node")
        chosen = load(
            settings(server, task__train_samples=6, task__validation_fraction=0.4, task__imbalance_factor=2.0)
        )
        node = context(chosen, 2, data_dir=folder, own_data=True)
        config, server_info = run_config(node), data_info(chosen)
        info = own_info(node, config, server_info)
        assert info == server_info
        data = clean_data(config, 2, CPU, info)
        assert data.labels.tolist() == [2] * 7 + [0] * 4
        expected = load_task(load(settings(server)).task).train
        for label in (0, 2):
            pattern = expected.for_model()[expected.labels == label].mean(0)
            assert torch.allclose(data.inputs[data.labels == label].mean(0), pattern, atol=0.02), "by name, not number"
        assert len(local_rows(config, 0, info)) == 11, "whatever its number"

    def test_the_servers_normalisation_counts(self, server: Path, tmp_path: Path) -> None:
        config = load(settings(server, federation__clients=1, federation__min_replies=1))
        info = data_info(config)
        same = trained(config, own(Folder(counts=(9, 9, 9)).write(tmp_path / "a")), info)
        other = trained(config, own(Folder(counts=(9, 9, 9), mean=0.9).write(tmp_path / "b")), info)
        assert torch.equal(same.parameters, other.parameters)
        told = trained(config, own(Folder(counts=(9, 9, 9)).write(tmp_path / "c")), replace(info, mean=(0.9,)))
        assert not torch.equal(same.parameters, told.parameters)

    def test_nodes_of_one_process_never_get_each_others_images(self, server: Path, tmp_path: Path) -> None:
        config = load(settings(server, federation__own_data=False))
        info, seen = data_info(config), []
        shared = clean_data(config, 0, CPU)
        for name, counts in (("a", (5, 5, 5)), ("b", (5, 5, 6))):
            node = context(config, 0, data_dir=Folder(counts=counts).write(tmp_path / name), own_data=True)
            seen.append(len(clean_data(run_config(node), 0, CPU, own_info(node, run_config(node), info))))
        assert seen == [15, 16]
        assert len(shared) == 20
        at_the_servers = context(config, 0, data_dir=str(server), own_data=True)
        assert len(clean_data(run_config(at_the_servers), 0, CPU, info)) == 60

    def test_an_attacker_poisons_its_own_images_and_works_alone(self, server: Path, tmp_path: Path) -> None:
        folder = Folder(counts=(5, 6, 7)).write(tmp_path / "node")
        chosen = load(settings(server, adversary__malicious_ids="0,1", poison__ratio=1.0))
        node = context(chosen, 0, data_dir=folder, own_data=True, role="malicious")
        config, info = run_config(node), data_info(chosen)
        attack = config.component("attack", "badnets")
        assert isinstance(attack, Poisoner)
        poisoned = poisoned_data(config, attack, 0, 0, CPU, info)
        assert len(poisoned) == 18
        assert bool((poisoned.labels == 0).all())
        model = local_model(config, CPU, info)
        session = Session(config, 0, 1, 3, model, Weights.of(model), CPU, shares_data=False, own=info)
        assert colluding_partitions(session) == (0,)
        cache = RoundCache()
        cache.once(session, "key", lambda: "own")
        assert cache.once(replace(session, own=None), "key", lambda: "shared") == "shared"
        assert trained(load(settings(server, federation__clients=1, federation__min_replies=1)),
                       own(folder, role="malicious"), info) is not None  # fmt: skip


class TestWholeRuns:
    def test_three_folders_and_the_servers_test_set(self, server: Path, tmp_path: Path, runs_folder: Path) -> None:
        folders = [
            Folder(names=("cat", "dog"), counts=(40, 40)),
            Folder(names=("owl", "dog"), counts=(30, 10)),
            Folder(names=("owl", "cat", "dog"), counts=(10, 10, 20)),
        ]
        nodes = {i: own(folder.write(tmp_path / str(i))) for i, folder in enumerate(folders)}
        plan = Plan.make(load(settings(server, run__rounds=4, training__local_epochs=3)))
        grid = LocalGrid(app, 3, flatten(plan.config), node_configs=nodes)
        summary = execute(plan, grid, in_order=False)
        rounds = read(Path(summary.folder)).rounds
        assert rounds[0].notes == ("clients 0 to 2 on data of their nodes' own (own-data)",)
        assert summary.dropped == {}
        assert summary.ma_percent == 100.0, "each class by its name"
        assert list(rounds[-1].weights.values()) == pytest.approx([80 / 160, 40 / 160, 40 / 160])

    def test_each_site_measures_on_what_it_never_trains_on(
        self, server: Path, tmp_path: Path, runs_folder: Path
    ) -> None:
        counts, allowing = ((40, 40, 0), (10, 10, 20), (30, 0, 10)), 1
        nodes = {i: own(Folder(counts=count).write(tmp_path / str(i))) for i, count in enumerate(counts)}
        nodes[allowing]["measure-asr"] = True
        asked = {"federation__fraction_evaluate": 1.0, "partition__test_fraction": 0.25}
        chosen = load(settings(server, **asked))
        grid = LocalGrid(app, 3, flatten(chosen), node_configs=nodes)
        folder = Path(execute(Plan.make(chosen), grid, in_order=False).folder)
        matrix = parsed(folder / files.SITES, SiteMatrix)
        assert [row.examples for row in matrix.sites] == [20, 10, 10], "a quarter of what each holds"
        assert [row.asr_allowed for row in matrix.sites] == [i == allowing for i in range(3)]
        assert [row.asr_last_percent is None for row in matrix.sites] == [i != allowing for i in range(3)]
        node = context(chosen, 0, data_dir=nodes[0]["data-dir"], own_data=True)
        info = own_info(node, run_config(node), load_task(chosen.task).info)
        share = local_share(run_config(node), 0, info)
        assert sorted([*share.train.tolist(), *share.test.tolist()]) == list(range(80))
        assert torch.equal(share.test, local_share(run_config(node), 0, info).test), "by the seed"
        assert len(clean_data(run_config(node), 0, CPU, info)) == 60

    def test_a_server_without_test_data_says_so_and_sites_measure(
        self, server: Path, tmp_path: Path, runs_folder: Path
    ) -> None:
        nodes = {i: own(Folder(counts=(20, 20, 20)).write(tmp_path / str(i))) for i in range(3)}
        asked: dict[str, Scalar] = {"federation__fraction_evaluate": 1.0, "partition__test_fraction": 0.25}
        measured, silent = (
            execute(Plan.make(chosen), LocalGrid(app, 3, flatten(chosen), node_configs=nodes), in_order=False)
            for chosen in (load(settings(server, **asked)), load(settings(server, **asked, task__eval_split="none")))
        )
        assert silent.parameters_sha256 == measured.parameters_sha256
        assert (silent.ma_percent, silent.asr_percent, silent.state) == (None, None, "ok")
        assert silent.clients == measured.clients is not None
        assert any("the server has no test data and measured nothing" in note for note in silent.notes)
        page = render_report(Path(silent.folder), tsne_images=0).read_text(encoding="utf-8")
        assert "The server measured nothing. By their own word sites reach" in page
        assert 'class="heat sites"' in page
        assert verify(Path(silent.folder)).whole

    @pytest.mark.parametrize(
        ("changes", "said"),
        [({}, "nobody would measure the model"),
         ({"strategy": "pruning", "federation__fraction_evaluate": 1.0, "partition__test_fraction": 0.2},
          "repair 'pruning' needs the server to measure")],
    )  # fmt: skip
    def test_somebody_must_measure(self, changes: dict[str, Scalar], said: str, server: Path) -> None:
        with pytest.raises(ConfigError, match=rf"task.eval_split = 'none': {said}"):
            Plan.make(load(settings(server, task__eval_split="none", **changes)))

    def test_a_node_that_doesnt_fit_is_named_at_the_start(self, server: Path, tmp_path: Path) -> None:
        nodes = {
            0: own(Folder(names=("cat", "dgo"), counts=(5, 5)).write(tmp_path / "0")),
            1: own(Folder(shape=(3, 8, 8)).write(tmp_path / "1")),
            2: own(Folder(counts=(0, 0, 0)).write(tmp_path / "2")),
            3: own(tmp_path / "nowhere"),
            4: {"data-dir": str(server)},
            5: {"own-data": True},
            6: own(server, **{"own-data": "yes"}),
        }
        plan = Plan.make(load(settings(server, federation__clients=7)))
        grid = LocalGrid(app, 7, flatten(plan.config), node_configs=nodes)
        with pytest.raises(TooFewNodesError) as caught:
            execute(plan, grid, in_order=False)
        for number, cause in enumerate([
            "the server knows the classes 'cat', 'dog', 'owl', but not 1 of the 2 classes of this node",
            "images here are 3x8x8 (CxHxW), the server's 1x8x8",
            "ConfigError (task.dataset); why stands in this node's own log",
            "ConfigError (task.dataset); why stands in this node's own log",
            "own-data = False: the run's federation.own_data asks for",
            "needs data-dir too",
            "own-data = 'yes': allowed: true, false",
        ]):  # fmt: skip
            part = str(caught.value).split(f"node {number + 2}: ")[1].split("; no")[0]
            assert cause in part
        assert "dgo" not in str(caught.value)
        assert str(tmp_path) not in str(caught.value)

    def test_a_node_that_stops_fitting_is_dropped_and_named(
        self, server: Path, tmp_path: Path, runs_folder: Path
    ) -> None:
        nodes = {1: own(Folder(names=("cat", "emu"), counts=(5, 5)).write(tmp_path / "1"))}
        plan = Plan.make(load(settings(server, federation__own_data=False)))
        grid = LocalGrid(app, 3, flatten(plan.config), node_configs=nodes)
        last = read(Path(execute(plan, grid, in_order=True).folder)).rounds[-1]
        assert list(last.dropped) == ["1"]
        assert "but not 1 of the 2 classes of this node" in last.dropped["1"]

    def test_one_nodes_own_images_among_shares(self, server: Path, tmp_path: Path, runs_folder: Path) -> None:
        folder = Folder(counts=(70, 0, 0)).write(tmp_path / "1")
        plan = Plan.make(load(settings(server, federation__own_data=False, federation__max_examples=69)))
        grid = LocalGrid(app, 3, flatten(plan.config), node_configs={1: own(folder)})
        rounds = read(Path(execute(plan, grid, in_order=False).folder)).rounds
        assert rounds[0].notes == ("client 1 on data of their nodes' own (own-data)",)
        assert rounds[1].dropped == {"1": "claims 70 examples, allowed 1 to 69 (federation.max_examples)"}

    def test_a_plain_data_dir_stays_a_place(self, server: Path, tmp_path: Path, runs_folder: Path) -> None:
        copy, other = Folder().write(tmp_path / "copy"), Folder(names=("dog", "cat", "owl")).write(tmp_path / "other")
        plan = Plan.make(load(settings(server, federation__own_data=False)))
        nodes = {0: {"data-dir": copy}, 1: {"data-dir": other}}
        grid = LocalGrid(app, 3, flatten(plan.config), node_configs=nodes)
        rounds = read(Path(execute(plan, grid, in_order=False).folder)).rounds
        assert rounds[1].participants == (0, 2)
        assert "3 classes here, 3 at the server, 3 of one name: other classes, or another order" in rounds[0].notes[1]


class TestTheServersSide:
    def test_its_own_images_are_shared_out_to_nobody(self, tmp_path: Path) -> None:
        few = Path(Folder(counts=(1, 1, 1)).write(tmp_path / "few"))
        Plan.make(load(settings(few, federation__clients=50)))
        with pytest.raises(ConfigError, match=r"federation.clients = 50: at most the number of training images, 3"):
            Plan.make(load(settings(few, federation__clients=50, federation__own_data=False)))

    def test_it_must_say_how_many_images_a_node_may_hold(self, server: Path) -> None:
        with pytest.raises(ConfigError, match=r"federation.max_examples = 0: with federation.own_data say"):
            Plan.make(load(settings(server, federation__max_examples=0)))

    def test_data_that_ships_are_nobodys_own(self, server: Path) -> None:
        shipped = {"task__dataset": "fashion-mnist-slice", "task__data_dir": ""}
        with pytest.raises(ConfigError, match=r"federation.own_data = True: .*ships with the package"):
            Plan.make(load(settings(server, **shipped)))
        config = load(settings(server, federation__own_data=False, **shipped))
        with pytest.raises(ConfigError, match=r"own-data = True: .*ships with the package"):
            own_info(context(config, data_dir="/here", own_data=True), config, None)

    def test_simulated_clients_have_no_data_of_their_own(self, server: Path, runs_folder: Path) -> None:
        with pytest.raises(ConfigError, match=r"federation.own_data = True: only in a deployment"):
            run_in_process(Plan.make(load(settings(server))))


class TestClassFolders:
    """Hospitals with a folder of pictures each, class by class, as ``task.dataset=folder`` reads them."""

    def write(self, root: Path, classes: dict[str, int], mode: str = "RGB", seed: int = 0) -> str:
        """``classes``: pictures by class folder; the shade tells the class."""
        rng = np.random.default_rng(seed)
        for name, count in classes.items():
            (root / name).mkdir(parents=True)
            for i in range(count):
                shade = 20 + 90 * (ord(name[-1]) % 3)
                pixels = (shade + rng.integers(0, 9, size=(8, 8) if mode == "L" else (8, 8, 3))).astype(np.uint8)
                Image.fromarray(pixels).save(root / name / f"{i}.png")
        return str(root)

    def test_every_picture_is_trained_on_under_the_servers_names(self, tmp_path: Path, runs_folder: Path) -> None:
        server = tmp_path / "server"
        self.write(server / "train", {"n01": 4, "n02": 4, "n03": 4})
        self.write(server / "test", {"n01": 9, "n02": 9, "n03": 9}, seed=1)
        nodes = {
            0: own(self.write(tmp_path / "0", {"n03": 30, "n02": 10}, seed=2)),
            1: own(self.write(tmp_path / "1", {"n01": 30, "n02": 10}, "L", seed=3)),
            2: own(
                self.write(tmp_path / "2" / "train", {"n01": 15, "n02": 10, "n03": 15}, seed=4).removesuffix("train")
            ),
        }
        self.write(tmp_path / "2" / "test", {"n01": 50})
        folder = {"task__dataset": "folder", "task__class_names": "otter|heron|tern", "task__validation_fraction": 0.3}
        plan = Plan.make(load(settings(server, **folder, run__rounds=2, federation__clients=3)))
        assert plan.data.info.own_names == ("n01", "n02", "n03")
        grid = LocalGrid(app, 3, flatten(plan.config), node_configs=nodes)
        summary = execute(plan, grid, in_order=False)
        assert summary.dropped == {}
        last = read(Path(summary.folder)).rounds[-1]
        assert list(last.weights.values()) == pytest.approx([1 / 3] * 3), "40 pictures each, nothing set aside"
        splits = own_splits(run_config(context(plan.config, 1, **nodes[1])).task, plan.data.info)
        assert splits.train.inputs.shape == (40, 3, 8, 8)
        assert splits.train.labels.bincount().tolist() == [30, 10]

    def test_one_place_for_all_is_no_nodes_own(self, tmp_path: Path) -> None:
        place = self.write(tmp_path / "server" / "train", {"a": 4, "b": 4}).removesuffix("/train")
        self.write(tmp_path / "server" / "test", {"a": 4, "b": 4})
        config = load(settings(tmp_path, task__dataset=f"folder:{place}"))
        with pytest.raises(ConfigError, match="names one place for all, whatever data-dir"):
            own_info(context(config, data_dir="/here", own_data=True), config, None)


def test_a_survey_looks_at_a_nodes_own_images(server: Path, tmp_path: Path, runs_folder: Path) -> None:
    asked: list[str] = []
    watching = ClientApp()

    @watching.train()
    def train(msg: Message, context: Context) -> Message:
        return app(msg, context)

    @watching.query()
    def query(msg: Message, context: Context) -> Message:
        return app(msg, context)

    @watching.query("survey")
    def survey(msg: Message, context: Context) -> Message:
        asked.append(str(context.node_config["data-dir"]))
        return app(msg, context)

    nodes = {i: own(Folder(counts=(8, 8, 8)).write(tmp_path / str(i))) for i in range(3)}
    shape = {"model__name": "resnet8", "model__resnet8__width": 4, "strategy": "pruning"}
    plan = Plan.make(load(settings(server, **shape)))
    grid = LocalGrid(watching, 3, flatten(plan.config), node_configs=nodes)
    summary = execute(plan, grid, in_order=False)
    assert len(set(asked)) == 3
    assert summary.dropped == {}


def test_a_nodes_classes_are_matched_as_class_folders_are() -> None:
    from client_app.own_data import _server_labels

    server = DataInfo("server", ("C", "C++", "ankle boot", "猫"), (1, 8, 8), (0.5,), (0.5,))
    names = ("Ankle_Boot", "C", "c++", "猫")
    assert _server_labels(torch.tensor([3, 0, 1, 2]), names, server).tolist() == [3, 2, 0, 1]
    with pytest.raises(ConfigError, match="but not 1 of the 1 classes of this node") as caught:
        _server_labels(torch.tensor([0]), ("狗",), server)
    assert "but not this node's '狗'" in str(caught.value.__cause__), "for the node's own log"
    with pytest.raises(ConfigError, match="'ankle-boot' and 'ankle_boot' can each be meant by 'ankle boot'"):
        _server_labels(torch.tensor([0, 1]), ("ankle_boot", "ankle-boot"), server)
