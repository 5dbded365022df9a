"""Purifiers, one file each. Every module here registers what it defines."""
