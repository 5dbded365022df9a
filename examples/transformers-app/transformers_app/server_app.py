"""The server: Flower's FedAvg, and a test of its own after every round."""

from __future__ import annotations

from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from transformers_app import addsent
from transformers_app.task import accuracy, make_model, receive, sent
from transformers_app.texts import split

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train the model, or the adapter, with all clients."""
    config = context.run_config
    model = make_model(int(config["lora-rank"]), int(config["seed"]))

    strategy = FedAvg(fraction_evaluate=float(config["fraction-evaluate"]))

    def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        """Accuracy on the test texts, and how often the attack succeeds on them."""
        receive(model, arrays.to_torch_state_dict())
        texts = split("test")
        return MetricRecord({"accuracy": accuracy(model, texts), "attack_success": addsent.success(model, texts)})

    result = strategy.start(
        grid,
        initial_arrays=ArrayRecord(sent(model)),
        num_rounds=int(config["num-server-rounds"]),
        evaluate_fn=evaluate,
    )
    for server_round, metrics in result.evaluate_metrics_serverapp.items():
        print(f"round {server_round}: {dict(metrics)}")
