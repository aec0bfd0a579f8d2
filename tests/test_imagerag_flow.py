"""ImageRAG's flow with a scripted critic, through every branch."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from event_grammar import assert_grammar
from imagerag_doubles import Painter, ScriptedCritic, toolbox
from PIL import Image

from ragdemo.events import (
    Draft,
    Event,
    MissingConcepts,
    Progress,
    References,
    Rephrased,
    Result,
    RetrievalCaptions,
    Verdict,
)
from ragdemo.methods.imagerag.flow import ImageRAG
from ragdemo.types import Request, UserError

PROMPT = "a quixel butterfly in the snow"
CORRECTED = [Draft, Verdict, MissingConcepts, RetrievalCaptions, References, Result]
TWO = {"missing": ["quixel butterfly\nzandor car"], "captions": ["a quixel butterfly\na zandor car"]}


def run(
    critic: ScriptedCritic | None = None,
    painter: Painter | None = None,
    replay: tuple = (),
    **request: object,
) -> list[Event]:
    events = ImageRAG(toolbox(critic, painter)).run(Request(PROMPT, seed=7, **request), replay)
    return [event for event in events if not isinstance(event, Progress)]


def one(events: list[Event], kind: type) -> Event:
    """The last event of a kind."""
    return [event for event in events if isinstance(event, kind)][-1]


def used(events: list[Event]) -> list[tuple[str, str]]:
    return [(reference.id, reference.concept) for reference in one(events, References).used]


@pytest.fixture
def own_image(tmp_path: Path) -> str:
    Image.new("RGB", (5, 9), "green").save(tmp_path / "my-thing.png")
    return str(tmp_path / "my-thing.png")


def test_yes_makes_the_draft_the_result() -> None:
    events = run(ScriptedCritic(match=["Yes, it does."]))
    assert list(map(type, events)) == [Draft, Verdict, Result]
    assert events[-1].image is events[0].image
    assert events[-1].recipe.references == ()


def test_no_leads_to_a_second_drawing_with_the_nearest_image_and_the_same_seed() -> None:
    painter = Painter()
    events = run(painter=painter)
    assert list(map(type, events)) == CORRECTED
    assert used(events) == [("quixel-1", "quixel butterfly")]
    assert [drawing["seed"] for drawing in painter.drawn] == [7, 7]
    assert [len(drawing["references"]) for drawing in painter.drawn] == [0, 1]
    assert events[-1].recipe.references == ("quixel-1",)
    assert events[-1].recipe.library_fingerprint == "squares-1"
    assert one(events, Verdict) == Verdict(False, "no: an orange butterfly", one(events, Verdict).seconds)


def test_progress_names_the_stages_in_order() -> None:
    events = ImageRAG(toolbox()).run(Request(PROMPT))
    stages = [event.stage for event in events if isinstance(event, Progress)]
    assert list(dict.fromkeys(stages)) == ["draft", "critic", "retrieval", "generation"]


def test_each_concept_has_its_reference() -> None:
    events = run(ScriptedCritic(**TWO))
    assert used(events) == [("quixel-1", "quixel butterfly"), ("zandor-1", "zandor car")]


def test_several_references_per_concept_and_the_next_candidates() -> None:
    events = run(settings={"references_per_concept": 2})
    assert used(events) == [("quixel-1", "quixel butterfly"), ("quixel-2", "quixel butterfly")]
    assert [reference.id for reference in one(events, References).others] == [
        "quixel-3",
        "zandor-1",
        "zandor-2",
    ]


def test_an_unreadable_reply_is_asked_again_with_rising_temperature() -> None:
    critic = ScriptedCritic(missing=["I am unable to say.", "", "quixel butterfly"])
    missing = one(run(critic), MissingConcepts)
    assert (missing.concepts, missing.understood, missing.tries) == (("quixel butterfly",), True, 3)
    assert [(temperature, seed) for _, _, temperature, seed in critic.questions("What")] == [
        (0, 7),
        (0.4, 8),
        (0.8, 9),
    ]


def test_where_nothing_is_understood_the_prompt_is_the_query() -> None:
    critic = ScriptedCritic(missing=["I can't."])
    events = run(critic)
    missing, captions = one(events, MissingConcepts), one(events, RetrievalCaptions)
    assert (missing.concepts, missing.understood, missing.tries, missing.reply) == (
        (PROMPT,),
        False,
        4,
        "I can't.",
    )
    assert (captions.captions, captions.understood, captions.tries) == ((PROMPT,), False, 0)
    assert not critic.questions("Write")
    assert used(events) == [("quixel-3", PROMPT)]


def test_unreadable_captions_make_the_prompt_the_query() -> None:
    events = run(ScriptedCritic(missing=["quixel butterfly\nzandor car"], captions=["only one line"]))
    captions = one(events, RetrievalCaptions)
    assert (captions.concepts, captions.captions, captions.understood) == ((PROMPT,), (PROMPT,), False)
    assert used(events) == [("quixel-3", PROMPT)]


def test_an_unreadable_verdict_counts_as_no_and_says_so() -> None:
    events = run(ScriptedCritic(match=["perhaps"]))
    verdict = one(events, Verdict)
    assert (verdict.matches, verdict.understood, verdict.tries) == (False, False, 4)
    assert isinstance(events[-1], Result)


def test_references_below_the_threshold_are_candidates_only() -> None:
    events = run(ScriptedCritic(**TWO), settings={"similarity_threshold": 0.9, "references_per_concept": 2})
    assert [image_id for image_id, _ in used(events)] == ["quixel-1", "zandor-1"]


def test_without_any_good_reference_the_draft_is_the_result() -> None:
    painter = Painter()
    events = run(ScriptedCritic(captions=["a wug"]), painter, settings={"similarity_threshold": 0.9})
    assert one(events, References).used == ()
    assert events[-1].image is events[0].image
    assert len(painter.drawn) == 1


def test_rejected_images_are_never_found() -> None:
    events = run(rejected=("quixel-1",))
    assert used(events) == [("quixel-2", "quixel butterfly")]
    assert "quixel-1" not in [reference.id for reference in one(events, References).others]


def test_pinned_images_are_used_for_the_nearest_concept() -> None:
    events = run(ScriptedCritic(**TWO), pinned=("zandor-2",))
    assert used(events) == [("quixel-1", "quixel butterfly"), ("zandor-2", "zandor car")]
    assert one(events, References).used[1].score == pytest.approx(0.5)


def test_an_unknown_pinned_image_is_named() -> None:
    with pytest.raises(UserError, match="'nowhere'"):
        run(pinned=("nowhere",))


def test_own_images_come_first_and_take_the_place_of_retrieved_ones(own_image: str) -> None:
    events = run(ScriptedCritic(**TWO), own_images=(own_image,))
    assert used(events) == [("own:my-thing.png", "quixel butterfly"), ("zandor-1", "zandor car")]


def test_an_unreadable_own_image_is_named_before_anything_is_drawn(tmp_path: Path) -> None:
    painter = Painter()
    with pytest.raises(UserError, match=r"broken\.png cannot be read"):
        run(painter=painter, own_images=(str(tmp_path / "broken.png"),))
    assert not painter.drawn


def test_the_loop_goes_on_until_the_critic_says_yes() -> None:
    painter = Painter()
    events = run(ScriptedCritic(match=["no", "no", "yes"]), painter, settings={"max_rounds": 5})
    assert list(map(type, events)) == [*CORRECTED[:-1], Verdict, *CORRECTED[2:-1], Verdict, Result]
    assert [event.of for event in events if isinstance(event, Verdict)] == ["draft", "result", "result"]
    assert used(events) == [("quixel-2", "quixel butterfly")], "what failed is not tried again"
    assert len(painter.drawn) == 3


def test_the_loop_keeps_references_of_concepts_that_are_no_longer_missing() -> None:
    critic = ScriptedCritic(
        match=["no", "no", "yes"],
        missing=["quixel butterfly\nzandor car", "zandor car"],
        captions=["a quixel butterfly\na zandor car", "a zandor car"],
    )
    events = run(critic, settings={"max_rounds": 2})
    assert used(events) == [("quixel-1", "quixel butterfly"), ("zandor-2", "zandor car")]


def test_without_a_yes_the_image_that_misses_least_is_kept() -> None:
    critic = ScriptedCritic(
        missing=["quixel butterfly\nsnow", "quixel butterfly", "quixel butterfly\nsnow"],
        captions=["a quixel butterfly\nsnow", "a quixel butterfly"],
    )
    events = run(critic, settings={"max_rounds": 2})
    rounds = [event for event in events if isinstance(event, References)]
    assert events[-1].recipe.references == tuple(reference.id for reference in rounds[0].used)


def test_a_correction_that_misses_more_does_not_replace_the_draft() -> None:
    critic = ScriptedCritic(missing=["quixel butterfly", "quixel butterfly\nsnow"])
    events = run(critic, settings={"max_rounds": 2})
    assert events[-1].image is events[0].image


def test_generation_mode_asks_for_what_is_needed_and_draws_once() -> None:
    critic, painter = ScriptedCritic(), Painter()
    events = run(critic, painter, settings={"mode": "generation"})
    assert list(map(type, events)) == [MissingConcepts, RetrievalCaptions, References, Result]
    assert len(painter.drawn) == 1
    assert all(image is None for _, image, _, _ in critic.asked)


def test_generation_mode_loops_too() -> None:
    events = run(ScriptedCritic(match=["no", "yes"]), settings={"mode": "generation", "max_rounds": 2})
    kinds = [MissingConcepts, RetrievalCaptions, References]
    assert list(map(type, events)) == [*kinds, Verdict, *kinds, Verdict, Result]


def test_personalization_shows_own_images_to_every_drawing(own_image: str) -> None:
    painter = Painter()
    events = run(painter=painter, settings={"mode": "personalization"}, own_images=(own_image,))
    assert [len(drawing["references"]) for drawing in painter.drawn] == [1, 2]
    assert used(events) == [("own:my-thing.png", PROMPT), ("quixel-1", "quixel butterfly")]


def test_personalization_needs_an_image() -> None:
    with pytest.raises(UserError, match="needs an image of yours"):
        run(settings={"mode": "personalization"})


def test_rephrase_draws_another_prompt_and_retrieves_nothing() -> None:
    painter = Painter()
    events = run(painter=painter, settings={"mode": "rephrase"})
    assert list(map(type, events)) == [Draft, Verdict, Rephrased, Result]
    assert painter.drawn[1]["prompt"] == "an orange butterfly in the snow"
    assert events[-1].recipe.references == ()


def test_a_replay_repeats_what_came_before_the_references() -> None:
    first = run()
    critic, painter = ScriptedCritic(), Painter()
    again = run(critic, painter, tuple(first), rejected=("quixel-1",))
    assert again[:4] == first[:4]
    assert not critic.asked
    assert len(painter.drawn) == 1
    assert again[-1].recipe.references == ("quixel-2",)


def test_closing_the_run_closes_the_drawing() -> None:
    painter = Painter()
    events = ImageRAG(toolbox(painter=painter)).run(Request(PROMPT))
    next(events)
    events.close()
    assert painter.closed == 1


def test_settings_reach_the_painter() -> None:
    painter = Painter()
    run(painter=painter, settings={"steps": 9, "guidance_scale": 2.5, "reference_scale": 0.5})
    wanted = {"steps": 9, "guidance_scale": 2.5, "reference_scale": 0.5}
    assert all(drawing | wanted == drawing for drawing in painter.drawn)


@pytest.mark.parametrize("mode", ["draft", "generation", "personalization", "rephrase"])
@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_critic_says_the_events_keep_their_order(mode: str, seed: int, own_image: str) -> None:
    rng = Random(f"{mode}/{seed}")

    def lines(*choices: str) -> list[str]:
        return [rng.choice((*choices, "", "I can't say.")) for _ in range(6)]

    critic = ScriptedCritic(
        match=lines("yes", "no: a red car", "No."),
        missing=lines("quixel butterfly", "quixel butterfly\nzandor car", "snow"),
        captions=lines("a quixel butterfly", "a quixel butterfly\na zandor car"),
        needed=lines("quixel butterfly", "quixel butterfly\nzandor car"),
        rephrase=lines("an orange butterfly in the snow", "two\nlines"),
    )
    settings = {"mode": mode, "max_rounds": rng.choice((1, 3)), "references_per_concept": rng.choice((1, 2))}
    if rng.random() < 0.3:
        settings["similarity_threshold"] = 0.9
    own = (own_image,) if mode == "personalization" else ()
    request = Request(PROMPT, seed=7, settings=settings, own_images=own)
    assert_grammar(list(ImageRAG(toolbox(critic)).run(request)), mode)
