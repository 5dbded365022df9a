"""Commands that print the figures of docs/results.md."""
