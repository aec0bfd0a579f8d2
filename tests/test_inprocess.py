"""The runner of this process on tiny checkpoints of the real classes, and runs on disk."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from library_world import write_small_library
from tiny_models import build_assets, build_profile, with_spec

from ragdemo import profiles
from ragdemo.errors import ModelError, UserError
from ragdemo.events import Draft, Event, Progress, Result
from ragdemo.models.base import CRITIC
from ragdemo.recipe import read_png
from ragdemo.request import Request
from ragdemo.run.inprocess import InProcess
from ragdemo.run.recorder import read_run, whole_folder, write_run

PROMPT = "a quixel butterfly in the snow"


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_assets(tmp_path_factory.mktemp("assets"))


@pytest.fixture(scope="module", autouse=True)
def tiny(assets: Path) -> None:
    """The profile "tiny" in the table of profiles."""
    profile = build_profile(assets / "again")
    profiles.PROFILES["tiny"] = with_spec(profile, "encoder", weights=str(assets / "pocket" / "encoder"))
    yield
    del profiles.PROFILES["tiny"]


@pytest.fixture(scope="module")
def library(assets: Path) -> str:
    return str(assets / "pocket" / "library")


def tiny_runner(library: str) -> InProcess:
    return InProcess("cpu", allow_paths=True, profile="tiny", library=library)


@pytest.fixture(scope="module")
def runner(library: str, tiny: None) -> InProcess:
    return tiny_runner(library)


@pytest.fixture
def request_(library: str) -> Request:
    return Request(prompt=PROMPT, seed=3, profile="tiny", library=library)


@pytest.fixture
def events(runner: InProcess, request_: Request) -> list[Event]:
    return list(runner.run(request_))


def test_the_whole_flow_through_real_classes(events: list[Event]) -> None:
    result = events[-1]
    assert isinstance(result, Result)
    assert result.recipe.references
    assert result.recipe.library_fingerprint
    assert {"ragdemo", "torch", "diffusers", "transformers", "profile"} <= set(result.recipe.versions)
    assert {"generator", "critic", "encoder"} <= set(result.recipe.weights)
    draft = next(event for event in events if isinstance(event, Draft))
    assert not np.array_equal(np.asarray(draft.image), np.asarray(result.image))
    assert all(event.summary for event in events)


def test_the_same_request_gives_the_same_pixels(
    events: list[Event], runner: InProcess, request_: Request
) -> None:
    again = list(runner.run(request_))
    assert np.array_equal(np.asarray(events[-1].image), np.asarray(again[-1].image))


def test_closing_a_run_frees_the_slot(runner: InProcess, request_: Request) -> None:
    stream = runner.run(request_.changed(settings={"steps": 200}))
    next(event for event in stream if isinstance(event, Progress))
    assert runner._slot.locked()
    closing = threading.Thread(target=stream.close)  # a page closes it from another thread than ran it
    closing.start()
    closing.join()
    assert not runner._slot.locked()


def test_one_run_at_a_time(runner: InProcess, request_: Request) -> None:
    first = runner.run(request_)
    next(first)
    done: list[Event] = []
    second = threading.Thread(target=lambda: done.append(list(runner.run(request_))[-1]))
    second.start()
    second.join(0.3)
    assert second.is_alive()
    first.close()
    second.join(120)
    assert isinstance(done[0], Result)


def test_search_by_words_and_by_picture(runner: InProcess, library: str) -> None:
    found = runner.search("a red car", 2, library, "tiny", hybrid=False)
    assert len(found) == 2
    assert found[0].score >= found[1].score
    assert runner.search(found[0].image, 1, library, "tiny")[0].id == found[0].id


def test_searching_does_not_wait_for_a_run(runner: InProcess, request_: Request, library: str) -> None:
    stream = runner.run(request_.changed(settings={"steps": 200}))
    next(event for event in stream if isinstance(event, Progress))
    found: list = []
    searching = threading.Thread(target=lambda: found.extend(runner.search("a red car", 1, library, "tiny")))
    searching.start()
    searching.join(30)
    stream.close()
    assert found


def test_status_goes_from_loading_to_ready(library: str) -> None:
    runner = tiny_runner(library)
    assert runner.status("tiny").state == "loading"
    runner.start()
    deadline = time.monotonic() + 120
    while runner.status("tiny").state == "loading" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert runner.status("tiny").state == "ready"


def test_one_drawing_uses_the_threads_that_its_profile_names(
    library: str, monkeypatch: pytest.MonkeyPatch
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
        tiny_runner(library).tools("tiny", library)
        assert in_a_new_thread() == 1
    finally:
        torch.set_num_threads(before)


def test_a_missing_library_is_said_by_status_and_run(tmp_path: Path) -> None:
    runner = tiny_runner(str(tmp_path))
    with pytest.raises(UserError, match="There is no library"):
        list(runner.run(Request(prompt=PROMPT, profile="tiny", library=str(tmp_path))))
    runner.start()
    assert _soon(lambda: runner.status("tiny").state == "failed")
    assert "There is no library" in runner.status("tiny").message


def test_several_libraries_and_profiles_in_one_process(
    runner: InProcess, request_: Request, tmp_path: Path
) -> None:
    other = write_small_library(tmp_path / "other")
    first = list(runner.run(request_))[-1]
    second = list(runner.run(request_.changed(library=str(tmp_path / "other"))))[-1]
    assert all(id_ in other for id_ in second.recipe.references)
    assert first.recipe.library_fingerprint != second.recipe.library_fingerprint
    assert list(runner.run(request_))[-1].recipe.references == first.recipe.references


def test_a_path_is_no_name_where_paths_are_not_allowed(library: str) -> None:
    with pytest.raises(UserError, match=r"There is no library .*; choose one of pocket"):
        list(InProcess("cpu").run(Request(prompt=PROMPT, profile="tiny", library=library)))


def test_a_request_for_something_unknown_is_refused(runner: InProcess, request_: Request) -> None:
    for other in (
        {"profile": "nope"},
        {"library": "/nowhere"},
        {"method": "nope"},
        {"settings": {"tempo": 1}},
    ):
        with pytest.raises(UserError):
            list(runner.run(request_.changed(**other)))


def test_a_method_whose_role_the_profile_lacks_is_refused(runner: InProcess, request_: Request) -> None:
    with pytest.raises(UserError, match="'tiny' has no retrievers"):
        list(runner.run(request_.changed(method="realrag")))


def test_a_breakdown_is_one_sentence_and_frees_the_slot(
    runner: InProcess, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    critic = runner.tools("tiny", request_.library).models.get(CRITIC)

    def out_of_memory(*_: object, **__: object) -> str:
        raise RuntimeError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(type(critic), "ask", out_of_memory)
        with pytest.raises(ModelError, match="CUDA out of memory"):
            list(runner.run(request_))
    assert isinstance(list(runner.run(request_))[-1], Result)


def test_a_run_on_disk(events: list[Event], tmp_path: Path) -> None:
    with whole_folder(tmp_path / "out") as folder:
        write_run(events, folder)
    lines = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    assert lines[-1]["event"] == "Result"
    recipe = events[-1].recipe
    named = recipe.request.changed(library=Path(recipe.request.library).name)
    assert read_png(tmp_path / "out" / "augmented.png") == dataclasses.replace(recipe, request=named)
    assert read_png(tmp_path / "out" / "base.png").references == ()
    references = next(line for line in lines if line["event"] == "References")["used"]
    assert {"id", "caption", "score", "concept", "image"} <= set(references[0])
    assert all((tmp_path / "out" / reference["image"]["file"]).is_file() for reference in references)


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
        "images",
        "notes.txt",
    }


def test_importing_the_runners_loads_no_model_library() -> None:
    code = (
        "import sys, ragdemo.run.inprocess, ragdemo.run.inchild, ragdemo.methods; "
        "sys.exit(bool({'torch', 'faiss', 'diffusers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_recorded_run_is_read_back_as_it_was(events: list[Event], tmp_path: Path) -> None:
    with whole_folder(tmp_path / "out") as folder:
        write_run(events, folder)
    again = read_run(tmp_path / "out")
    recipe = events[-1].recipe
    named = recipe.request.changed(library=Path(recipe.request.library).name)
    result = dataclasses.replace(events[-1], recipe=dataclasses.replace(recipe, request=named))
    assert again == [event for event in events[:-1] if not isinstance(event, Progress)] + [result]
    (tmp_path / "out" / "events.jsonl").write_text("{}")
    with pytest.raises(UserError, match="record it again"):
        read_run(tmp_path / "out")


def _soon(condition: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds
