"""Faults of a rehearsal, a registered class each; a new file here needs no list."""
