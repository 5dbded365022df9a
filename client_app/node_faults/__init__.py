"""Misbehaviours of a node in a rehearsal, a registered class each; a new file here needs no list."""
