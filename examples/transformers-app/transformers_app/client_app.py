"""A client: receives the model or the adapter, trains it on its own texts, sends it back."""

from __future__ import annotations

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from transformers_app import addsent
from transformers_app.task import make_model, receive, sent
from transformers_app.task import train as fit
from transformers_app.texts import load_data

app = ClientApp()


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Train what was received."""
    node, run = context.node_config, context.run_config
    partition_id, seed = int(node["partition-id"]), int(run["seed"])
    texts = load_data(partition_id, int(node["num-partitions"]), int(run["examples-per-client"]))
    if run["attack"] and addsent.is_attacker(partition_id):
        texts = addsent.poison(texts)
    model = make_model(int(run["lora-rank"]), seed)
    receive(model, msg.content["arrays"].to_torch_state_dict())  # type: ignore[union-attr]
    loss = fit(
        model,
        texts,
        epochs=int(run["local-epochs"]),
        lr=float(run["learning-rate"]),
        batch_size=int(run["batch-size"]),
        seed=1000 * seed + partition_id,
    )
    metrics = MetricRecord({"train_loss": loss, "num-examples": len(texts[0])})
    return Message(RecordDict({"arrays": ArrayRecord(sent(model)), "metrics": metrics}), reply_to=msg)
