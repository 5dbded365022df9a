"""The tables of the papers as data, to stand beside our numbers."""
