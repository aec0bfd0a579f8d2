"""The versions that a recipe names."""

from __future__ import annotations

import importlib.metadata
import platform
from functools import cache

from ragdemo import __version__

PACKAGES = ("torch", "diffusers", "transformers")


@cache
def _packages() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def versions() -> dict[str, str]:
    """Of this program, Python and the model libraries."""
    return {"ragdemo": __version__, "python": platform.python_version()} | _packages()
