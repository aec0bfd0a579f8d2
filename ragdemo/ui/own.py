"""A visitor's own pictures: read once when they arrive, then files by content in a folder of the session."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from ragdemo.errors import UserError
from ragdemo.files import cache_folder, write_atomically
from ragdemo.images import encode_png, image_sha256, read_image
from ragdemo.recipe import UNKNOWN_CONTENT
from ragdemo.request import MAX_OWN_IMAGES, ImageRef
from ragdemo.ui.markup import data_url, render

OWN_FOLDER = "own"  # below the cache's root
STATE_HOURS = 24  # that a visitor's pictures and last run are kept without a press
_THUMBNAIL_SIDE = 128
_TOO_MANY = f"A run takes {MAX_OWN_IMAGES} pictures of yours at most; remove one first."


@dataclass(frozen=True)
class Shelf:
    """At most `MAX_OWN_IMAGES` pictures; `folder` is made for the first one and goes with the last shelf in it."""

    folder: _Folder | None = None
    refs: tuple[ImageRef, ...] = ()

    def added(self, path: str | Path) -> Shelf:
        """With a picture file's pixels; raises `UserError` if it cannot be read or there is no room."""
        return self.holding(Path(path).name, read_image(path))

    def holding(self, name: str, image: Image.Image) -> Shelf:
        """With a picture; raises `UserError` if there is no room."""
        sha256 = image_sha256(image)
        is_known = sha256 in {ref.sha256 for ref in self.refs}
        if not is_known and len(self.refs) == MAX_OWN_IMAGES:
            raise UserError(_TOO_MANY)
        folder = self.folder or _new_folder()
        # also a known one: a cleaner of temporary files may have taken it
        write_atomically(folder.path / f"{sha256}.png", encode_png(image))
        new = () if is_known else (ImageRef(sha256=sha256, name=name[-255:]),)
        return Shelf(folder, (*self.refs, *new))

    def removed(self, sha256: str) -> Shelf:
        """Without a picture."""
        refs = tuple(ref for ref in self.refs if ref.sha256 != sha256)
        for gone in set(self.refs) - set(refs):
            self._path(gone.sha256).unlink(missing_ok=True)
        return replace(self, refs=refs)

    def pictures(self, refs: Iterable[ImageRef]) -> dict[str, Image.Image]:
        """The pixels of pictures by their sha256; those that are gone are left out."""
        paths = {ref.sha256: self._path(ref.sha256) for ref in refs if ref in self.refs}
        return {sha256: read_image(path) for sha256, path in paths.items() if path.is_file()}

    def found(self, wanted: Iterable[ImageRef]) -> tuple[ImageRef, ...]:
        """The pictures that a recipe names, by content, or by name if it knows no more.

        Raises `UserError` with the names of those that are not here.
        """
        pairs = [(ref, next((one for one in self.refs if _is_same(one, ref)), None)) for ref in wanted]
        if lacking := [ref.name for ref, here in pairs if here is None]:
            raise UserError(
                f"The picture used {', '.join(lacking)} of yours; add that first, then open it again."
            )
        return tuple(here for _, here in pairs if here is not None)

    def delete(self) -> None:
        """Remove the folder."""
        if self.folder:
            self.folder.delete()

    def html(self) -> Markup:
        """The pictures as a list, each with a button that removes it."""
        urls = [(ref, data_url(image, _THUMBNAIL_SIDE)) for ref, image in self._shown()]
        return render("own.html", pictures=urls)

    def _shown(self) -> Iterable[tuple[ImageRef, Image.Image]]:
        pictures = self.pictures(self.refs)
        return ((ref, pictures[ref.sha256]) for ref in self.refs if ref.sha256 in pictures)

    def _path(self, sha256: str) -> Path:
        assert self.folder is not None, "a picture is on a shelf with a folder"
        return self.folder.path / f"{sha256}.png"


class _Folder:
    """The files of one session; a session that Gradio drops, without a word, takes them along."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._finalizer = weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)

    def __deepcopy__(self, _memo: object) -> _Folder:
        return self  # Gradio copies a state's first value

    def delete(self) -> None:
        """Remove them."""
        self._finalizer()


@cache
def _root() -> tempfile.TemporaryDirectory[str]:
    """The folder of all sessions, which ends with this process."""
    return tempfile.TemporaryDirectory(dir=cache_folder(OWN_FOLDER))


def _new_folder() -> _Folder:
    try:
        os.makedirs(_root().name, mode=0o700, exist_ok=True)  # a cleaner of temporary files may have taken it
        return _Folder(Path(tempfile.mkdtemp(dir=_root().name)))
    except OSError as error:
        raise UserError(
            f"The server has no room for pictures ({error.strerror}); try again later."
        ) from error


def _is_same(here: ImageRef, wanted: ImageRef) -> bool:
    if wanted.sha256 == UNKNOWN_CONTENT:
        return here.name == wanted.name
    return here.sha256 == wanted.sha256
