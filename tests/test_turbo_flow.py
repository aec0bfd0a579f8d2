"""ImageRAGTurbo from a request to its events, on a tiny SD-Turbo and a small library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from library_world import picture, write_small_library
from tiny_turbo import build_turbo

from ragdemo import profiles
from ragdemo.cli import main
from ragdemo.codec import decode_event, encode_event
from ragdemo.errors import UserError
from ragdemo.events import Counterfactual, Draft, Event, Progress, References, Result
from ragdemo.images import image_sha256
from ragdemo.library.store import Library
from ragdemo.methods import get_method
from ragdemo.methods.turbo import retrieval
from ragdemo.methods.turbo.events import Blended, Strip
from ragdemo.methods.turbo.retrieval import open_captions
from ragdemo.models.base import ONE_STEP
from ragdemo.profiles import POCKET, Profile
from ragdemo.request import Choices, ImageRef, Request
from ragdemo.run.base import missing_roles
from ragdemo.run.inprocess import InProcess

PROMPT = "a blue square number 34"


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Profile]:
    tiny = build_turbo(tmp_path_factory.mktemp("turbo"), adapter=True)
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
    def make(prompt: str = PROMPT, choices: Choices = Choices(), **settings: object) -> Request:  # noqa: B008
        return Request(
            prompt=prompt,
            seed=4,
            method="turbo",
            profile=profile.name,
            library=str(library.folder),
            settings=settings,
            choices=choices,
        )

    return make


def told(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events if not isinstance(event, Progress)]


def last(events: list[Event], kind: type):
    return next(event for event in reversed(events) if isinstance(event, kind))


def test_a_run_finds_the_pair_by_its_text_and_draws_with_it(runner: InProcess, request_of) -> None:
    events = list(runner.run(request_of()))
    assert told(events) == ["Draft", "References", "Blended", "Strip", "Result"]
    (used,) = last(events, References).used
    assert used.caption == PROMPT
    assert used.score == pytest.approx(1, abs=1e-3)
    blended = last(events, Blended)
    assert (blended.injection, blended.weight, blended.levels) == ("adapter", 0.8, ("mid_block",))
    assert last(events, Result).image.tobytes() == blended.image.tobytes()
    assert blended.image.tobytes() != last(events, Draft).image.tobytes()
    assert set(blended.alone) == {"encode", "UNet", "decode"}
    assert set(blended.together) == {"encode", "UNet", "decode", "search"}
    assert last(events, Result).recipe.references == (used.id,)


def test_the_strip_runs_from_the_pair_to_the_prompt(runner: InProcess, request_of) -> None:
    events = list(runner.run(request_of(injection="slerp", blend=0.25)))
    strip, draft = last(events, Strip), last(events, Draft)
    assert strip.weights == (0.0, 0.25, 0.5, 0.75, 1.0)
    pixels = [np.asarray(image).astype(int) for image in strip.images]
    assert np.abs(pixels[-1] - np.asarray(draft.image)).max() <= 1
    assert np.abs(pixels[1] - np.asarray(last(events, Blended).image)).max() <= 1
    gaps = [np.abs(one - pixels[-1]).mean() for one in pixels]
    assert gaps[0] > gaps[2] > gaps[4]
    assert "Strip" not in told(list(runner.run(request_of(strip=False))))


def test_more_depths_join_in_if_it_is_asked_for(runner: InProcess, request_of) -> None:
    one, three = (
        last(list(runner.run(request_of(injection="slerp", blend=0.3, levels=levels))), Blended)
        for levels in (1, 3)
    )
    assert three.levels == ("mid_block", "up_blocks.0", "up_blocks.1")
    assert one.image.tobytes() != three.image.tobytes()


def test_the_same_request_gives_the_same_pixels(runner: InProcess, request_of) -> None:
    first, again = (last(list(runner.run(request_of())), Result).image.tobytes() for _ in range(2))
    assert first == again


def test_another_blend_keeps_draft_and_pair_and_another_pair_the_draft(runner: InProcess, request_of) -> None:
    before, method = request_of(), get_method("turbo")
    events = [event for event in runner.run(before) if not isinstance(event, Progress)]
    tuned = request_of(blend=0.1)
    known = method.still_known(tuned, before, events)
    assert told(list(known)) == ["Draft", "References"]
    again = list(runner.run(tuned, known))
    assert told(again) == ["Blended", "Strip", "Result"]
    assert last(again, Blended).alone == {}
    assert last(again, Result).image.tobytes() == last(list(runner.run(tuned)), Result).image.tobytes()
    used = last(events, References).used[0]
    rejecting = request_of(choices=Choices(rejected=(used.id,)))
    known = method.still_known(rejecting, before, events)
    assert told(list(known)) == ["Draft"]
    assert last(list(runner.run(rejecting, known)), References).used[0].id != used.id
    assert method.still_known(request_of("another prompt"), before, events) == ()


def test_pinned_and_own_pictures_take_the_place_of_the_pair(
    runner: InProcess, request_of, library: Library
) -> None:
    pinned = library.rows_of("eval")[3].id
    events = list(runner.run(request_of(choices=Choices(pinned=(pinned,)))))
    assert [one.id for one in last(events, References).used] == [pinned]
    own = picture(99, "yellow")
    ref = ImageRef(sha256=image_sha256(own), name="mine.png")
    events = list(runner.run(request_of(choices=Choices(own=(ref,))), (), {ref.sha256: own}))
    (used,) = last(events, References).used
    assert used.id.startswith("own:")
    assert last(events, Blended).similarity == used.score < 1.0


def test_without_any_pair_the_result_is_the_draft(runner: InProcess, request_of, library: Library) -> None:
    rejected = tuple(row.id for row in library.rows_of("eval"))
    events = list(runner.run(request_of(choices=Choices(rejected=rejected))))
    assert told(events) == ["Draft", "References", "Blended", "Result"]
    assert last(events, Result).image.tobytes() == last(events, Draft).image.tobytes()


def test_keywords_join_in_on_request(runner: InProcess, request_of) -> None:
    plain, fused = (
        last(list(runner.run(request_of(search=search))), References).used[0] for search in ("text", "fused")
    )
    assert (plain.keyword_score is None, fused.keyword_score is None) == (True, False)


def test_captions_are_read_once(
    runner: InProcess, profile: Profile, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = runner.tools(profile.name, str(library.folder)).models.get(ONE_STEP)
    monkeypatch.setattr(retrieval, "_OPENED", type(retrieval._OPENED)())
    told_of: list[tuple[int, int]] = []
    open_captions(library, generator, lambda done, total: told_of.append((done, total)))
    assert told_of == [(40, 40)]
    retrieval._OPENED.clear()
    open_captions(library, generator, lambda done, total: told_of.append((done, total)))
    assert len(told_of) == 1  # the second time they are on disk
    with pytest.raises(UserError, match="compares texts"):
        open_captions(library, generator).search_image(picture(1), 1)


def test_counterfactuals_draw_with_exactly_what_they_name(runner: InProcess, request_of) -> None:
    asked = request_of()
    events = list(runner.run(asked))
    found = [one for one in runner.counterfactuals(asked, events) if isinstance(one, Counterfactual)]
    assert [one.name for one in found] == ["another reference", *["another seed"] * 4]
    result = last(events, Result).image.tobytes()
    assert all(one.image.tobytes() != result for one in found)


def test_events_survive_the_codec(runner: InProcess, request_of) -> None:
    images = {}

    def keep(image):
        images[image_sha256(image)] = image
        return {"sha256": image_sha256(image)}

    for event in runner.run(request_of()):
        data = encode_event(event, keep)
        again = decode_event(data, lambda kept: images[kept["sha256"]])
        assert encode_event(again, keep) == data
        assert again.summary


def test_the_command_line_draws_it(profile: Profile, library: Library, tmp_path: Path) -> None:
    arguments = ["--method", "turbo", "--profile", profile.name, "--library", str(library.folder)]
    assert main(["run", PROMPT, *arguments, "--set", "blend=0.5", "--out", str(tmp_path / "out")]) == 0
    assert {"base.png", "augmented.png", "events.jsonl"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }


def test_a_profile_without_the_adapter_interpolates_and_says_what_it_lacks(
    profile: Profile, library: Library, request_of
) -> None:
    roles = {name: spec for name, spec in profile.roles.items() if name != "h_space_adapter"}
    bare = replace(profile, name="tiny-turbo-bare", roles=roles)
    profiles.PROFILES[bare.name] = bare
    try:
        runner = InProcess("cpu", allow_paths=True, profile=bare.name, library=str(library.folder))
        asked = request_of().changed(profile=bare.name)
        assert last(list(runner.run(asked)), Blended).injection == "slerp"
        with pytest.raises(UserError, match="h_space_adapter"):
            list(runner.run(asked.changed(settings={"injection": "adapter"})))
    finally:
        del profiles.PROFILES[bare.name]


def test_where_no_profile_draws_in_one_step_the_method_is_not_offered() -> None:
    assert missing_roles(get_method("turbo"), POCKET) == ("one_step",)
