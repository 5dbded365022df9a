"""A deployment from one description: as processes of this machine, and as containers."""
