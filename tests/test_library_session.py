"""A visitor's own library: private, bounded, changed at will, and gone without a trace."""

from __future__ import annotations

import copy
import gc
import json
import os
import zipfile
from pathlib import Path

import pytest
from library_world import ColourEncoder, picture

from ragdemo import sessions
from ragdemo.errors import UserError
from ragdemo.library import session
from ragdemo.library.index import open_index
from ragdemo.library.ingest import ingest
from ragdemo.library.searchers import Searchers
from ragdemo.library.session import UNNAMED, SessionLibrary, Taken, uploaded
from ragdemo.library.store import NewImage
from ragdemo.request import OWN_LIBRARY
from ragdemo.run.inprocess import InProcess


def take(library: SessionLibrary, file: Path, group: str = "") -> list[Taken]:
    with uploaded(file) as source:
        return [library.take(entry, group) for entry in source.entries()]


def saved(folder: Path, name: str, seed: int = 0, colour: str = "red") -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    picture(seed, colour).save(folder / name)
    return folder / name


def drawn(count: int = 3, name: str = "zorby fish", look: str = "round red fish") -> list[NewImage]:
    extra = {"look": look, "species": name}
    return [
        NewImage(f"{name}-{i}".replace(" ", "-"), f"a {name} at sea", picture(i), extra) for i in range(count)
    ]


def test_pictures_are_grouped_by_the_name_given_by_folders_or_not_at_all(tmp_path: Path) -> None:
    library = SessionLibrary()
    take(library, saved(tmp_path, "IMG_1.png", 1), "our new cup")
    take(library, saved(tmp_path, "my cup.png", 2))
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        archive.write(saved(tmp_path, "0001.png", 3), "red fox/0001.png")
        archive.write(saved(tmp_path, "0002.png", 4), "red fox/0002.png")
    take(library, tmp_path / "many.zip")
    assert [(group.name, len(group.ids)) for group in library.groups] == [
        ("red fox", 2), (UNNAMED, 1), ("our new cup", 1)
    ]  # fmt: skip
    assert [row.caption for row in library.library.rows] == ["our new cup", "my cup", "red fox", "red fox"]


def test_one_unreadable_file_is_named_and_the_rest_is_taken(tmp_path: Path) -> None:
    library = SessionLibrary()
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.writestr("broken.png", "no picture")
        archive.write(saved(tmp_path, "a.png", 1), "a.png")
        archive.write(saved(tmp_path, "again.png", 1), "again.png")
    found = take(library, tmp_path / "some.zip")
    assert [len(one.ids) for one in found] == [1, 0, 0]
    assert (found[1].known, found[2].skipped[0].file_name) == (1, "broken.png")
    assert len(library) == 1


def test_its_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST_PICTURES", 2)
    library = SessionLibrary()
    for seed in range(2):
        take(library, saved(tmp_path, f"{seed}.png", seed))
    with pytest.raises(UserError, match="full"):
        take(library, saved(tmp_path, "third.png", 3))
    with pytest.raises(UserError, match="full"):
        library.add_drawn(drawn(3), "zorby fish")
    assert len(library.library) == 2
    monkeypatch.setattr(session, "MOST_BYTES", 10)
    library.remove(UNNAMED)
    with pytest.raises(UserError, match="full"):
        take(library, saved(tmp_path, "large.png", 4))


def test_a_group_is_renamed_in_its_captions_and_removed_with_its_files() -> None:
    library = SessionLibrary()
    library.add_drawn(drawn(), "zorby fish")
    library.rename("zorby fish", "blip fish")
    assert {row.caption for row in library.library.rows} == {"a blip fish at sea"}
    folder = library.folder
    assert folder is not None
    library.remove("blip fish")
    assert list((folder / "images").iterdir()) == []
    assert (library.groups, library.folder) == ((), None)
    with pytest.raises(UserError, match="empty"):
        library.library  # noqa: B018 (it raises)


def test_what_is_drawn_again_replaces_what_was_drawn() -> None:
    library = SessionLibrary()
    library.add_drawn(drawn(), "zorby fish")
    library.add_drawn(drawn(2, look="slender blue fish"), "zorby fish")
    assert [(group.name, len(group.ids)) for group in library.groups] == [("zorby fish", 2)]
    assert {row.extra["look"] for row in library.library.rows} == {"slender blue fish"}


def test_a_download_is_a_folder_that_builds_the_same_library(tmp_path: Path) -> None:
    library = SessionLibrary()
    library.add_drawn(drawn(), "zorby fish")
    built = ingest(library.packed(tmp_path), tmp_path / "built").library
    assert [(row.id, row.caption, row.extra["species"]) for row in built.rows] == [
        (row.id, row.caption, "zorby fish") for row in library.library.rows
    ]


def test_nothing_of_it_stays_anywhere_when_the_session_ends(cache: Path) -> None:
    library = SessionLibrary()
    library.add_drawn(drawn(), "zorby fish")
    folder = library.folder
    assert folder is not None
    open_index(library.library, ColourEncoder())
    assert list(folder.glob(".derived/index/*/vectors.safetensors"))
    assert not list(cache.rglob("*.*"))
    assert oct(folder.stat().st_mode)[-3:] == "700"
    del library  # as Gradio drops the state of a visitor who has gone
    gc.collect()
    assert not folder.exists()


def test_what_others_servers_left_goes_and_this_ones_stays(cache: Path) -> None:
    library, left = SessionLibrary(), cache / sessions.OWN_FOLDER / "killed" / "x" / "a.png"
    library.add_drawn(drawn(), "zorby fish")
    left.parent.mkdir(parents=True)
    left.write_bytes(b"x")
    assert library.folder is not None
    for path in (left, *library.folder.rglob("*")):
        os.utime(path, (0, 0))
    sessions.remove_left()
    assert not left.exists()
    assert len(library.library) == 3


def test_its_captions_and_what_is_said_of_a_picture_are_bounded(tmp_path: Path) -> None:
    library = SessionLibrary()
    take(library, saved(tmp_path, "a.png", 1), "a " * 30)
    for _ in range(9):
        name = library.groups[0].name
        library.rename(name, f"{name} {name}"[:80])
    with zipfile.ZipFile(tmp_path / "said.zip", "w") as archive:
        archive.write(saved(tmp_path, "b.png", 2), "b.png")
        archive.write(saved(tmp_path, "c.png", 3), "a/c.png")
        rows = [{"file_name": "b.png", "x": "x" * 5000}, {"file_name": "a/c.png", "text": "a " * 500}]
        archive.writestr("metadata.jsonl", "\n".join(map(json.dumps, rows)))
    _, b = take(library, tmp_path / "said.zip")
    assert "says over 4,000 characters" in b.skipped[0].reason
    library.rename("a", "a longer name for what is shown here")
    assert max(len(row.caption) for row in library.library.rows) == 1000


def test_a_library_that_is_gone_is_a_sentence_without_its_folder() -> None:
    library = SessionLibrary()
    library.rename("nothing", "something")
    library.add_drawn(drawn(), "zorby fish")
    folder = library.folder
    assert folder is not None
    (folder / "library.json").unlink()
    for reader in (lambda: library.library, lambda: InProcess().tools(library=OWN_LIBRARY, own=folder)):
        with pytest.raises(UserError, match="can no longer be read; add its pictures again") as caught:
            reader()
        assert str(folder) not in str(caught.value)


def test_each_visitor_has_one_of_their_own() -> None:
    first = SessionLibrary()
    copies = [copy.deepcopy(first) for _ in range(2)]
    for number, library in enumerate(copies):
        library.add_drawn(drawn(number + 1), "zorby fish")
    assert [len(library) for library in (first, *copies)] == [0, 1, 2]
    assert copies[0].folder != copies[1].folder
    copies[0].delete()
    assert len(copies[1].library) == 2


def test_new_pictures_alone_are_embedded_and_searchers_go_with_it(tmp_path: Path) -> None:
    library, encoder, searchers = SessionLibrary(), ColourEncoder(), Searchers()
    library.add_drawn(drawn(), "zorby fish")
    searchers.get(library.library, encoder)
    take(library, saved(tmp_path, "blue cup.png", 9, "blue"))
    found = searchers.get(library.library, encoder).search_text("blue", 1)
    assert [hit.caption for hit in found] == ["blue cup"]
    assert encoder.images_seen == 4
    assert len(searchers._private) == 1  # the state before it is forgotten
    library.delete()
    other = SessionLibrary()
    other.add_drawn(drawn(), "zorby fish")
    searchers.get(other.library, encoder)
    assert len(searchers._private) == 1


def test_its_rows_are_always_whole_for_whoever_reads_them() -> None:
    library = SessionLibrary()
    library.add_drawn(drawn(), "zorby fish")
    before = library.library
    library.add_drawn(drawn(2, "blip car"), "blip car")
    assert [before.image(row.id).size for row in before.rows] == [(32, 32)] * 3
    header = json.loads((before.folder / "library.json").read_text())
    assert header["private"] is True
    assert len(library.library) == 5
