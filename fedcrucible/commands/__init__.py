"""The commands of ``fedcrucible``, one module each; what they need is imported when they run."""
