"""What the benign and the malicious client share: configuration, model, the one training loop, the reply."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict

from client_app.confidential import TellableError
from client_app.local_data import data_info
from client_app.own_data import check_data, has_own_data
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.blind import BLIND, node_settings
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.load import load
from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.device import deterministic_threads, resolve_device
from fedcrucible_core.learning.models import SplitModel
from fedcrucible_core.learning.models.base import MODELS
from fedcrucible_core.learning.rng import told_seeds, torch_generator
from fedcrucible_core.learning.training import LocalTraining, train
from fedcrucible_core.learning.weights import LocalUpdate, Trained, Weights
from strategies.messages import ATTACKED, CLIENT, METRICS, MODEL, SANITIZED, read_train, to_arrays
from strategies.payloads import PAYLOADS
from strategies.seeds import read_seeds, stand_in
from strategies.task_facts import read_task


@dataclass(frozen=True)
class Session:
    """One training message on one client."""

    config: RunConfigBase
    partition: int
    round: int
    participants: int
    model: SplitModel
    received: Weights
    device: torch.device
    state: RecordDict = field(default_factory=RecordDict)
    """What this node keeps between messages (``context.state``)."""
    shares_data: bool = True
    """False: the node has a data folder of its own, so it can't work with other clients' data."""
    own: DataInfo | None = None
    """The server's facts of the task, where this node's images are its own partition; None: it holds a share of the
    run's data set."""
    info: DataInfo | None = None
    """The server's facts of the task, where the message tells them."""
    by_seed: bool = True
    """Whether the run's seed says what this node is; False: its own configuration fixes its role."""

    def fit(
        self,
        data: Labeled,
        purpose: str,
        training: LocalTraining = train,
        *,
        start: Weights | None = None,
        settings: TrainingSection | None = None,
    ) -> Trained:
        """Train on ``data`` from the received model, or ``start``, by the run's settings, or ``settings``.

        Shuffles are drawn from (seed, purpose, round, partition).
        """
        self.load(start or self.received)
        rng = torch_generator(self.config.run.seed, purpose, self.round, self.partition)
        images, labels, precision = data.inputs.to(self.device), data.labels.to(self.device), self.config.run.precision
        loss = training(self.model, images, labels, settings or self.config.training, rng, precision=precision)
        return Trained(Weights.of(self.model), loss)

    def load(self, model: Weights) -> None:
        """Write a model's vectors into the working model."""
        model.load_into(self.model)


@lru_cache(maxsize=8)
def _config(settings: str) -> RunConfigBase:
    return load(json.loads(settings))


HIDDEN_FILE = "hidden-file"
"""Of a malicious node's own configuration: its settings in blind runs."""


def run_config(context: Context, seed: int | None = None) -> RunConfigBase:
    """The validated configuration of a run; a node's own ``data-dir`` goes before the run's.

    Of a blind run what honest clients may know of it; a malicious node's own file (``hidden-file``) goes before that.
    ``seed`` takes the place of a run's seed that this node isn't told. Raises ConfigError.
    """
    settings = dict(context.run_config)
    if settings.get(BLIND) is True:
        settings = node_settings(settings, _hidden_file(context), seed)
    settings["task.class_names"] = ""  # only the guide reads names, and a file of them lies on the server
    if "data-dir" in context.node_config:
        settings["task.data_dir"] = str(context.node_config["data-dir"])
    return _config(json.dumps(settings, sort_keys=True))


def _hidden_file(context: Context) -> str | None:
    """Where this node's settings of blind runs lie; None for a node that isn't malicious by its own configuration."""
    if context.node_config.get("role") != "malicious":
        return None
    path = context.node_config.get(HIDDEN_FILE, "")
    if not isinstance(path, str) or not path:
        allowed = "the run is blind: a malicious node needs the file of its attack's settings, an absolute path"
        raise ConfigError(f"node-config {HIDDEN_FILE}", path, allowed)
    return path


@lru_cache(maxsize=2)
def local_model(config: RunConfigBase, device: torch.device, info: DataInfo | None = None) -> SplitModel:
    """This process's model of a configuration, for the data set that ``info`` describes (None: the configured one).

    Whoever uses it loads parameters first.
    """
    spec = MODELS.of(config)
    info = info or data_info(config)
    return spec.build(info, config.run.seed, channels_last=config.run.channels_last).to(device)


def client_model(
    config: RunConfigBase, partition: int, device: torch.device, info: DataInfo | None = None
) -> SplitModel:
    """This process's model of a client's prototype, see :func:`local_model`."""
    from strategies.systems import prototype_config  # knows every defence: not before something runs

    return local_model(prototype_config(config, partition), device, info)


def own_info(context: Context, config: RunConfigBase, server: DataInfo | None) -> DataInfo | None:
    """The server's facts where this node's images are its own, else None.

    Raises ConfigError when the node can't read its data or they don't fit the server's.
    """
    own = has_own_data(context, config)
    if own and server is None:
        raise ValueError("own-data needs a server that tells which classes it has; this one doesn't")
    check_data(config, server, own)
    return server if own else None


def partition_of(context: Context) -> int:
    """This node's partition. Raises ConfigError when the node wasn't given one."""
    partition = context.node_config.get("partition-id")
    if not isinstance(partition, int) or isinstance(partition, bool):
        raise TellableError(
            "node-config partition-id", partition, "a whole number, e.g. --node-config 'partition-id=0'"
        )
    return partition


@contextlib.contextmanager
def opened(msg: Message, context: Context) -> Iterator[Session]:
    """The session of a message that carries a model, with the run's number of threads inside."""
    partition, seeds = partition_of(context), read_seeds(msg.content)
    config = run_config(context)
    if config.federation.blind:
        config = run_config(context, stand_in(seeds, partition))
    received, server_round, participants = read_train(msg.content)
    server = read_task(msg.content)
    own = own_info(context, config, server)
    device = resolve_device(config.run.device)
    with told_seeds(seeds), deterministic_threads(config.run.threads):
        yield Session(
            config=config,
            partition=partition,
            round=server_round,
            participants=participants,
            model=client_model(config, partition, device, server),
            received=received,
            device=device,
            state=context.state,
            shares_data="data-dir" not in context.node_config,
            own=own,
            info=server,
            by_seed=context.node_config.get("role", "by-seed") == "by-seed",
        )


def train_reply(msg: Message, context: Context, update: Callable[[Session], LocalUpdate]) -> Message:
    """Answer a training message with the update that ``update`` computes."""
    start = time.perf_counter()
    with opened(msg, context) as session:
        partition, done = session.partition, update(session)
    metrics = MetricRecord(
        {
            "num-examples": done.num_examples,
            "train-loss": done.loss,
            "seconds": time.perf_counter() - start,
        }
    )
    if done.attacked is not None:
        metrics[ATTACKED] = int(done.attacked)
    for name, count in done.sanitized.items():
        metrics[f"{SANITIZED}{name}"] = float(count)
    content = RecordDict(
        {
            MODEL: to_arrays(PAYLOADS[session.config.federation.payload].uploaded(done.weights, session.received)),
            METRICS: metrics,
            CLIENT: ConfigRecord({"partition-id": partition, "round": session.round}),
        }
    )
    return Message(content, reply_to=msg)
