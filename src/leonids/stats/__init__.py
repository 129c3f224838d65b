"""Intervals, tests and power: numpy and scipy; knows nothing of models."""
