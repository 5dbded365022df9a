"""The ground floor: configuration, learning, foundation models, records and reports of runs."""
