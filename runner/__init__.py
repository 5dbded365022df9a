"""The ``fedcrucible`` command and the in-process engine."""
