"""Matrices of runs: which cells there are, running those that are missing, and what came of them."""
