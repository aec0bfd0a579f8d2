"""PNG files of results, each with its recipe inside, for the slider and the download button."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from pathlib import Path

from PIL import Image

from ragdemo.recipe import Recipe, save_png

_KEPT_FILES = 400


class PictureFolder:
    """A temporary folder that holds the newest results and disappears with the process.

    File names are made here and never taken from a person: the prompt's plain letters, the seed, and a digest of
    the recipe in the folder's name so that equal requests share a file.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ragdemo-")

    def save(self, image: Image.Image, recipe: Recipe) -> str:
        """The path of `image` as a PNG that carries `recipe`."""
        digest = hashlib.sha256(json.dumps(recipe.to_json(), sort_keys=True).encode()).hexdigest()[:16]
        name = f"{_slug(recipe.request.prompt)}-{recipe.request.seed}.png"
        path = Path(self._folder.name) / digest / name
        path.parent.mkdir(exist_ok=True)
        save_png(image, recipe, path)
        self._prune()
        return str(path)

    def _prune(self) -> None:
        files = sorted(Path(self._folder.name).glob("*/*.png"), key=lambda file: file.stat().st_mtime)
        for file in files[:-_KEPT_FILES]:
            file.unlink(missing_ok=True)


def _slug(prompt: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:48].strip("-") or "picture"
