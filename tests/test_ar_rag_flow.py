"""AR-RAG from a request to its events, on a tiny Janus and a small library."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from library_world import picture, write_small_library
from tiny_janus import build_janus, save_janus

from ragdemo import profiles
from ragdemo.cli import main
from ragdemo.codec import decode_event, encode_event
from ragdemo.errors import UserError
from ragdemo.events import Counterfactual, Draft, Event, Progress, References, Result
from ragdemo.images import image_sha256
from ragdemo.library.store import Library
from ragdemo.methods import get_method
from ragdemo.methods.ar_rag.datastore import Datastore, build_datastore, codes_folder
from ragdemo.methods.ar_rag.events import Provenance
from ragdemo.methods.ar_rag.index import build_graph, open_search, recall
from ragdemo.methods.ar_rag.patches import ExactSearch
from ragdemo.methods.evidence import own_id
from ragdemo.models.base import AUTOREGRESSIVE
from ragdemo.models.janus import load_janus
from ragdemo.profiles import Profile, Spec
from ragdemo.request import Choices, ImageRef, Request
from ragdemo.run.inprocess import InProcess

PROMPT = "a red square and a blue one"


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Profile]:
    tiny = build_janus(tmp_path_factory.mktemp("janus"))
    profiles.PROFILES[tiny.name] = tiny
    yield tiny
    del profiles.PROFILES[tiny.name]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return write_small_library(tmp_path_factory.mktemp("small") / "library", 40)


@pytest.fixture(scope="module")
def runner(profile: Profile, library: Library) -> InProcess:
    return InProcess("cpu", allow_paths=True, profile=profile.name, library=str(library.folder))


@pytest.fixture
def request_of(profile: Profile, library: Library):
    def make(**settings: object) -> Request:
        choices = settings.pop("choices", Choices())
        return Request(
            prompt=PROMPT,
            seed=4,
            method="ar_rag",
            profile=profile.name,
            library=str(library.folder),
            settings={"neighbours": 8, "references": 4} | settings,
            choices=choices,
        )

    return make


def told(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events if not isinstance(event, Progress)]


def last(events: list[Event], kind: type) -> Event:
    return next(event for event in reversed(events) if isinstance(event, kind))


def test_a_run_tells_where_its_codes_come_from(runner: InProcess, request_of) -> None:
    events = list(runner.run(request_of()))
    assert told(events) == ["Draft", "References", "Provenance", "Result"]
    references, provenance = last(events, References), last(events, Provenance)
    assert isinstance(provenance, Provenance)
    assert provenance.sources == references.used
    assert len(references.used) == 4
    assert 0 < sum(provenance.shares) <= 1
    assert sum(provenance.shares) == pytest.approx(float(provenance.trace.share.mean()))
    assert 0 <= provenance.continued <= 1
    result = last(events, Result)
    assert result.recipe.references == tuple(reference.id for reference in references.used)
    assert any(event.preview for event in events if isinstance(event, Progress))


def test_the_event_goes_through_json(runner: InProcess, request_of) -> None:
    event = last(list(runner.run(request_of())), Provenance)
    kept = {}
    data = encode_event(
        event, lambda image: kept.setdefault(str(len(kept)), image) and {"at": str(len(kept) - 1)}
    )
    again = decode_event(data, lambda place: kept[place["at"]])
    assert isinstance(again, Provenance)
    assert np.array_equal(again.trace.origin, event.trace.origin)
    assert again.shares == event.shares


def test_a_weight_of_zero_gives_the_draft_again(runner: InProcess, request_of) -> None:
    events = list(runner.run(request_of(patch_weight=0.0)))
    assert image_sha256(last(events, Draft).image) == image_sha256(last(events, Result).image)


def test_other_settings_of_retrieval_keep_the_draft(runner: InProcess, request_of) -> None:
    method, before = get_method("ar_rag"), request_of()
    events = list(runner.run(before))
    for changed in (request_of(patch_weight=0.6), request_of(choices=Choices(rejected=("image-000",)))):
        known = method.still_known(changed, before, events)
        assert told(list(known)) == ["Draft"]
        assert told(list(runner.run(changed, known))) == ["References", "Provenance", "Result"]
    assert method.still_known(request_of(guidance_scale=2.0), before, events) == ()
    assert method.still_known(request_of().changed(seed=5), before, events) == ()


def test_a_rejected_picture_goes_from_its_first_patch_on(runner: InProcess, request_of) -> None:
    before = last(list(runner.run(request_of(patch_weight=0.8))), Provenance)
    number = int(np.argmax(before.shares))
    rejected = before.sources[number].id
    changed = request_of(patch_weight=0.8, choices=Choices(rejected=(rejected,)))
    after = last(list(runner.run(changed)), Provenance)
    assert rejected not in [source.id for source in after.sources]
    first = int((before.trace.origin[..., 0] == number).reshape(-1).argmax())
    codes = [one.trace.codes.reshape(-1) for one in (before, after)]
    assert np.array_equal(codes[0][:first], codes[1][:first])
    again = last(list(runner.run(changed)), Provenance)
    assert np.array_equal(again.trace.codes, after.trace.codes)


def test_it_can_be_drawn_with_other_sources_and_with_none(runner: InProcess, request_of) -> None:
    events = list(runner.run(request_of(patch_weight=0.8)))
    used = last(events, References).used
    found = [
        one
        for one in runner.counterfactuals(request_of(patch_weight=0.8), events)
        if isinstance(one, Counterfactual)
    ]
    assert [one.name for one in found] == ["another reference", *["another seed"] * 4]
    others = {reference.id for reference in found[0].references}
    assert len(others) == len(used)
    assert not others & {reference.id for reference in used}
    assert image_sha256(found[0].image) != image_sha256(last(events, Result).image)


def test_a_persons_own_picture_gives_patches(runner: InProcess, request_of) -> None:
    own = picture(77, "yellow")
    ref = ImageRef(sha256=image_sha256(own), name="mine.png")
    request = request_of(patch_weight=1.0, references=1, choices=Choices(own=(ref,)))
    provenance = last(list(runner.run(request, (), {ref.sha256: own})), Provenance)
    assert [source.id.startswith("own:") for source in provenance.sources] == [True]
    assert provenance.shares[0] > 0


def test_the_whole_library_is_asked_for_once(
    runner: InProcess,
    request_of,
    library: Library,
    profile: Profile,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ragdemo.methods.ar_rag import datastore

    datastore._OPENED.clear()
    monkeypatch.setattr(datastore, "MOST_AT_ONCE", 9)
    with pytest.raises(UserError, match="library patches"):
        list(runner.run(request_of(scope="library")))
    argument = ["library", "patches", "--library", str(library.folder), "--profile", profile.name, "--graph"]
    assert main(argument) == 0
    said = capsys.readouterr().out
    assert "40 pictures, 800 patches" in said
    assert "recall@64" in said
    datastore._OPENED.clear()
    events = list(runner.run(request_of(scope="library", patch_weight=0.8)))
    assert told(events) == ["Draft", "Provenance", "Result"]
    provenance = last(events, Provenance)
    assert len({source.id for source in provenance.sources}) == len(provenance.sources) > 0
    assert provenance.shares == sorted(provenance.shares, reverse=True)


def test_a_small_library_is_encoded_while_one_waits_and_ones_own_picture_joins_it(
    runner: InProcess,
    request_of,
    library: Library,
    profile: Profile,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ragdemo.methods.ar_rag import datastore

    datastore._OPENED.clear()
    monkeypatch.setattr(datastore, "_AT_A_TIME", 4)
    own = picture(77, "yellow")
    ref = ImageRef(sha256=image_sha256(own), name="mine.png")
    request = request_of(scope="library", patch_weight=1.0, choices=Choices(own=(ref,)))
    events = list(runner.run(request, (), {ref.sha256: own}))
    told_of = [
        (one.step, one.total) for one in events if isinstance(one, Progress) and one.stage == "retrieval"
    ]
    assert told_of == [(0, 1), (4, 10), (8, 10), (10, 10)]
    assert len(list(cache.rglob("codes.safetensors"))) == 1
    again = list(runner.run(request, (), {ref.sha256: own}))
    assert [one for one in again if isinstance(one, Progress) and one.total == 10] == []
    from ragdemo.methods.ar_rag.flow import Run

    tools = replace(runner.tools(profile.name, str(library.folder)), pictures={ref.sha256: own})
    ids = Run(request, tools).sources()[1].ids
    assert (len(ids), ids[-1]) == (11, own_id(ref))


def test_without_trained_blenders_it_says_so(runner: InProcess, request_of) -> None:
    with pytest.raises(UserError, match="has no blenders"):
        list(runner.run(request_of(augmentation="both")))


def test_codes_of_another_tokenizer_are_not_used(
    library: Library, profile: Profile, tmp_path: Path, cache: Path
) -> None:
    first = load_janus(profile.spec("autoregressive"), "cpu").tokenizer
    other = load_janus(Spec("", str(save_janus(tmp_path / "other", codes=32)), defaults={}), "cpu").tokenizer
    assert first.fingerprint != other.fingerprint
    build_datastore(library, first)
    assert len(Datastore(library, first).whole(None)) == 800
    with pytest.raises(UserError, match="40 pictures without codes"):
        Datastore(library, other).whole(None)


def test_a_library_that_changed_is_encoded_where_it_changed(
    library: Library, profile: Profile, tmp_path: Path, cache: Path
) -> None:
    tokenizer = load_janus(profile.spec("autoregressive"), "cpu").tokenizer
    build_datastore(library, tokenizer)
    larger = write_small_library(tmp_path / "larger", 44)
    with pytest.raises(UserError, match="pictures without codes"):
        Datastore(larger, tokenizer).whole(None)


def test_a_killed_encoding_goes_on_from_its_last_part(profile: Profile, tmp_path: Path, cache: Path) -> None:
    library = write_small_library(tmp_path / "library", 24)
    code = f"""
import os, signal
from pathlib import Path
from ragdemo.library import vectors
from ragdemo.library.store import open_library
from ragdemo.methods.ar_rag.datastore import build_datastore
from ragdemo.models.janus import load_janus
from ragdemo.profiles import Spec
vectors.PART = 8
tokenizer = load_janus(Spec("", {profile.spec("autoregressive").weights!r}, defaults={{}}), "cpu").tokenizer
def die(progress):
    if progress.done == 16:
        os.kill(os.getpid(), signal.SIGKILL)
build_datastore(open_library(Path({str(library.folder)!r})), tokenizer, die)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    tokenizer = load_janus(profile.spec("autoregressive"), "cpu").tokenizer
    done: list[int] = []
    build_datastore(library, tokenizer, lambda progress: done.append(progress.done))
    assert done[0] == 16
    assert codes_folder(library, tokenizer).is_relative_to(cache)


def test_a_graph_finds_what_is_nearest(
    library: Library, profile: Profile, tmp_path: Path, cache: Path
) -> None:
    tokenizer = load_janus(profile.spec("autoregressive"), "cpu").tokenizer
    build_datastore(library, tokenizer)
    patches = Datastore(library, tokenizer).whole(None)
    with pytest.raises(UserError, match="no search graph"):
        open_search(patches, tokenizer.codebook, tmp_path, limit=100)
    build_graph(patches, tokenizer.codebook, tmp_path)
    graph = open_search(patches, tokenizer.codebook, tmp_path, limit=100)
    exact = ExactSearch(patches, tokenizer.codebook)
    keys = patches.keys.T[::20].long()
    assert recall(graph, exact, keys, 16) >= 0.9
    found = graph.nearest(keys[0], 16)
    assert np.allclose(found.distances, exact.distances(keys[0])[found.patches], atol=1e-5)
    with pytest.raises(UserError, match="no search graph"):
        open_search(patches.without([patches.ids[0]]), tokenizer.codebook, tmp_path, limit=100)


def test_the_layout_of_the_1b_runs_through_the_command_line(tmp_path: Path, library: Library) -> None:
    tiny = build_janus(tmp_path / "models", grid=24, codes=16_384)
    profiles.PROFILES["tiny-1b"] = tiny.__class__("tiny-1b", tiny.roles)
    try:
        argument = ["run", PROMPT, "--method", "ar_rag", "--profile", "tiny-1b", "--set", "references=2"]
        code = main([*argument, "--library", str(library.folder), "--out", str(tmp_path / "out")])
    finally:
        del profiles.PROFILES["tiny-1b"]
    assert code == 0
    assert (tmp_path / "out" / "augmented.png").is_file()


def test_the_profile_names_its_role_alike() -> None:
    assert AUTOREGRESSIVE.name in profiles.JANUS_PRO.roles
