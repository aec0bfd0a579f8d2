"""A library on disk: what is written is read back, and damage is one clear sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from library_world import new_images, picture, write_small_library

from ragdemo.errors import UserError
from ragdemo.library.store import NewImage, file_sha256, open_library, write_library


def test_rows_captions_splits_and_images_are_read_back(tmp_path: Path) -> None:
    written = write_small_library(tmp_path / "library")
    library = open_library(tmp_path / "library")
    assert library.rows == written.rows
    assert (len(library), library.name, library.splits) == (20, "small", ("eval", "train"))
    assert "image-003" in library
    assert "image-999" not in library
    assert library.caption("image-003") == "a yellow square number 3"
    assert library.row("image-003").extra["colour"] == "yellow"
    assert library.image("image-003").size == (32, 32)
    assert len(library.rows_of("eval")) == 5
    assert library.rows_of() == library.rows


def test_the_folder_is_an_imagefolder_whose_hashes_are_of_its_files(tmp_path: Path) -> None:
    write_small_library(tmp_path / "library")
    lines = (tmp_path / "library" / "metadata.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [list(row)[:4] for row in rows] == [["file_name", "text", "id", "sha256"]] * 20
    assert all(file_sha256(tmp_path / "library" / row["file_name"]) == row["sha256"] for row in rows)


def test_the_fingerprint_follows_ids_contents_and_captions_but_not_order(tmp_path: Path) -> None:
    images = new_images(6)
    base = write_library(tmp_path / "base", "base", images).fingerprint
    assert write_library(tmp_path / "order", "order", images[::-1]).fingerprint == base
    other = NewImage(images[0].id, "another caption", images[0].image)
    assert write_library(tmp_path / "caption", "caption", [other, *images[1:]]).fingerprint != base
    other = NewImage(images[0].id, images[0].caption, picture(99))
    assert write_library(tmp_path / "content", "content", [other, *images[1:]]).fingerprint != base


def test_damaged_and_missing_files_are_named_without_their_folder(tmp_path: Path) -> None:
    library = write_small_library(tmp_path / "library", 8)
    library.path("image-002").write_bytes(b"other")
    library.path("image-005").unlink()
    for image_id in ("image-002", "image-005"):
        with pytest.raises(UserError, match="cannot be read") as caught:
            library.image(image_id)
        assert str(tmp_path) not in str(caught.value)


def test_unknown_ids_and_splits_are_named(tmp_path: Path) -> None:
    library = write_small_library(tmp_path / "library", 8)
    with pytest.raises(UserError, match="no image 'nobody'"):
        library.caption("nobody")
    with pytest.raises(UserError, match="no split 'test'; it has eval, train"):
        library.rows_of("test")


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no library in"):
        open_library(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("library.json", "{"),
        ("library.json", "[]"),
        ("library.json", '{"format": 9, "count": 4}'),
        ("library.json", '{"format": 1, "count": 5}'),
        ("metadata.jsonl", "{broken"),
        ("metadata.jsonl", "[]"),
        ("metadata.jsonl", '{"file_name": "images/image-000.webp", "text": "no id"}'),
        ("metadata.jsonl", '{"file_name": "../secret.png", "text": "t", "id": "i", "sha256": "s"}'),
        ("metadata.jsonl", None),
        ("metadata.jsonl", "[" * 100_000),
        ("metadata.jsonl", "9" * 5000),
        ("metadata.jsonl", '{"file_name": "a.webp", "text": "\\ud800", "id": "i", "sha256": "s"}'),
        (
            "metadata.jsonl",
            '{"file_name": "a.webp", "text": "t", "id": "i", "sha256": "s", "split": ["eval"]}',
        ),
        ("metadata.jsonl", '{"file_name": "a.webp", "text": "t", "id": "i", "sha256": "s", "split": []}'),
        ("library.json", "[" * 100_000),
        ("library.json", '{"format": 1, "count": 4, "name": ["x"]}'),
    ],
)
def test_a_damaged_library_is_refused(tmp_path: Path, file: str, text: str | None) -> None:
    write_small_library(tmp_path / "library", 4)
    path = tmp_path / "library" / file
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(UserError):
        open_library(tmp_path / "library")


def test_a_byte_order_mark_does_not_matter(tmp_path: Path) -> None:
    before = write_small_library(tmp_path / "library", 4)
    for name in ("library.json", "metadata.jsonl"):
        path = tmp_path / "library" / name
        path.write_text(path.read_text(), encoding="utf-8-sig")
    assert open_library(tmp_path / "library").rows == before.rows


def test_an_id_that_comes_twice_is_refused(tmp_path: Path) -> None:
    write_small_library(tmp_path / "library", 4)
    path = tmp_path / "library" / "metadata.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[0]]))
    with pytest.raises(UserError, match="twice"):
        open_library(tmp_path / "library")
    with pytest.raises(UserError, match="given twice"):
        write_library(tmp_path / "twice", "twice", new_images(2) * 2)


def test_a_library_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def failing() -> object:
        yield from new_images(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_library(tmp_path / "library", "library", failing())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="no image"):
        write_library(tmp_path / "library", "library", [])
    write_small_library(tmp_path / "library", 3)
    with pytest.raises(UserError, match="not empty"):
        write_small_library(tmp_path / "library", 3)
