"""A person's folder becomes a library: upright, checked, deduplicated, captioned; nothing lost unsaid."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from library_world import picture
from PIL import Image
from strange_images import DATA, bombs

from ragdemo.errors import UserError
from ragdemo.library.ingest import caption_from_name, ingest
from ragdemo.library.store import open_library


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
    captions = {row.extra["file"]: row.caption for row in made.library.rows}
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


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_strange_pictures_are_read_as_viewers_show_them_or_listed(source: Path, tmp_path: Path) -> None:
    for path in DATA.iterdir():
        (source / path.name).write_bytes(path.read_bytes())
    for name, data in bombs().items():
        (source / name).write_bytes(data)
    os.mkfifo(source / "pipe.png")
    (source / "link.png").symlink_to(source / "nowhere.png")
    made = ingest(source, tmp_path / "library")
    assert {row.id for row in made.library.rows} == {path.stem for path in DATA.iterdir()}
    assert {skip.file_name for skip in made.skipped} == {*bombs(), "pipe.png", "link.png"}
    levels = np.asarray(made.library.image("gray16"))[..., 0]
    assert levels.min() < 10 < 240 < levels.max()


def test_strange_names_and_captions_are_kept_or_listed(source: Path, tmp_path: Path) -> None:
    names = [
        "bom.png",
        "wide.png",
        "folder.png",
        "huge.png",
        "control.png",
        "\U00020000" * 60 + ".png",
        "A.png",
        "a.png",
    ]
    for seed, name in enumerate([*names, "caf\udce9.png"]):
        picture(seed).save(tmp_path / "one.png")
        (tmp_path / "one.png").rename(source / name)
    (source / "bom.txt").write_text("a fox", encoding="utf-8-sig")
    (source / "wide.txt").write_text("a füchs", encoding="utf-16")
    (source / "folder.txt").mkdir()
    (source / "huge.txt").write_text("many words " * 100_000)
    (source / "control.txt").write_text("a\0 fox\x1b[1m")
    made = ingest(source, tmp_path / "library")
    captions = {row.extra["file"]: row.caption for row in made.library.rows}
    assert set(captions) == set(names)
    assert (captions["bom.png"], captions["wide.png"], captions["folder.png"]) == (
        "a fox",
        "a füchs",
        "folder",
    )
    assert (len(captions["huge.png"]), captions["control.png"]) == (1000, "a fox[1m")
    assert len({row.id.casefold() for row in made.library.rows}) == len(names)
    assert [(skip.file_name, skip.reason) for skip in made.skipped] == [
        ("caf\\udce9.png", "The name caf?.png is not valid UTF-8; rename the file.")
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"file_name": "a.png", "split": ["eval"]}', "a split that is not a text"),
        ('{"file_name": "a.png", "split": 3}', "a split that is not a text"),
        ('{"file_name": "a.png", "split": []}', "a split that is not a text"),
        ('{"file_name": "a.png", "split": false}', "a split that is not a text"),
        ('{"file_name": "a.png", "maker": "\\ud800"}', "cannot be written again"),
        ('{"file_name": "a.png", "split": "\\udfff"}', "a split that is not a text"),
        ('{"file_name": "\\ud800.png"}', "no such image"),
    ],
)
def test_a_row_that_cannot_be_kept_is_listed(row: str, reason: str, source: Path, tmp_path: Path) -> None:
    picture(1).save(source / "a.png")
    picture(2).save(source / "b.png")
    (source / "metadata.jsonl").write_text(row, encoding="utf-8-sig")
    made = ingest(source, tmp_path / "library")
    assert [reason in skip.reason for skip in made.skipped] == [True]
    assert "b" in made.library
    assert all(skip.file_name.isascii() for skip in made.skipped)


@pytest.mark.parametrize(
    "row",
    ["[" * 100_000, '{"file_name": "a.png", "n": ' + "9" * 5000 + "}", '{"file_name": 7}', "\ufeff{}", "[]"],
)
def test_a_malformed_row_is_one_sentence(row: str, source: Path, tmp_path: Path) -> None:
    picture(1).save(source / "a.png")
    (source / "metadata.jsonl").write_text(row)
    with pytest.raises(UserError, match="Line 1"):
        ingest(source, tmp_path / "library")
    assert not (tmp_path / "library").exists()


def test_a_lone_surrogate_in_a_caption_is_dropped(source: Path, tmp_path: Path) -> None:
    picture(1).save(source / "a.png")
    (source / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "a \\ud800fox"}')
    assert ingest(source, tmp_path / "library").library.caption("a") == "a fox"


@pytest.mark.parametrize("target", ["n" * 300, "/proc/nowhere/library", "a\0b"])
def test_a_target_that_cannot_be_written_is_one_sentence(target: str, source: Path, tmp_path: Path) -> None:
    picture(1).save(source / "a.png")
    with pytest.raises(UserError, match="cannot be written"):
        ingest(source, tmp_path / target)
    with pytest.raises(UserError, match="is not a folder"):
        ingest(tmp_path / target, tmp_path / "library")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


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
    with pytest.raises(UserError, match="is not a folder"):
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
