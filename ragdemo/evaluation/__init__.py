"""Measuring: what a method changes, against its controls, with intervals."""
