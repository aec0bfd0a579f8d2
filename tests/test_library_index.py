"""Vectors of a library: every image once, resumed after a stop, never stale, never damaged unseen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from library_world import ColourEncoder, picture, write_small_library

from ragdemo.errors import UserError
from ragdemo.library import vectors
from ragdemo.library.index import open_index
from ragdemo.library.store import Library, open_library
from ragdemo.library.vectors import VECTORS, default_folder


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return write_small_library(tmp_path / "library", 23)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "BATCH", 4)
    monkeypatch.setattr(vectors, "PART", 8)


def test_every_image_is_embedded_the_tail_included(library: Library) -> None:
    encoder = ColourEncoder()
    index = open_index(library, encoder)
    assert index.ids == tuple(row.id for row in library.rows)
    assert encoder.images_seen == 23
    assert encoder.batches[-1] == 3
    direct = encoder.embed_images([library.image(image_id) for image_id in index.ids])
    np.testing.assert_allclose(index.matrix, direct, atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(index.matrix, axis=1), 1, atol=1e-6)


def test_an_index_is_made_once_and_answers_alike_when_read_back(library: Library) -> None:
    made = open_index(library, ColourEncoder())
    encoder = ColourEncoder()
    read = open_index(library, encoder)
    assert encoder.images_seen == 0
    np.testing.assert_array_equal(made.matrix, read.matrix)


def test_embedding_resumes_where_it_was_stopped(library: Library) -> None:
    with pytest.raises(KeyboardInterrupt):
        open_index(library, ColourEncoder(patience=18))  # two parts of eight are done by then
    encoder = ColourEncoder()
    index = open_index(library, encoder)
    assert encoder.images_seen == 23 - 16
    assert len(index) == 23
    assert not list((default_folder(library, encoder) / "parts").iterdir())


def test_opening_reports_the_progress_of_embedding(library: Library) -> None:
    seen: list[vectors.Embedded] = []
    open_index(library, ColourEncoder(), progress=seen.append)
    assert seen == [vectors.Embedded(done, 23) for done in (0, 8, 16, 23)]


@pytest.mark.parametrize("flat_limit", [100, 10])
def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    library: Library, flat_limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = open_index(library, ColourEncoder())
    (tmp_path / "file").touch()
    monkeypatch.setenv("RAGDEMO_CACHE", str(tmp_path / "file" / "cache"))
    index = open_index(library, ColourEncoder(), flat_limit=flat_limit)
    np.testing.assert_array_equal(index.matrix, kept.matrix)
    with pytest.raises(UserError, match="cannot be written"):
        open_index(library, ColourEncoder(), tmp_path / "file" / "index")


def test_a_changed_image_is_embedded_again_and_only_it(library: Library) -> None:
    before = open_index(library, ColourEncoder())
    picture(500, "blue").save(library.path("image-000"), format="WEBP", quality=90)
    encoder = ColourEncoder()
    after = open_index(library, encoder)
    assert encoder.images_seen == 1
    assert np.abs(after.matrix[0] - before.matrix[0]).max() > 0.1
    np.testing.assert_array_equal(after.matrix[1:], before.matrix[1:])


def test_vectors_follow_content_not_position(library: Library) -> None:
    before = open_index(library, ColourEncoder())
    path = library.folder / "metadata.jsonl"
    path.write_text("\n".join(reversed(path.read_text().splitlines())))
    encoder = ColourEncoder()
    after = open_index(open_library(library.folder), encoder)
    assert encoder.images_seen == 0
    assert after.ids == before.ids[::-1]
    np.testing.assert_array_equal(after.matrix, before.matrix[::-1])


def test_another_encoder_shares_nothing(library: Library, tmp_path: Path) -> None:
    open_index(library, ColourEncoder("1"), tmp_path / "index")
    encoder = ColourEncoder("2")
    open_index(library, encoder, tmp_path / "index")
    assert encoder.images_seen == 23


@pytest.mark.parametrize("position", [0, 100, -20])
def test_damaged_vectors_are_made_again(library: Library, position: int) -> None:
    made = open_index(library, ColourEncoder())
    path = default_folder(library, ColourEncoder()) / VECTORS.file
    damaged = bytearray(path.read_bytes())
    damaged[position] ^= 0xFF
    path.write_bytes(damaged)
    encoder = ColourEncoder()
    again = open_index(library, encoder)
    assert encoder.images_seen == 23
    np.testing.assert_array_equal(again.matrix, made.matrix)


def test_truncated_vectors_are_made_again(library: Library) -> None:
    open_index(library, ColourEncoder())
    path = default_folder(library, ColourEncoder()) / VECTORS.file
    path.write_bytes(path.read_bytes()[:-1])
    encoder = ColourEncoder()
    open_index(library, encoder)
    assert encoder.images_seen == 23


def test_vectors_shipped_with_a_library_are_used_and_not_copied(library: Library, cache: Path) -> None:
    open_index(library, ColourEncoder(), library.folder / "index")
    encoder = ColourEncoder()
    index = open_index(library, encoder)
    assert (encoder.images_seen, len(index)) == (0, 23)
    assert not (cache / "index").exists()


def test_unreadable_images_are_listed_and_the_rest_is_found(library: Library) -> None:
    library.path("image-004").write_bytes(b"no picture")
    library.path("image-007").unlink()
    index = open_index(library, ColourEncoder())
    assert index.unreadable == ("image-004", "image-007")
    assert len(index) == 21
    for row in library.rows:
        library.path(row.id).unlink(missing_ok=True)
    with pytest.raises(UserError, match="No image"):
        open_index(library, ColourEncoder())


def test_vectors_that_are_not_finite_are_refused(library: Library) -> None:
    class Broken(ColourEncoder):
        def embed_images(self, images: list) -> np.ndarray:
            return super().embed_images(images) * np.nan

    with pytest.raises(UserError, match="not finite"):
        open_index(library, Broken())


@pytest.mark.parametrize("flat_limit", [100, 10])
def test_nearest_equals_brute_force(library: Library, flat_limit: int) -> None:
    index = open_index(library, ColourEncoder(), flat_limit=flat_limit)
    allowed = np.arange(len(index)) % 3 == 0
    for query in index.matrix:
        exact = index.matrix @ query
        found = index.nearest(query, 6)
        assert [row for row, _ in found] == list(np.argsort(-exact)[:6])
        np.testing.assert_allclose([score for _, score in found], np.sort(exact)[::-1][:6], atol=1e-5)
        expected = [row for row in np.argsort(-exact) if allowed[row]]
        assert [row for row, _ in index.nearest(query, 100, allowed)] == expected
    assert index.nearest(index.matrix[0], 3, np.zeros(len(index), bool)) == []


def test_a_graph_is_kept_checked_and_built_again(library: Library) -> None:
    folder = default_folder(library, ColourEncoder())
    open_index(library, ColourEncoder(), flat_limit=10)
    stamp = (folder / "graph.faiss").stat().st_mtime_ns
    index = open_index(library, ColourEncoder(), flat_limit=10)
    assert (folder / "graph.faiss").stat().st_mtime_ns == stamp
    (folder / "graph.faiss").write_bytes(b"damaged")
    again = open_index(library, ColourEncoder(), flat_limit=10)
    assert again.nearest(index.matrix[3], 4) == index.nearest(index.matrix[3], 4)
    card = json.loads((folder / "graph.json").read_text())
    picture(600, "green").save(library.path("image-001"), format="WEBP")
    open_index(library, ColourEncoder(), flat_limit=10)
    assert json.loads((folder / "graph.json").read_text())["vectors"] != card["vectors"]
