"""Many libraries by name in one process, and their searchers: opened when asked for, bounded, shared by threads."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from library_world import ColourEncoder, write_small_library

from ragdemo.errors import UserError
from ragdemo.library import vectors
from ragdemo.library.catalogue import Catalogue, group_of, page_of
from ragdemo.library.recent import Recent
from ragdemo.library.searchers import Searchers
from ragdemo.library.vectors import Embedded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("mine", "a fox"):
        write_small_library(tmp_path / "libraries" / name, 12)
    (tmp_path / "libraries" / "notes").mkdir()
    shutil.copytree(
        tmp_path / "libraries" / "mine", tmp_path / "libraries" / "pocket"
    )  # never hides a shipped one
    return tmp_path / "libraries"


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "PART", 4)


def test_names_are_shipped_ones_and_the_users(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Catalogue(folder).names() == ("pocket", "a fox", "mine")
    assert Catalogue(folder / "nowhere").names() == ("pocket",)
    monkeypatch.setenv("RAGDEMO_LIBRARIES", str(folder))
    assert Catalogue().names() == ("pocket", "a fox", "mine")
    assert Catalogue().open("pocket").folder != folder / "pocket"


@pytest.mark.parametrize(
    "name", ["../libraries/mine", "notes", "/etc/passwd", "", ".", "mine/", "MINE", "a\0b", "n" * 5000]
)
def test_only_names_are_taken_unless_paths_are_allowed(name: str, folder: Path) -> None:
    with pytest.raises(UserError, match="choose one of pocket, a fox, mine") as caught:
        Catalogue(folder).open(name)
    assert len(str(caught.value)) < 160
    assert str(caught.value).isprintable()


def test_paths_are_taken_where_they_are_allowed(folder: Path) -> None:
    catalogue = Catalogue(folder, allow_paths=True)
    assert catalogue.open(str(folder / "mine")).rows == catalogue.open("mine").rows
    for name in ("nowhere", "n" * 5000, "a\0b"):
        with pytest.raises(UserError, match="There is no library in"):
            catalogue.open(name)


def test_a_library_is_opened_once_and_again_when_it_has_changed(folder: Path) -> None:
    catalogue = Catalogue(folder)
    library = catalogue.open("mine")
    assert catalogue.open("mine") is library
    path = folder / "mine" / "metadata.jsonl"
    path.write_text(path.read_text().replace("a red", "a scarlet"))
    assert catalogue.open("mine").fingerprint != library.fingerprint


def test_a_damaged_library_names_no_folder_of_the_server(folder: Path) -> None:
    (folder / "mine" / "metadata.jsonl").write_text("{")
    with pytest.raises(UserError, match="'mine' is damaged") as caught:
        Catalogue(folder).open("mine")
    assert str(folder) not in str(caught.value)
    with pytest.raises(UserError, match="Line 1"):
        Catalogue(folder, allow_paths=True).open("mine")


def test_browsing_filters_and_slices(folder: Path) -> None:
    path = folder / "mine" / "metadata.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("\n".join(json.dumps(row | {"kind": row["colour"]}) for row in rows))
    catalogue = Catalogue(folder)
    page = catalogue.browse("mine", "red", 1, 1)
    assert ([row.id for row in page.rows], page.total) == (["image-004"], 3)
    assert [row.id for row in catalogue.browse("mine", None, -5, 2).rows] == ["image-000", "image-001"]
    assert catalogue.browse("mine", None, 11, 9).rows == catalogue.open("mine").rows[11:]
    assert catalogue.browse("mine", "robot").total == 0


def test_only_the_most_recently_used_are_kept() -> None:
    recent: Recent[str, list[str]] = Recent(2)
    first = recent.get("a", lambda: ["a"])
    recent.get("b", lambda: ["b"])
    assert recent.get("a", lambda: ["new"]) is first
    recent.get("c", lambda: ["c"])  # drops b
    assert recent.get("a", lambda: ["new"]) is first
    assert recent.get("b", lambda: ["new"]) == ["new"]
    assert len(recent) == 2


def test_threads_that_ask_at_once_share_one_value() -> None:
    recent: Recent[int, list[int]] = Recent(3)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: recent.get(number % 2, lambda: [number]), range(200)))
    assert {id(value) for value in found} == {id(found[0]), id(found[1])}


@pytest.mark.usefixtures("small_parts")
def test_embedding_is_reported_and_done_once(folder: Path) -> None:
    library, encoder, searchers = Catalogue(folder).open("mine"), ColourEncoder(), Searchers()
    seen: list[Embedded] = []
    searcher = searchers.get(library, encoder, progress=seen.append)
    assert seen == [Embedded(done, 12) for done in (0, 4, 8, 12)]
    assert searchers.get(library, encoder, progress=seen.append) is searcher
    assert len(seen) == 4
    assert searchers.get(library, ColourEncoder("2")) is not searcher
    assert searcher.search_text("a blue square", 1)[0].caption.startswith("a blue")


@pytest.mark.usefixtures("small_parts")
def test_threads_embed_a_library_once(folder: Path) -> None:
    library, encoder, searchers = Catalogue(folder).open("mine"), ColourEncoder(), Searchers()
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: searchers.get(library, encoder), range(6)))
    assert {id(searcher) for searcher in found} == {id(found[0])}
    assert encoder.images_seen == 12


def test_a_failed_embedding_can_be_tried_again(folder: Path) -> None:
    library, searchers = Catalogue(folder).open("mine"), Searchers()
    with pytest.raises(KeyboardInterrupt):
        searchers.get(library, ColourEncoder(patience=0))
    assert len(searchers.get(library, ColourEncoder())) == 12


def test_the_oldest_searcher_is_dropped(folder: Path) -> None:
    catalogue, searchers = Catalogue(folder), Searchers(limit=1)
    first = searchers.get(catalogue.open("mine"), ColourEncoder())
    searchers.get(catalogue.open("a fox"), ColourEncoder())
    assert searchers.get(catalogue.open("mine"), ColourEncoder()) is not first


def test_one_of_each_group_stands_for_all_of_it(tmp_path: Path) -> None:
    library = write_small_library(tmp_path / "mine", 6)
    whole = page_of(library)
    assert whole.sizes == ()
    page = page_of(library, one_of_each=True)
    groups = [group_of(row) for row in library.rows]
    assert [group_of(row) for row in page.rows] == list(dict.fromkeys(groups))
    assert page.sizes == tuple(groups.count(name) for name in dict.fromkeys(groups))
    assert sum(page.sizes) == whole.total
