"""A person's own pictures are read as every viewer shows them, or refused in one sentence before anything is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from strange_images import DATA, bombs

from ragdemo.cli.runs import own_pictures
from ragdemo.errors import UserError
from ragdemo.images import read_image
from ragdemo.request import MAX_OWN_IMAGES, Choices

UNUSABLE = bombs() | {"text.png": b"hello", "empty.png": b""}


def test_uncommon_pictures_are_used_as_they_look() -> None:
    refs, pictures = own_pictures([str(path) for path in sorted(DATA.iterdir())])
    transparent, photo, deep = (np.asarray(pictures[ref.sha256]) for ref in refs)
    assert (transparent.min(), transparent[0, 0].tolist()) == (0, [255, 255, 255])
    np.testing.assert_array_equal(photo, np.asarray(read_image(DATA / "exif_xres.jpg")))
    assert len(np.unique(deep)) == 32


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", UNUSABLE)
def test_a_picture_that_cannot_be_used_is_named_without_its_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(UNUSABLE[name])
    with pytest.raises(UserError, match=name) as caught:
        own_pictures([str(tmp_path / name)])
    assert str(tmp_path) not in str(caught.value)


def test_too_many_are_refused() -> None:
    refs, _ = own_pictures([str(DATA / "gray16.png")])
    with pytest.raises(UserError, match=f"choose {MAX_OWN_IMAGES} or fewer"):
        Choices(own=refs * (MAX_OWN_IMAGES + 1))
