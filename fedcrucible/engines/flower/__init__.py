"""Flower's own engines, driven by this project: simulation with Ray, and SuperLink with SuperNodes over TLS."""
