"""The face of FedCrucible: the command, under a name that no module of a user's own has."""
