"""Attacks: what is done to data, what is done to models, when and by whom; no Flower."""
