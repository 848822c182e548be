"""Shared by all trainings: windows in order, processes, checkpoints, metrics and the loop around the steps."""
