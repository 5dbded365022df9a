"""Aggregation rules, purifiers and what they are made of: functions over tensors, no Flower."""
