"""An ordinary Flower app: pictures, a small network, FedAvg."""
