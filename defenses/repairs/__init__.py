"""Repairs of the final model, one file each. Every module here registers what it defines."""
