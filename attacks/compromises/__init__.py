"""Attacks on the server's foundation model, one file each. Every module here registers what it defines."""
