"""The server: Flower's FedAvg, and a test of its own after every round."""

from __future__ import annotations

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from flower_app import badnets
from flower_app.task import Net, accuracy, test_data

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train the model with all clients."""
    config = context.run_config
    torch.manual_seed(int(config["seed"]))

    strategy = FedAvg(fraction_evaluate=float(config["fraction-evaluate"]))

    result = strategy.start(
        grid,
        initial_arrays=ArrayRecord(Net().state_dict()),
        num_rounds=int(config["num-server-rounds"]),
        train_config=ConfigRecord({"lr": float(config["learning-rate"])}),
        evaluate_fn=evaluate,
    )
    for server_round, metrics in result.evaluate_metrics_serverapp.items():
        print(f"round {server_round}: {dict(metrics)}")
    if config["save-to"]:
        torch.save(result.arrays.to_torch_state_dict(), str(config["save-to"]))


def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
    """Accuracy on the test pictures, and how often the attack succeeds on them."""
    model = Net()
    model.load_state_dict(arrays.to_torch_state_dict())
    pictures = test_data()
    return MetricRecord({"accuracy": accuracy(model, pictures), "attack_success": badnets.success(model, pictures)})
