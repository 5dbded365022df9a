"""A foreign Flower app for tests: ordinary records in, and whatever a test wants its clients to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import Result, Strategy
from numpy.typing import NDArray

from fedcrucible.engines.local_grid import LocalGrid

Values = NDArray[Any]
Reply = Callable[[dict[str, Values], int, int], RecordDict]
"""What a client answers: the arrays that it was sent, its number, the round."""


def record(arrays: Mapping[str, Values]) -> ArrayRecord:
    """Arrays as Flower sends them."""
    return ArrayRecord({key: Array(np.asarray(values)) for key, values in arrays.items()})


def values(arrays: ArrayRecord) -> dict[str, Values]:
    """The same, read."""
    return {key: array.numpy() for key, array in arrays.items()}


def content(arrays: Mapping[str, Values] | ArrayRecord, examples: Any = 10, **metrics: Any) -> RecordDict:
    """An ordinary reply."""
    sent = arrays if isinstance(arrays, ArrayRecord) else record(arrays)
    return RecordDict({"arrays": sent, "metrics": MetricRecord({"num-examples": examples, **metrics})})


def honest(arrays: dict[str, Values], client: int, round: int) -> RecordDict:
    """Floats move a little, by (client, round); whole numbers count on."""
    rng = np.random.default_rng([client, round])
    moved = {
        key: v + (0.01 * rng.standard_normal(v.shape)).astype(v.dtype) if v.dtype.kind == "f" else v
        for key, v in arrays.items()
    }
    moved |= {key: v + 1 for key, v in arrays.items() if v.dtype.kind in "iu"}
    moved |= {key: np.abs(v) for key, v in moved.items() if key.endswith("running_var")}
    return content(moved, 10 + client, train_loss=1.0)


def app_of(reply: Reply, evaluate: Callable[[int], RecordDict] | None = None, mods: Sequence[Any] = ()) -> ClientApp:
    """A ClientApp that trains by ``reply`` and evaluates by ``evaluate(client)``."""
    app = ClientApp(mods=list(mods))

    @app.train()
    def train(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        config = message.content.config_records["config"]
        sent = values(next(iter(message.content.array_records.values())))
        return Message(reply(sent, client, int(config["server-round"])), reply_to=message)  # type: ignore[arg-type]

    @app.evaluate()
    def measure(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        made = None if evaluate is None else evaluate(client)
        found = RecordDict({"metrics": MetricRecord({"num-examples": 5, "loss": 0.5})})
        return Message(found if made is None else made, reply_to=message)

    return app


def run(
    strategy: Strategy,
    arrays: Mapping[str, Values] | ArrayRecord,
    reply: Reply = honest,
    *,
    clients: int = 5,
    rounds: int = 1,
    app: ClientApp | None = None,
    **start: Any,
) -> Result:
    """A whole run in this process."""
    sent = arrays if isinstance(arrays, ArrayRecord) else record(arrays)
    return strategy.start(LocalGrid(app or app_of(reply), clients, {}), sent, num_rounds=rounds, **start)


def instead(odd: int, change: Callable[[RecordDict], RecordDict | None]) -> Reply:
    """Honest clients, but for ``odd``, whose reply is changed; None = it raises."""

    def reply(arrays: dict[str, Values], client: int, round: int) -> RecordDict:
        made = honest(arrays, client, round)
        if client != odd:
            return made
        changed = change(made)
        if changed is None:
            raise ValueError("on purpose")
        return changed

    return reply
