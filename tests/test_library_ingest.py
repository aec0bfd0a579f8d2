"""A person's folder becomes a library: upright, checked, deduplicated, captioned; nothing lost unsaid."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from library_world import picture
from PIL import Image

from ragdemo.library.ingest import caption_from_name, ingest, load_upright
from ragdemo.library.store import open_library
from ragdemo.types import UserError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def test_captions_from_metadata_sidecar_name_and_folder(source: Path, tmp_path: Path) -> None:
    (source / "quixel butterfly").mkdir()
    names = ["a.png", "b.png", "red_car-01.jpg", "quixel butterfly/0001.png", "zwölf Äpfel.webp"]
    for seed, name in enumerate(names):
        picture(seed).save(source / name)
    (source / "metadata.jsonl").write_text(
        json.dumps({"file_name": "a.png", "text": "from rows", "species": "x"})
    )
    (source / "a.txt").write_text("not this one")
    (source / "b.txt").write_text(" from a\nsidecar ")
    made = ingest(source, tmp_path / "library", "mine")
    captions = {row.extra["source"]: row.caption for row in made.library.rows}
    assert captions == {
        "a.png": "from rows",
        "b.png": "from a sidecar",
        "red_car-01.jpg": "red car",
        "quixel butterfly/0001.png": "quixel butterfly",
        "zwölf Äpfel.webp": "zwölf Äpfel",
    }
    assert made.library.row("a").extra["species"] == "x"
    assert (made.skipped, made.duplicates) == ((), ())
    assert open_library(tmp_path / "library").rows == made.library.rows


def test_exif_rotation_is_applied_and_the_metadata_left_behind(source: Path, tmp_path: Path) -> None:
    image = Image.new("RGB", (60, 40), "white")
    image.paste((255, 0, 0), (0, 0, 30, 40))  # red on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn 90° clockwise": left becomes top
    exif[0x010E] = "private"
    image.save(source / "photo.jpg", exif=exif, quality=95)
    library = ingest(source, tmp_path / "library").library
    upright = np.asarray(library.image("photo")).astype(int)
    assert upright.shape == (60, 40, 3)
    assert upright[5, :, 1].mean() < 60 < 200 < upright[-5, :, 1].mean()
    assert b"private" not in library.path("photo").read_bytes()


def test_unreadable_files_are_listed_and_not_fatal(source: Path, tmp_path: Path) -> None:
    picture(1).save(source / "good.png")
    whole = (source / "good.png").read_bytes()
    (source / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (source / "text.jpg").write_text("no picture")
    (source / "empty.webp").touch()
    Image.new("RGB", (4, 4)).save(source / "tiny.png")
    (source / "metadata.jsonl").write_text(json.dumps({"file_name": "gone.png", "text": "missing"}))
    (source / "notes.md").write_text("no image at all")
    made = ingest(source, tmp_path / "library")
    assert [row.id for row in made.library.rows] == ["good"]
    assert {skip.file_name for skip in made.skipped} == {
        "truncated.png", "text.jpg", "empty.webp", "tiny.png", "gone.png"
    }  # fmt: skip
    assert all(skip.reason for skip in made.skipped)


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(1, size=64).save(source / "bomb.png")
    monkeypatch.setattr("ragdemo.library.ingest.MAX_PIXELS", 2500)
    with pytest.raises(UserError, match="over 2,500 pixels"):
        load_upright(source / "bomb.png")


def test_the_same_picture_in_two_files_is_kept_once(source: Path, tmp_path: Path) -> None:
    picture(1).save(source / "first.png")
    picture(1).save(source / "second.bmp")
    picture(2).save(source / "third.png")
    made = ingest(source, tmp_path / "library")
    assert [row.id for row in made.library.rows] == ["first", "third"]
    assert [(again.file_name, again.id) for again in made.duplicates] == [("second.bmp", "first")]


def test_one_name_in_two_folders_gives_two_ids(source: Path, tmp_path: Path) -> None:
    for seed, name in enumerate(["x/1.png", "x-1.png", "x/1.jpg"]):
        (source / name).parent.mkdir(exist_ok=True)
        picture(seed).save(source / name)
    ids = [row.id for row in ingest(source, tmp_path / "library").library.rows]
    assert len(set(ids)) == 3


def test_large_and_transparent_images_become_small_and_white(source: Path, tmp_path: Path) -> None:
    picture(1, size=300).save(source / "large.png")
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(source / "glass.png")
    library = ingest(source, tmp_path / "library", max_side=100).library
    assert library.image("large").size == (100, 100)
    assert np.asarray(library.image("glass")).min() > 250


def test_what_cannot_be_a_source_is_named(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        ingest(tmp_path / "nowhere", tmp_path / "library")
    with pytest.raises(UserError, match="no image"):
        ingest(source, tmp_path / "library")
    (source / "metadata.jsonl").write_text('{"file_name": "../../etc/passwd", "text": "t"}')
    with pytest.raises(UserError, match="Line 1"):
        ingest(source, tmp_path / "library")


@pytest.mark.parametrize(
    ("name", "caption"),
    [
        ("IMG_1234.jpg", "IMG"),
        ("our-new_product (2).png", "our new product"),
        ("fox/12.png", "fox"),
        ("7.png", "7"),
    ],
)
def test_caption_from_name(name: str, caption: str) -> None:
    assert caption_from_name(name) == caption
