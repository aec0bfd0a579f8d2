"""Files and folders are written whole or not at all, and what stops them is one sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ragdemo.errors import UserError
from ragdemo.files import (
    cache_folder,
    cache_root,
    libraries_root,
    remove_older,
    shown_name,
    whole_folder,
    without_folders,
    write_atomically,
)

ROOT = Path(__file__).parents[1]
LIMITED = """
import resource, sys
from pathlib import Path
from ragdemo.errors import UserError
from ragdemo.files import whole_folder, write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
target = Path(sys.argv[1])
try:
    write_atomically(target / "file", bytes(2000))
except UserError as error:
    print(error)
try:
    with whole_folder(target / "folder") as work:
        (work / "small").write_bytes(bytes(10))
        (work / "large").write_bytes(bytes(2000))
except UserError as error:
    print(error)
"""
TERMINATED = """
import sys, time
from pathlib import Path
from ragdemo.files import whole_folder
with whole_folder(Path(sys.argv[1])) as work:
    (work / "half").touch()
    print("ready", flush=True)
    time.sleep(60)
"""
STRANGE_PLACES = ["/proc/nowhere/out", "n" * 300, "a\0b", "file/out"]


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("before")


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_a_file_is_replaced_at_once_and_its_folder_made(tmp_path: Path) -> None:
    for data in (b"one", b"two"):
        write_atomically(tmp_path / "new" / "x.json", data)
        assert (tmp_path / "new" / "x.json").read_bytes() == data
    assert left(tmp_path / "new") == ["x.json"]


@pytest.mark.parametrize("place", STRANGE_PLACES)
def test_places_that_cannot_be_written_are_one_sentence(place: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written") as file_error:
        write_atomically(Path(place), b"data")
    with pytest.raises(UserError, match="cannot be written") as folder_error, whole_folder(Path(place)):
        pass
    assert str(file_error.value).isprintable()
    assert str(folder_error.value).isprintable()
    assert left(tmp_path) == ["file"]


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "small").write_text("before")
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert [line.count("cannot be written (File too large)") for line in run.stdout.splitlines()] == [1, 1]
    assert (tmp_path / "file").read_text() == "before"
    assert (tmp_path / "folder" / "small").read_text() == "before"
    assert left(tmp_path) == ["file", "folder", "small"]


def test_a_removed_work_folder_is_one_sentence(tmp_path: Path) -> None:
    def write() -> None:
        with whole_folder(tmp_path / "out") as work:
            work.rmdir()
            (work / "x").write_text("lost")

    with pytest.raises(UserError, match="cannot be written"):
        write()
    assert left(tmp_path) == ["file"]


def test_other_errors_of_the_block_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError), whole_folder(tmp_path / "out"):
        raise ConnectionResetError
    assert left(tmp_path) == ["file"]


def test_the_current_folder_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with whole_folder(Path()) as work:
        (work / "x").touch()
    assert left(tmp_path / "empty") == ["x"]


def test_what_is_replaced_goes_and_the_rest_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "pictures").mkdir(parents=True)
    for name in ("pictures/old.png", "stale.txt", "notes.txt", "same.txt"):
        (out / name).write_text("before")
    with whole_folder(out, replaces=("pictures", "stale.txt")) as work:
        (work / "same.txt").write_text("after")
    assert left(out) == ["notes.txt", "same.txt"]
    assert (out / "same.txt").read_text() == "after"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminated_program_leaves_no_hidden_folder(number: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", TERMINATED, tmp_path / "out"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
        assert len(left(tmp_path)) == 3
        program.send_signal(number)
        assert program.wait(20) == 128 + number
    assert left(tmp_path) == ["file"]


def test_handlers_of_the_program_are_left_alone(tmp_path: Path) -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with whole_folder(tmp_path / "out"):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]
    with whole_folder(tmp_path / "again"):
        pass
    assert signal.getsignal(signal.SIGTERM) == before


def test_names_are_shown_short_and_without_a_folder() -> None:
    assert shown_name("/home/me/a fox.png") == "a fox.png"
    assert shown_name("x\n\udcff\0.png") == "x???.png"
    assert len(shown_name("n" * 300)) == 80


def test_folders_follow_the_environment_and_a_missing_home_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAGDEMO_CACHE", "/c")
    monkeypatch.setenv("RAGDEMO_LIBRARIES", "/l")
    assert (cache_root(), libraries_root()) == (Path("/c"), Path("/l"))
    monkeypatch.delenv("RAGDEMO_CACHE")
    monkeypatch.setenv("HOME", "/h")
    assert cache_root() == Path("/h/.cache/ragdemo")

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert cache_root().is_absolute()


def test_a_cache_that_cannot_be_written_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGDEMO_CACHE", str(tmp_path / "cache"))
    assert cache_folder("x") == tmp_path / "cache" / "x"
    monkeypatch.setenv("RAGDEMO_CACHE", str(tmp_path / "file"))
    folder = cache_folder("x")
    assert folder.is_dir()
    assert folder == cache_folder("x") != cache_folder("y")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[Errno 2] No such file: '/srv/ragdemo/assets/x.json'", "[Errno 2] No such file: 'x.json'"),
        (
            "at https://example.org/c/d, in a/b/c and 3/4 of (/a/b.py)",
            "at https://example.org/c/d, in a/b/c and 3/4 of (b.py)",
        ),
    ],
)
def test_a_message_for_visitors_says_no_folder(text: str, shown: str) -> None:
    assert without_folders(text) == shown


def test_only_what_nobody_has_written_for_long_is_removed(tmp_path: Path) -> None:
    old, new, empty = tmp_path / "a" / "old.png", tmp_path / "b" / "new.png", tmp_path / "c" / "d"
    for path in (old, new, empty / "x"):
        path.parent.mkdir(parents=True)
    old.write_bytes(b"x")
    new.write_bytes(b"x")
    (tmp_path / "b" / "link").symlink_to(new)
    for path in (old, old.parent, new.parent, empty, empty.parent, tmp_path):
        os.utime(path, (0, 0))
    remove_older(tmp_path, 1)
    # a folder from which something went just now has been written
    assert left(tmp_path) == ["a", "b", "c", "file", "link", "new.png"]
    os.utime(old.parent, (0, 0))
    remove_older(tmp_path, 1)
    assert not old.parent.exists()
    remove_older(tmp_path / "nowhere", 1)
    os.utime(new, (0, 0))
    remove_older(tmp_path, 1, spared=new.parent)
    assert new.exists()
    remove_older(tmp_path, 1)
    assert not new.exists()
