"""`library`: anybody's pictures become a library that every command takes by its name, whatever interrupts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from library_world import picture

from ragdemo.cli import main
from ragdemo.errors import UserError
from ragdemo.library import ingest as ingesting
from ragdemo.library.building import JOURNAL_FILE, Building
from ragdemo.library.catalogue import Catalogue
from ragdemo.library.ingest import ingest

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of libraries."""
    monkeypatch.setenv("RAGDEMO_LIBRARIES", str(tmp_path / "libraries"))
    return tmp_path / "libraries"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Six pictures in a folder, one file that is none, and one picture twice."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed, colour in enumerate(("red", "green", "blue", "red", "green", "blue")):
        picture(seed, colour).save(folder / f"{colour}-square-{seed}.png")
    picture(0, "red").save(folder / "same.bmp")
    (folder / "broken.png").write_text("no picture")
    return folder


def test_a_library_is_built_listed_shown_searched_and_removed(
    libraries: Path, source: Path, capsys: Captured, cache: Path
) -> None:
    assert main(["library", "build", str(source), "--name", "squares"]) == 0
    built = capsys.readouterr()
    assert built.out == f"squares: 6 pictures in {libraries / 'squares'}\n"
    assert "left out: broken.png: broken.png cannot be read" in built.err
    assert "same picture as red-square-0: same.bmp" in built.err
    assert "6 of 6 pictures embedded" in built.err
    assert main(["library", "list"]) == 0
    assert f"squares  6 pictures  {libraries / 'squares'}" in capsys.readouterr().out
    assert main(["search", "a blue square", "--library", "squares", "--k", "2", "--json"]) == 0
    assert {row["id"] for row in json.loads(capsys.readouterr().out)} <= {
        path.stem for path in source.glob("*-square-*")
    }
    assert main(["library", "show", "squares", "--verify", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["pictures"], shown["damaged"], shown["columns"]) == (6, [], {"file": 6})
    assert any(cache.rglob("vectors.safetensors"))
    assert main(["library", "remove", "squares"]) == 2  # nobody is there to ask
    assert (libraries / "squares").is_dir()
    assert main(["library", "remove", "squares", "--yes"]) == 0
    assert list(libraries.iterdir()) == []
    assert not any(cache.rglob("vectors.safetensors"))


def test_a_finished_build_is_not_made_again(libraries: Path, source: Path, capsys: Captured) -> None:
    build = ["library", "build", str(source), "--name", "squares", "--no-embed"]
    assert main(build) == 0
    before = (libraries / "squares" / "library.json").stat().st_mtime_ns
    assert main(build) == 0
    assert "made of this already" in capsys.readouterr().err
    assert (libraries / "squares" / "library.json").stat().st_mtime_ns == before
    assert main([*build, "--max-side", "64"]) == 2  # another library would need another name
    assert "not empty" in capsys.readouterr().err


def test_a_benchmark_says_what_a_library_lacks(
    libraries: Path, source: Path, capsys: Captured, tmp_path: Path
) -> None:
    main(["library", "build", str(source), "--name", "squares", "--no-embed"])
    assert main(["bench", "--library", "squares", "--out", str(tmp_path / "out.json")]) == 2
    assert "does not say which species and scene" in capsys.readouterr().err


def test_a_damaged_picture_is_found(libraries: Path, source: Path, capsys: Captured) -> None:
    main(["library", "build", str(source), "--name", "squares", "--no-embed"])
    file = libraries / "squares" / "images" / "blue-square-2.webp"
    data = file.read_bytes()
    file.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    capsys.readouterr()
    assert main(["library", "show", "squares", "--verify", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["damaged"] == ["blue-square-2"]


@pytest.mark.parametrize(
    "name", ["", " ", "..", ".hidden", "a/b", "a\\b", "a\nb", "x" * 200, "pocket", "\udcff"]
)
def test_a_name_that_cannot_be_one_is_refused(name: str, libraries: Path, source: Path) -> None:
    with pytest.raises(UserError, match="name"):
        Catalogue().new_folder(name)
    assert main(["library", "build", str(source), "--name", name]) == 2
    assert not libraries.exists()


def test_no_other_folder_can_be_removed(libraries: Path, source: Path, tmp_path: Path) -> None:
    main(["library", "build", str(source), "--name", "squares", "--no-embed"])
    for name in ("pocket", "..", "../pictures", "gone", str(source)):
        assert main(["library", "remove", name, "--yes"]) == 2
    assert source.is_dir()
    assert (libraries / "squares").is_dir()


def test_a_build_that_is_killed_loses_a_batch_at_most(libraries: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    total, batch = 5 * ingesting.BATCH, ingesting.BATCH
    for seed in range(total):
        picture(seed, size=16).resize((400, 400)).save(folder / f"{seed:03}.jpg", quality=60)
    command = [
        sys.executable,
        "-m",
        "ragdemo",
        "library",
        "build",
        str(folder),
        "--name",
        "many",
        "--no-embed",
    ]
    journal = libraries / ".many.building" / JOURNAL_FILE
    started = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while _lines(journal) < batch and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    kept = _lines(journal)
    assert batch <= kept < total
    assert not (libraries / "many").exists()
    with journal.open("ab") as file:
        file.write(b'{"name": "torn')  # as a disk that was full leaves it
    seen: list[int] = []
    made = ingest(folder, libraries / "many", "many", progress=lambda done, _: seen.append(done))
    assert seen[0] == kept
    assert kept % batch == 0
    assert len(made.library) == total
    assert [row.extra["file"] for row in made.library.rows] == sorted(os.listdir(folder))
    assert [path.name for path in libraries.iterdir()] == ["many"]


def test_what_has_changed_since_is_read_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting, "BATCH", 2)
    calls: list[int] = []

    def stop(done: int, _total: int) -> None:
        calls.append(done)
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(source, tmp_path / "library", progress=stop)
    picture(99, "yellow").save(source / "blue-square-5.png")
    made = ingest(source, tmp_path / "library", progress=lambda done, _: calls.append(done))
    assert calls[3] == 1  # what came before the change in the order of names is kept
    assert made.library.image("blue-square-5").getpixel((5, 5))[0] > 120  # type: ignore[index]
    assert len(made.library) == 6


def test_two_builds_of_one_library_do_not_meet(source: Path, tmp_path: Path) -> None:
    with Building(tmp_path / "library", "library", {}), pytest.raises(UserError, match="being built already"):
        ingest(source, tmp_path / "library")


def test_a_downloaded_library_builds_the_same_again(source: Path, tmp_path: Path) -> None:
    first = ingest(source, tmp_path / "first").library
    again = ingest(tmp_path / "first", tmp_path / "again").library
    assert [(row.id, row.caption, row.extra) for row in again.rows] == [
        (row.id, row.caption, row.extra) for row in first.rows
    ]


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
