"""A client: receives the model, trains it on its own pictures, sends it back."""

from __future__ import annotations

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from flower_app import badnets
from flower_app.task import Net, Pictures, accuracy, load_data
from flower_app.task import train as fit

app = ClientApp()


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Train the received model."""
    run, partition_id = context.run_config, int(context.node_config["partition-id"])
    model, pictures = _model(msg), _pictures(context)
    if run["attack"] and badnets.is_attacker(partition_id):
        pictures = badnets.poison(pictures)
    loss = fit(
        model,
        pictures,
        epochs=int(run["local-epochs"]),
        lr=float(msg.content["config"]["lr"]),  # type: ignore[arg-type]
        batch_size=int(run["batch-size"]),
        seed=1000 * int(run["seed"]) + partition_id,
    )
    metrics = MetricRecord({"train_loss": loss, "num-examples": len(pictures[1])})
    content = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics})
    return Message(content=content, reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context: Context) -> Message:
    """Measure the received model on the client's own pictures."""
    pictures = _pictures(context)
    metrics = MetricRecord({"eval_acc": accuracy(_model(msg), pictures), "num-examples": len(pictures[1])})
    return Message(content=RecordDict({"metrics": metrics}), reply_to=msg)


def _model(msg: Message) -> Net:
    model = Net()
    model.load_state_dict(msg.content["arrays"].to_torch_state_dict())  # type: ignore[union-attr]
    return model


def _pictures(context: Context) -> Pictures:
    node, run = context.node_config, context.run_config
    return load_data(int(node["partition-id"]), int(node["num-partitions"]), int(run["examples-per-client"]))
