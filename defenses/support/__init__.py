"""What rules and purifiers share: memory by client, root sets, training on the server's data."""
