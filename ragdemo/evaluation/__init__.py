"""Measurement of what a method changes, against its controls, with intervals.

It knows the world, methods and the runner, but not how checkpoints are trained.
"""
