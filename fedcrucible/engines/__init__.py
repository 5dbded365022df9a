"""Engines: what carries a run - this process, Flower's simulation, or a deployment."""
