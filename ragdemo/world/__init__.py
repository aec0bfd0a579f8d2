"""The pocket world: species, scenes, renderer, captions, and the oracle that measures pictures of them.

It imports nothing of the project but its errors.
"""
