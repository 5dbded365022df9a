"""Data sets, partitioners, models, the one training loop, flat parameter vectors and metrics."""
