"""Seen, missed, found: what retrieval does to an image generator, step by step."""

__version__ = "0.1.0"
