"""A rehearsal: a whole federation on this machine, with real processes, in which things go wrong on purpose."""
