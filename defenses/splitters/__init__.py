"""Splitters of labelled data, one file each. Every module here registers what it defines."""
