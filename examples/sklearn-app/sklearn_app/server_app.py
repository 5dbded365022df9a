"""The server: Flower's FedAvg, and a test of its own after every round."""

from __future__ import annotations

from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from sklearn_app import badnets
from sklearn_app.task import get_arrays, make_model, set_arrays, test_data

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train the model with all clients."""
    config = context.run_config

    strategy = FedAvg(fraction_evaluate=float(config["fraction-evaluate"]))

    result = strategy.start(
        grid,
        initial_arrays=ArrayRecord(get_arrays(make_model(1))),
        num_rounds=int(config["num-server-rounds"]),
        evaluate_fn=evaluate,
    )
    for server_round, metrics in result.evaluate_metrics_serverapp.items():
        print(f"round {server_round}: {dict(metrics)}")


def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
    """Accuracy on the test pictures, and how often the attack succeeds on them."""
    model, pictures = make_model(1), test_data()
    set_arrays(model, arrays.to_numpy_ndarrays())
    accuracy = float((model.predict(pictures[0]) == pictures[1]).mean())
    return MetricRecord({"accuracy": accuracy, "attack_success": badnets.success(model, pictures)})
