"""The local backend on tiny checkpoints of the real classes, and runs on disk."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import CAPTIONS, build_assets, build_profile

from ragdemo import profiles
from ragdemo.backend import BackendError, LocalBackend
from ragdemo.backend.recorder import read_run, whole_folder, write_run
from ragdemo.backend.telling import in_words
from ragdemo.events import Draft, Event, Progress, Result
from ragdemo.recipe import read_png
from ragdemo.types import Request, UserError

PROMPT = "a quixel butterfly in the snow"


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_assets(tmp_path_factory.mktemp("assets"))


@pytest.fixture(scope="module", autouse=True)
def tiny(assets: Path) -> None:
    """The profile "tiny" in the table of profiles."""
    profile = dataclasses.replace(
        build_profile(assets / "again"), encoder=f"local-dir:{assets / 'pocket' / 'encoder'}"
    )
    profiles.PROFILES["tiny"] = profile
    yield
    del profiles.PROFILES["tiny"]


@pytest.fixture(scope="module")
def backend(assets: Path, tiny: None) -> LocalBackend:
    return LocalBackend("tiny", str(assets / "pocket" / "library"), "cpu")


@pytest.fixture
def request_(assets: Path) -> Request:
    return Request(PROMPT, seed=3, profile="tiny", library=str(assets / "pocket" / "library"))


@pytest.fixture
def events(backend: LocalBackend, request_: Request) -> list[Event]:
    return list(backend.run(request_))


def test_the_whole_flow_through_real_classes(events: list[Event]) -> None:
    result = events[-1]
    assert isinstance(result, Result)
    assert result.recipe.references
    assert result.recipe.library_fingerprint
    assert {"ragdemo", "torch", "diffusers", "transformers", "profile"} <= set(result.recipe.versions)
    draft = next(event for event in events if isinstance(event, Draft))
    assert not np.array_equal(np.asarray(draft.image), np.asarray(result.image))
    assert all(in_words(event) for event in events)


def test_the_same_request_gives_the_same_pixels(
    events: list[Event], backend: LocalBackend, request_: Request
) -> None:
    again = list(backend.run(request_))
    assert np.array_equal(np.asarray(events[-1].image), np.asarray(again[-1].image))


def test_closing_a_run_frees_the_slot(backend: LocalBackend, request_: Request) -> None:
    stream = backend.run(dataclasses.replace(request_, settings={"steps": 200}))
    next(event for event in stream if isinstance(event, Progress))
    assert backend._slot.locked()
    closing = threading.Thread(target=stream.close)  # a page closes it from another thread than ran it
    closing.start()
    closing.join()
    assert not backend._slot.locked()


def test_one_run_at_a_time(backend: LocalBackend, request_: Request) -> None:
    first = backend.run(request_)
    next(first)
    done: list[Event] = []
    second = threading.Thread(target=lambda: done.append(list(backend.run(request_))[-1]))
    second.start()
    second.join(0.3)
    assert second.is_alive()
    first.close()
    second.join(120)
    assert isinstance(done[0], Result)


def test_search_and_browse(backend: LocalBackend) -> None:
    found = backend.search("a red car", 2)
    assert len(found) == 2
    assert found[0].score >= found[1].score
    assert backend.search(found[0].image, 1)[0].id == found[0].id
    page = backend.browse("car", 1, 5)
    assert (page.total, [item.caption for item in page.items]) == (2, [CAPTIONS[2]])
    assert backend.browse(None, 0, 2).total == 3


def test_status_goes_from_loading_to_ready(assets: Path) -> None:
    backend = LocalBackend("tiny", str(assets / "pocket" / "library"), "cpu")
    assert backend.status().state == "loading"
    backend.warm_up()
    deadline = time.monotonic() + 120
    while backend.status().state == "loading" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert backend.status().state == "ready"


def test_one_drawing_uses_the_threads_that_its_profile_names(
    assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_a_new_thread() -> int:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(torch.get_num_threads).result()

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setitem(
        profiles.PROFILES, "tiny", dataclasses.replace(profiles.PROFILES["tiny"], cpu_threads=1)
    )
    try:
        assert in_a_new_thread() == 2
        LocalBackend("tiny", str(assets / "pocket" / "library"), "cpu").toolbox()
        assert in_a_new_thread() == 1
    finally:
        torch.set_num_threads(before)


def test_a_missing_library_is_said_by_status_and_run(tmp_path: Path) -> None:
    backend = LocalBackend("tiny", str(tmp_path), "cpu")
    with pytest.raises(UserError, match="There is no library"):
        list(backend.run(Request(PROMPT, profile="tiny", library=str(tmp_path))))
    assert backend.status().state == "failed"
    assert "There is no library" in backend.status().message


def test_a_request_for_something_else_is_refused(backend: LocalBackend, request_: Request) -> None:
    for other in (
        {"profile": "pocket"},
        {"library": "other"},
        {"method": "nope"},
        {"settings": {"tempo": 1}},
    ):
        with pytest.raises(UserError):
            list(backend.run(dataclasses.replace(request_, **other)))


def test_a_breakdown_is_one_sentence_and_frees_the_slot(
    backend: LocalBackend, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    toolbox = backend._toolbox.result()

    def out_of_memory(*_: object, **__: object) -> str:
        raise RuntimeError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(type(toolbox.critic), "ask", out_of_memory)
        with pytest.raises(BackendError, match="CUDA out of memory"):
            list(backend.run(request_))
    assert isinstance(list(backend.run(request_))[-1], Result)


def test_a_run_on_disk(events: list[Event], tmp_path: Path) -> None:
    with whole_folder(tmp_path / "out") as folder:
        write_run(events, folder)
    lines = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    assert lines[-1]["event"] == "Result"
    recipe = events[-1].recipe
    named = dataclasses.replace(recipe.request, library=Path(recipe.request.library).name)
    assert read_png(tmp_path / "out" / "augmented.png") == dataclasses.replace(recipe, request=named)
    assert read_png(tmp_path / "out" / "base.png").references == ()
    references = next(line for line in lines if line["event"] == "References")["used"]
    assert {"id", "caption", "score", "concept", "file"} <= set(references[0])
    assert all((tmp_path / "out" / reference["file"]).is_file() for reference in references)


def test_a_broken_run_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> None:
        with whole_folder(tmp_path / "out") as folder:
            (folder / "base.png").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_replaces_the_first_and_keeps_other_files(events: list[Event], tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        with whole_folder(out) as folder:
            write_run(events, folder)
        (out / "notes.txt").touch()
    assert {path.name for path in out.iterdir()} == {
        "base.png",
        "augmented.png",
        "events.jsonl",
        "references",
        "notes.txt",
    }


def test_importing_the_backend_loads_no_model_library() -> None:
    code = "import sys, ragdemo.backend; sys.exit(bool({'torch', 'faiss', 'diffusers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_recorded_run_is_read_back_as_it_was(
    events: list[Event], backend: LocalBackend, tmp_path: Path
) -> None:
    with whole_folder(tmp_path / "out") as folder:
        write_run(events, folder)
    again = read_run(tmp_path / "out", backend._library().image)
    told = [event for event in events if not isinstance(event, Progress)]
    assert [type(event) for event in again] == [type(event) for event in told]
    for one, two in zip(again, told, strict=True):
        if hasattr(one, "image"):
            assert np.array_equal(np.asarray(one.image), np.asarray(two.image))
        if hasattr(one, "used"):
            assert [reference.id for reference in one.used] == [reference.id for reference in two.used]
            assert np.array_equal(np.asarray(one.used[0].image), np.asarray(two.used[0].image))
    (tmp_path / "out" / "events.jsonl").write_text("{}")
    with pytest.raises(UserError, match="record it again"):
        read_run(tmp_path / "out", backend._library().image)


def test_the_generator_alone_and_a_picture_alike(backend: LocalBackend) -> None:
    *steps, draft = backend.draw(PROMPT, 3, {"steps": 2})
    assert [event.total for event in steps] == [2, 2]
    assert isinstance(draft, Draft)
    assert not backend._slot.locked()
    assert backend.alike("ref-1", 0) == "ref-2"  # the other car
    with pytest.raises(UserError, match="no picture like 'ref-0'"):
        backend.alike("ref-0", 0)
