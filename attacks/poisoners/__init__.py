"""Poisoners: what is done to data. Every module here registers what it defines."""
