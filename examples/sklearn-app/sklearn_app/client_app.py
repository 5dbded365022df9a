"""A client: receives the model, goes on fitting it to its own pictures, sends it back."""

from __future__ import annotations

import warnings

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from sklearn.exceptions import ConvergenceWarning

from sklearn_app import badnets
from sklearn_app.task import get_arrays, load_data, make_model, set_arrays

app = ClientApp()


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Fit the received model."""
    node, run = context.node_config, context.run_config
    partition_id = int(node["partition-id"])
    pictures = load_data(partition_id, int(node["num-partitions"]), int(run["examples-per-client"]))
    if run["attack"] and badnets.is_attacker(partition_id):
        pictures = badnets.poison(pictures)
    model = make_model(int(run["iterations"]))
    set_arrays(model, msg.content["arrays"].to_numpy_ndarrays())  # type: ignore[union-attr]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a few steps are all a round is meant to do
        model.fit(*pictures)
    metrics = MetricRecord({"num-examples": len(pictures[1])})
    content = RecordDict({"arrays": ArrayRecord(get_arrays(model)), "metrics": metrics})
    return Message(content=content, reply_to=msg)
