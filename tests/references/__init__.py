"""Slow, obvious float64 forms of what the program computes."""
