"""How a picture can be made again: a JSON record that travels inside the PNG."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ragdemo.types import Request, UserError

PNG_KEY = "ragdemo.recipe"
MOST_PIXELS = 50_000_000


@dataclass(frozen=True)
class Recipe:
    """Everything that determined a picture.

    Of a person's own images and library only the names travel with a picture: whole paths would tell about their
    machine.
    `references` are the library ids used, in order; `versions` maps package to version; `library_fingerprint` is the
    hash of the library's content and of the retriever that embedded it.
    """

    request: Request
    references: tuple[str, ...]
    library_fingerprint: str
    versions: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The recipe as JSON-ready values; `from_json` is its inverse, but for the folders of images and library."""
        data = asdict(self)
        data["request"]["library"] = Path(self.request.library).name
        data["request"]["own_images"] = tuple(Path(path).name for path in self.request.own_images)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recipe:
        """A recipe from `to_json`'s values."""
        return cls(
            request=Request.from_json(data["request"]),
            references=tuple(data["references"]),
            library_fingerprint=data["library_fingerprint"],
            versions=dict(data["versions"]),
        )


def png_with_recipe(image: Image.Image, recipe: Recipe) -> bytes:
    """`image` as a PNG that carries `recipe`."""
    info, buffer = PngInfo(), BytesIO()
    info.add_itxt(PNG_KEY, json.dumps(recipe.to_json(), ensure_ascii=False))
    image.save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def save_png(image: Image.Image, recipe: Recipe, path: Path) -> None:
    """Write `png_with_recipe` to a file."""
    path.write_bytes(png_with_recipe(image, recipe))


def read_png(path: Path) -> Recipe:
    """The recipe in a PNG; raises `UserError` where the file is no PNG or carries none."""
    damaged = f"{path.name} is not a readable picture of this demo; choose another file."
    try:
        with Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise UserError(damaged)
            image.load()
            text = image.info.get(PNG_KEY)
        if text is None:
            raise UserError(f"{path.name} carries no recipe; choose a PNG that this demo has saved.")
        return Recipe.from_json(json.loads(text))
    except UserError:
        raise
    # whatever a stranger's file may hold: no picture, a huge one, other JSON, values of other types
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SyntaxError) as error:
        raise UserError(damaged) from error
    except Image.DecompressionBombError as error:
        raise UserError(damaged) from error
