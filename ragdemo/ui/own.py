"""A visitor's own pictures: read once when they arrive, then files by content in a folder of the session."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from markupsafe import Markup
from PIL import Image

from ragdemo.errors import UserError
from ragdemo.files import write_atomically
from ragdemo.images import encode_png, image_sha256, read_image
from ragdemo.recipe import UNKNOWN_CONTENT
from ragdemo.request import MAX_OWN_IMAGES, ImageRef, folded
from ragdemo.sessions import SessionFolder, new_session_folder
from ragdemo.ui.markup import data_url, render

_THUMBNAIL_SIDE = 128
_LONGEST_NAME = 120
_SHORT = 8  # letters of a hash in a card
_TOO_MANY = f"A run takes {MAX_OWN_IMAGES} pictures of yours at most; remove one first."


@dataclass(frozen=True)
class Shelf:
    """At most `MAX_OWN_IMAGES` pictures; `folder` is made for the first one and goes with the last shelf in it."""

    folder: SessionFolder | None = None
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
        folder = self.folder or new_session_folder()
        # also a known one: a cleaner of temporary files may have taken it
        write_atomically(folder.path / f"{sha256}.png", encode_png(image))
        new = () if is_known else (ImageRef(sha256=sha256, name=name[-255:]),)
        return Shelf(folder, (*self.refs, *new))

    def renamed(self, sha256: str, name: str) -> Shelf:
        """With another name for a picture; raises `UserError` if it is none."""
        words = folded(name, "name")[:_LONGEST_NAME]
        refs = tuple(
            ref.changed(name=f"{words}{PurePath(ref.name).suffix}") if _has(ref, sha256) else ref
            for ref in self.refs
        )
        return replace(self, refs=refs)

    def removed(self, sha256: str) -> Shelf:
        """Without a picture."""
        refs = tuple(ref for ref in self.refs if not _has(ref, sha256))
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


def _has(ref: ImageRef, sha256: str) -> bool:
    """Whether a picture is meant by its hash or, as a card has it, by the beginning of that."""
    return len(sha256) >= _SHORT and ref.sha256.startswith(sha256)


def _is_same(here: ImageRef, wanted: ImageRef) -> bool:
    if wanted.sha256 == UNKNOWN_CONTENT:
        return here.name == wanted.name
    return here.sha256 == wanted.sha256
