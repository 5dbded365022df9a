"""Tensor functions of defences; they know nothing of clients, rounds or configuration."""
